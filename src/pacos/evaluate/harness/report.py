"""harness/NAME/report.json in a run: what another harness measured, beside pacos's own number where there is one."""

from dataclasses import asdict, dataclass, field
from pathlib import Path

from pacos.core.files import write_json
from pacos.core.reports import read_report


@dataclass(frozen=True)
class HarnessScore:
    """One number of the harness: `metric`, by its own name, over `items` of the `task`.

    `task` is "instructions" or "multiple_choice"; `about` says in a line how the number comes about. `same_answers` is
    pacos's measure of the very answers that the harness got, `ours` that of the run's own evaluation; either is None
    where pacos has no such number. `disagreement` is a line where one of them differs by more than rounding, else "".
    """

    task: str
    metric: str
    about: str
    items: int
    value: float
    standard_error: float | None
    same_answers: float | None = None
    ours: float | None = None
    disagreement: str = ""


@dataclass(frozen=True)
class HarnessReport:
    """What a harness measured on the run's model.

    `shaped_by` is what the numbers depend on, such as the weights, both sets and the judge: the command does nothing
    where it was made with the same. `left_out` has a line for each item that was not asked, with the reason, `notes`
    what else a reader of the numbers has to know; `commands` are those that were run; `judge` is "" where none graded.
    """

    harness: str
    version: str
    model: str
    judge: str
    scores: list[HarnessScore]
    left_out: list[str]
    commands: list[str]
    shaped_by: dict[str, str]
    seconds: float
    notes: list[str] = field(default_factory=list)


def write(report: HarnessReport, folder: Path) -> None:
    """Writes report.json there, whole or not at all."""
    write_json(folder / "report.json", asdict(report))


def read(folder: Path) -> HarnessReport:
    """The report in a run's harness/NAME/; PacosError where it is none."""
    return read_report(HarnessReport, folder, advice=f"Remove the folder {folder}, then measure again.")


def read_all(run_path: Path) -> list[HarnessReport]:
    """Of every harness that has measured this run; harnesses that have not finished are left out."""
    return [read(path.parent) for path in sorted(run_path.glob("harness/*/report.json"))]
