"""Who answers: `student`, `base`, a checkpoint or an engine of the recipe, each with a label and a table."""

import re
from dataclasses import dataclass, replace
from pathlib import Path

from pacos.core import models
from pacos.core.errors import PacosError
from pacos.core.models import resolve_model
from pacos.core.recipe import EngineTable, Recipe
from pacos.core.run_folder import RunFolder


@dataclass(frozen=True)
class Candidate:
    """A model under test. `table_name` is where the recipe has its prices and limits, for errors."""

    label: str
    table: EngineTable
    table_name: str

    @property
    def weights_sha256(self) -> str:
        """The SHA-256 of the weights in a checkpoint folder; a hub name, or a server's model, stands for itself."""
        path = self.table.path
        if not path:
            return self.table.model or self.label
        return models.weights_sha256(Path(path)) if Path(path).is_dir() else path


def find_candidates(recipe: Recipe, run_folder: RunFolder) -> list[Candidate]:
    """The baseline first, then the recipe's candidates; PacosError where one is missing or named twice."""
    names = [recipe.evaluate.baseline, *recipe.evaluate.candidates]
    found = [_find(name, recipe, run_folder) for name in names]
    labels = [candidate.label for candidate in found]
    twice = sorted({label for label in labels if labels.count(label) > 1})
    if twice or len(found) < 2:
        what = f"{', '.join(twice)} twice" if twice else "no candidate"
        raise PacosError(
            f"recipe: [evaluate] names {what}; expected a baseline and at least one other model as candidate. "
            "Change evaluate.candidates or evaluate.baseline."
        )
    return found


def _find(name: str, recipe: Recipe, run_folder: RunFolder) -> Candidate:
    if name in recipe.engines:
        table = recipe.engines[name]
        if table.engine == "local":
            table = replace(table, path=resolve_model(table.path))
        return Candidate(name, table, f"engines.{name}")
    if name == "student":
        path = str(run_folder.finished("train") / "model")
    else:
        path = resolve_model(recipe.train.base if name == "base" else name)
    label = name if name in ("student", "base") else re.sub(r"[^\w.-]+", "-", name).strip("-.")
    return Candidate(label, EngineTable("local", path=path), label)
