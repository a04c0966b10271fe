"""What the run cost: seconds and dollars of each finished stage."""

from dataclasses import dataclass

from pacos.study.page.run_files import RunFiles

WORK = {
    "generate": "the teacher’s replies, filters, novelty check",
    "train": "optimizer steps",
    "evaluate": "answers of all models, judging",
    "release": "copies, weight difference, checksums",
}


@dataclass(frozen=True)
class StageCost:
    """One stage's dollars and seconds; these are None where it is not finished."""

    stage: str
    work: str
    seconds: float | None
    usd: float


@dataclass(frozen=True)
class Cost:
    """All stages and their sums over the finished ones."""

    stages: list[StageCost]
    seconds: float
    usd: float


def cost(files: RunFiles) -> Cost:
    """Sums the stages' own measures; a stage without a price, such as training here, counts as $0."""
    rows = [
        StageCost(name, WORK[name], report.seconds if report else None, getattr(report, "usd", 0.0))
        for name, report in files.reports.items()
    ]
    return Cost(rows, sum(row.seconds or 0.0 for row in rows), sum(row.usd for row in rows))
