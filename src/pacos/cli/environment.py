"""What must be set before a library is imported: no hub, no telemetry, no chatter."""

import os
import warnings

from pacos.core.models import is_hub_name
from pacos.core.recipe import Recipe


def quiet_libraries() -> None:
    """Turns off progress bars and warnings that are not ours, and every library's telemetry."""
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("HF_HUB_VERBOSITY", "error")
    warnings.filterwarnings("ignore", category=FutureWarning)
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
    # Threads that spin for long while they wait starve one another where other work shares the cores.
    os.environ.setdefault("GOMP_SPINCOUNT", "5000")


def stay_offline(recipe: Recipe) -> None:
    """Forbids the model hub, unless the recipe names a hub model."""
    evaluate, tables = recipe.evaluate, (recipe.teacher, recipe.judge, *recipe.engines.values())
    models = {recipe.train.base, recipe.serve.model, recipe.serve.compare, *(table.path for table in tables)}
    models |= {name.removeprefix("local:") for name in (evaluate.baseline, *evaluate.candidates, *evaluate.judges)}
    if not any(map(is_hub_name, models)):
        os.environ["HF_HUB_OFFLINE"] = "1"
