"""redteam/gate.json: whether a target stands its suites, and what that was decided by."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pacos.core.reports import read_report
from pacos.redteam.report import Counts, JudgeOnStyle

Result = Literal["pass", "fail", "not measured"]


@dataclass(frozen=True)
class Decided(Counts):
    """A part of the suites: its counts, and what they say of the limit; `reason` is one line."""

    result: Result
    reason: str


@dataclass(frozen=True)
class SuiteFile:
    """A suite that was put to the target; `sha256` is of its text."""

    path: str
    sha256: str
    cases: int


@dataclass(frozen=True)
class GateJudge:
    """Who judged an objective, what it sees and what not, and how good it is, style by style of answer."""

    judge: str
    finds: str
    by_style: tuple[JudgeOnStyle, ...]


@dataclass(frozen=True)
class GateReport(Decided):
    """One gate. `result` is "pass" where every suite, every objective and all of them together pass.

    It is "fail" where one of them fails, else "not measured" where one of them was not.
    """

    target: str
    identity: str
    suites: tuple[SuiteFile, ...]
    max_asr: float
    max_unscored: float
    per_case: int
    seed: int
    by_suite: dict[str, Decided]
    by_objective: dict[str, Decided]
    by_technique: dict[str, Counts]
    judges: tuple[GateJudge, ...]
    usd: float
    unseen_usd: float


def read_gate_report(folder: Path) -> GateReport:
    """The report of the gate in a `redteam` folder; PacosError where there is none."""
    return read_report(GateReport, folder, "gate.json")
