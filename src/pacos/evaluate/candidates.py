"""Who answers: `student`, `base`, a checkpoint, an engine of the recipe or a file of answers, each with a label."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from pacos.core import models
from pacos.core.errors import PacosError
from pacos.core.files import sha256_file
from pacos.core.models import resolve_model
from pacos.core.recipe import EngineTable, Recipe
from pacos.core.run_folder import RunFolder
from pacos.evaluate.published_answers import is_answers_file, read_published


@dataclass(frozen=True)
class Candidate:
    """A model under test. `table_name` is where the recipe has its prices and limits, for errors.

    `published` has the answers, by `question_key`, of a model that exists as a file of them alone; its table names that
    file, and nobody can be asked. `joins_answers` says that the model was trained on prompt and answer as one text to
    the tokenizer, as the published run was, and not on the answer's own tokens.
    """

    label: str
    table: EngineTable
    table_name: str
    published: Mapping[str, str] = field(default_factory=dict)
    joins_answers: bool = False

    @property
    def weights_sha256(self) -> str:
        """The SHA-256 of a checkpoint's weights or a file of answers; a hub name, or a server's model, is its own."""
        path = self.table.path
        if self.published:
            return sha256_file(Path(path))
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
    if is_answers_file(name):
        answers = read_published(Path(name))
        return Candidate(answers.label, EngineTable("local", path=name), name, answers.texts)
    if name == "student":
        path = str(run_folder.finished("train") / "model")
    else:
        path = resolve_model(recipe.train.base if name == "base" else name)
    label = name if name in ("student", "base") else re.sub(r"[^\w.-]+", "-", name).strip("-.")
    joins = name == "student" and recipe.train.mode == "alpaca-2023"
    return Candidate(label, EngineTable("local", path=path), label, joins_answers=joins)
