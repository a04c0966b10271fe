"""evaluate/annotation/report.json: what people's votes came to, once the study was closed."""

from dataclasses import dataclass
from pathlib import Path

from pacos.core.reports import read_report
from pacos.evaluate.annotation.study_plan import NamedItself
from pacos.evaluate.report import SlotEffect


@dataclass(frozen=True)
class VoteCounts:
    """The candidate's votes; ties and both bad count half in `win_rate`, skips not at all.

    The 95% interval takes the items as drawn, not the votes: several votes on one item belong together.
    """

    votes: int
    items: int
    wins: int
    losses: int
    ties: int
    both_bad: int
    skips: int
    win_rate: float | None
    interval: tuple[float, float] | None


@dataclass(frozen=True)
class Agreement:
    """How far annotators agree: `pairs` of votes on one item, the share of them that are equal, and alpha.

    Alpha is Krippendorff's, nominal. What has nothing to be computed from is None.
    """

    pairs: int
    equal: float | None
    alpha: float | None


@dataclass(frozen=True)
class ItemVotes:
    """One item's votes, as wins, losses, ties, both bad and skips of the candidate; `equal` is the share of pairs."""

    item: str
    wins: int
    losses: int
    ties: int
    both_bad: int
    skips: int
    equal: float | None


@dataclass(frozen=True)
class AnnotatorRow:
    """One annotator; `seconds` is the median of a vote, `clamped` are votes that took longer than the plan counts."""

    annotator: int
    planned: int
    votes: int
    skips: int
    undone: int
    seconds: float | None
    clamped: int
    first_shown_win_rate: float | None
    attention_shown: int
    attention_failed: int
    attention_undecided: int


@dataclass(frozen=True)
class Ratings:
    """Self-Instruct's levels by model: how many of each, and the share of A and B, with its 95% interval over items.

    The agreements are over all rated answers: on the four levels, and on A or B against C or D.
    """

    levels: dict[str, dict[str, int]]
    acceptable: dict[str, float]
    intervals: dict[str, tuple[float, float]]
    agreement: Agreement
    agreement_acceptable: Agreement


@dataclass(frozen=True)
class AnnotationReport:
    """A closed study. `planned` and `cast` count comparisons without attention checks.

    `unflagged` is `main` without the items where an answer names a model. The sign test is over items by the majority
    of their votes, and so is `sequential_p`, which holds whenever the study was closed. `deviations` are sentences:
    where the study was not as planned.
    """

    mode: str
    candidate: str
    baseline: str
    plan_sha256: str
    closed: str
    planned: int
    cast: int
    overlap: int
    main: VoteCounts
    unflagged: VoteCounts
    sign_test_p: float | None
    sequential_p: float | None
    agreement: Agreement
    slot_effect: SlotEffect
    annotators: list[AnnotatorRow]
    items: list[ItemVotes]
    ratings: Ratings | None
    named_themselves: list[NamedItself]
    attention_shown: int
    attention_failed: int
    median_seconds: float | None
    max_seconds: float
    deviations: list[str]


def read(folder: Path) -> AnnotationReport:
    """The report of the closed study in `folder`; PacosError where it is none."""
    return read_report(AnnotationReport, folder)
