"""What the run cost: seconds and dollars of each finished stage."""

from dataclasses import dataclass

from pacos.study.page.run_files import RunFiles

WORK = {
    "generate": "the teacher's replies, filters, novelty check",
    "train": "optimizer steps",
    "evaluate": "answers of all models, judging",
    "release": "copies, weight difference, checksums",
}


@dataclass(frozen=True)
class StageCost:
    """One stage's seconds and dollars; None where it is not finished or did not say."""

    stage: str
    work: str
    done: bool
    seconds: float | None
    usd: float | None


@dataclass(frozen=True)
class Cost:
    """All stages and their sums over the finished ones."""

    stages: list[StageCost]
    seconds: float
    usd: float


def cost(files: RunFiles) -> Cost:
    """Sums the stages' own measures; a stage without a price, such as training here, counts as $0."""
    rows = [
        StageCost(name, WORK[name], stage.done, stage.report.get("seconds"), stage.report.get("usd", 0.0))
        for name, stage in files.stages.items()
    ]
    finished = [row for row in rows if row.done]
    return Cost(rows, sum(row.seconds or 0.0 for row in finished), sum(row.usd or 0.0 for row in finished))
