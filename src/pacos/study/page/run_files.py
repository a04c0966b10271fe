"""What the stages left in a run folder: their reports, steps and records, as far as they are finished."""

from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import pacos.evaluate.harness.report
import pacos.evaluate.report
import pacos.generate.report
import pacos.release.report
import pacos.train.report
from pacos.core.errors import PacosError
from pacos.core.files import read_json, read_json_lines
from pacos.core.recipe import Recipe, load_run
from pacos.core.stages import STAGES, stages_of
from pacos.evaluate.harness.report import HarnessReport
from pacos.evaluate.report import EvaluateReport
from pacos.generate.report import GenerateReport
from pacos.release.report import ReleaseReport
from pacos.train.report import Step, TrainReport, read_steps


@dataclass(frozen=True)
class RunFiles:
    """A run folder's content; the report of a stage that is not finished is None."""

    path: Path
    recipe: Recipe
    generate: GenerateReport | None
    train: TrainReport | None
    evaluate: EvaluateReport | None
    release: ReleaseReport | None
    harnesses: list[HarnessReport]

    @property
    def name(self) -> str:
        """The run's name: its folder's."""
        return self.path.resolve().name

    @property
    def reports(self) -> dict[str, GenerateReport | TrainReport | EvaluateReport | ReleaseReport | None]:
        """All reports by stage."""
        return {name: getattr(self, name) for name in STAGES}

    @property
    def finished(self) -> datetime | None:
        """When the last finished stage ended."""
        return max((_end_of(self.path / name) for name, report in self.reports.items() if report), default=None)

    @property
    def only_compares(self) -> bool:
        """Whether this run compared models that exist already, and neither made data nor began to train."""
        table = self.recipe.evaluate
        made = self.generate or self.train or self.steps
        return bool(self.evaluate and not made and "student" not in (table.baseline, *table.candidates))

    @property
    def missing(self) -> list[str]:
        """The stages that this run goes through by its recipe and that are not finished."""
        if self.only_compares:
            return []
        return [stage.name for stage in stages_of(self.recipe) if not self.reports[stage.name]]

    @cached_property
    def steps(self) -> list[Step]:
        """The optimizer steps logged so far, of an unfinished training too."""
        folder = self.path / "train"
        return read_steps(folder) if (folder / "steps.jsonl").exists() else []

    def records(self, name: str) -> list[dict[str, Any]]:
        """The objects in a JSON-lines file of generate/."""
        return [value for _, value in read_json_lines(self.path / "generate" / name, "records")]


def read_run(path: Path) -> RunFiles:
    """Opens a run folder; PacosError where `path` is none, or one of its reports is damaged."""
    if not (path / "resolved.json").exists():
        raise PacosError(
            f"{path}: no run folder; expected one that `pacos run RECIPE --run {path}` made. Check the path."
        )
    done = {name: (path / name / "done.json").exists() for name in STAGES}
    return RunFiles(
        path,
        load_run(path),
        pacos.generate.report.read(path / "generate") if done["generate"] else None,
        pacos.train.report.read(path / "train") if done["train"] else None,
        pacos.evaluate.report.read(path / "evaluate") if done["evaluate"] else None,
        pacos.release.report.read(path / "release") if done["release"] else None,
        pacos.evaluate.harness.report.read_all(path),
    )


def _end_of(stage: Path) -> datetime:
    done = stage / "done.json"
    try:
        return datetime.fromisoformat(read_json(done, "stage's completion record")["finished"])
    except (KeyError, TypeError, ValueError):
        raise PacosError(
            f"{done}: holds no time of completion under 'finished'; it is damaged. "
            "Restore it, or remove the stage's folder and run the stage again."
        ) from None
