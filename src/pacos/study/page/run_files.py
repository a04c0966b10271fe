"""What the stages left in a run folder, read from disk: reports, steps, records, and which stages are finished."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from pacos.core.errors import PacosError
from pacos.core.files import read_json, read_text

STAGES = ("generate", "train", "evaluate", "release")


@dataclass(frozen=True)
class StageFiles:
    """One stage; `report` is empty and `finished` None until its done.json is there."""

    name: str
    folder: Path
    report: dict[str, Any]
    finished: datetime | None

    @property
    def done(self) -> bool:
        """Whether the stage is finished."""
        return self.finished is not None


@dataclass(frozen=True)
class RunFiles:
    """A run folder's content; `recipe` is resolved.json, its tables with every key's value."""

    path: Path
    recipe: dict[str, dict[str, Any]]
    stages: dict[str, StageFiles]

    @property
    def name(self) -> str:
        """The run's name: its folder's."""
        return self.path.resolve().name

    @property
    def finished(self) -> datetime | None:
        """When the last finished stage ended."""
        return max((stage.finished for stage in self.stages.values() if stage.finished), default=None)

    @property
    def missing(self) -> list[str]:
        """The stages that are not finished; of data that was given, none has to be generated."""
        needed = [stage for stage in self.stages.values() if stage.name != "generate" or not self.given_dataset]
        return [stage.name for stage in needed if not stage.done]

    @property
    def given_dataset(self) -> str:
        """The recipe's train.dataset: data that this run did not make, "" where it did."""
        return str(self.recipe.get("train", {}).get("dataset") or "")

    @cached_property
    def steps(self) -> list[dict[str, Any]]:
        """The optimizer steps logged so far, of an unfinished training too."""
        path = self.stages["train"].folder / "steps.jsonl"
        return list(_lines(path, "training steps")) if path.exists() else []

    def records(self, stage: str, name: str) -> Iterator[dict[str, Any]]:
        """The lines of a finished stage's JSON-lines file; none where it is missing."""
        path = self.stages[stage].folder / name
        return _lines(path, name) if self.stages[stage].done and path.exists() else iter(())


def read_run(path: Path) -> RunFiles:
    """Opens a run folder; PacosError where `path` is none."""
    if not any((path / name).exists() for name in ("resolved.json", *STAGES)):
        raise PacosError(
            f"{path}: no run folder; expected one that `pacos run RECIPE --run {path}` made. Check the path."
        )
    resolved = path / "resolved.json"
    recipe = read_json(resolved, "resolved recipe") if resolved.exists() else {}
    return RunFiles(path, recipe, {name: _stage(path / name) for name in STAGES})


def _stage(folder: Path) -> StageFiles:
    done = folder / "done.json"
    if not done.exists():
        return StageFiles(folder.name, folder, {}, None)
    report = read_json(folder / "report.json", "stage report")
    try:
        finished = datetime.fromisoformat(read_json(done, "stage's completion record")["finished"])
    except (KeyError, TypeError, ValueError):
        raise PacosError(
            f"{done}: holds no time of completion under 'finished'; it is damaged. "
            "Restore it, or remove the stage's folder and run the stage again."
        ) from None
    return StageFiles(folder.name, folder, report, finished)


def _lines(path: Path, what: str) -> Iterator[dict[str, Any]]:
    # What follows the last newline is a line that is being written, or was when its process was killed.
    for number, line in enumerate(read_text(path, what).split("\n")[:-1], start=1):
        try:
            yield json.loads(line)
        except json.JSONDecodeError as error:
            raise PacosError(
                f"{path}:{number}: not JSON ({error.msg}); the {what} must hold one object a line. Mend that line."
            ) from None
