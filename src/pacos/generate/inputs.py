"""What the stage reads: seed tasks, the prompt's head, and the evaluation sets that must not be given away."""

from dataclasses import dataclass
from pathlib import Path

from pacos.core.errors import PacosError
from pacos.core.files import read_text
from pacos.core.recipe import Recipe
from pacos.core.records import SeedTask, read_seed_tasks
from pacos.generate.modes import Mode
from pacos.text import Contamination

OWN_SEED_TASKS = Path(__file__).parent / "seed_tasks.jsonl"


@dataclass(frozen=True)
class Inputs:
    """What is shown to the teacher, and what its examples must stay away from."""

    seed_tasks: list[SeedTask]
    head: str
    contamination: Contamination


def seed_tasks_path(recipe: Recipe) -> Path:
    """The user's seed tasks, or the 175 that come with pacos."""
    return Path(recipe.generate.seed_tasks or OWN_SEED_TASKS)


def evaluation_sets(recipe: Recipe) -> list[Path]:
    """Every file of evaluation questions that the recipe names."""
    named = (*recipe.generate.decontaminate, recipe.evaluate.instructions)
    return [Path(name) for name in dict.fromkeys(named) if name]


def input_paths(recipe: Recipe) -> tuple[Path, ...]:
    """All files that shape the data."""
    prompt = (Path(recipe.generate.prompt),) if recipe.generate.prompt else ()
    return (seed_tasks_path(recipe), *prompt, *evaluation_sets(recipe))


def read_inputs(recipe: Recipe, mode: Mode) -> Inputs:
    """Reads them all; PacosError where one cannot be used."""
    path = seed_tasks_path(recipe)
    seed_tasks = read_seed_tasks(path)
    if len(seed_tasks) < mode.num_shown:
        raise PacosError(
            f"{path}: holds {len(seed_tasks)} seed tasks; a prompt of mode {mode.name!r} shows {mode.num_shown}. "
            "Add tasks, or choose another generate.mode."
        )
    head = _read_prompt(Path(recipe.generate.prompt)) if recipe.generate.prompt else mode.head
    return Inputs(seed_tasks, head, Contamination.read(evaluation_sets(recipe)))


def _read_prompt(path: Path) -> str:
    text = read_text(path, "prompt")
    # Only what is no text holds a NUL.
    wrong = "is empty" if not text.strip() else "holds a NUL" if "\0" in text else ""
    if wrong:
        raise PacosError(
            f"{path}: the prompt {wrong}; expected the text that stands before the demonstrations, such as Alpaca's "
            "prompt.txt."
        )
    return text
