"""evaluate/report.json: what was measured, part by part."""

from dataclasses import dataclass
from pathlib import Path

from pacos.core.reports import read_report


@dataclass(frozen=True)
class SkillRow:
    """One skill of the table; `exact_match` and `chance_corrected` are shares by model label."""

    skill: str
    group: str
    items: int
    chance: float
    exact_match: dict[str, float]
    chance_corrected: dict[str, float]


@dataclass(frozen=True)
class Pairwise:
    """A candidate against the baseline; ties count half in `win_rate`, whose 95% interval is Tango's.

    `conflicts` of the ties are items whose two orders disagreed; unparsable items are in none of the other counts.
    The decisive rate leaves ties out; its interval is Wilson's and its p-value the exact sign test's. The weighted rate
    is the mean preference over both orders, by log-probability where the judge is read so. What has nothing
    to be computed from, such as a win rate without a readable verdict, is None.
    """

    wins: int
    losses: int
    ties: int
    unparsable: int
    conflicts: int
    win_rate: float | None
    interval: tuple[float, float] | None
    decisive_win_rate: float | None
    decisive_interval: tuple[float, float] | None
    sign_test_p: float | None
    weighted_win_rate: float | None = None
    weighted_interval: tuple[float, float] | None = None

    @property
    def judged(self) -> int:
        """Pairs with a readable verdict."""
        return self.wins + self.losses + self.ties


@dataclass(frozen=True)
class Comparison:
    """A candidate against the baseline on the main items, and on the harder ones where there are any."""

    main: Pairwise
    harder: Pairwise | None


@dataclass(frozen=True)
class SlotEffect:
    """How often the answer shown first won: the mean over pairs of its share of the pair's decisive votes.

    0.5 is no effect. `votes` counts the decisive votes; the 95% interval is Tango's, over pairs, since a pair's two
    votes belong together.
    """

    votes: int
    first_shown_win_rate: float | None
    interval: tuple[float, float] | None


@dataclass(frozen=True)
class RougeL:
    """ROUGE-L, F-measures in [0, 1], by model label: means over the `items` that have a reference answer.

    A gain is a candidate's mean less the baseline's. Intervals are 95% ones by the bootstrap over items, of a gain over
    the differences on the same items.
    """

    items: int
    means: dict[str, float]
    intervals: dict[str, tuple[float, float]]
    gains: dict[str, float]
    gain_intervals: dict[str, tuple[float, float]]


@dataclass(frozen=True)
class EvaluateReport:
    """What was measured. `exact_match` and its kin are shares by model label; intervals are 95%.

    Of the `items`, those with a known right answer, `exact_match_items`, are what exact match is a share of.

    `comparisons` has every candidate against the baseline, on the main and on the harder items; `pairwise` is the first
    candidate's on the main items once more, under a key that other programs read. `slot_effect` is by judge. An example
    has the texts `skill`, `instruction`, `input` and `reference`, `right` (None where no answer is known), and each
    model's answer under its label.

    `seconds` adds up all processes that worked on the stage; one that was killed counts up to the last model whose
    answers it finished.
    """

    items: int
    items_harder: int
    baseline: str
    candidates: list[str]
    judges: list[str]
    exact_match_items: int
    exact_match_harder_items: int
    exact_match: dict[str, float | None]
    exact_match_intervals: dict[str, tuple[float, float] | None]
    exact_match_chance_corrected: dict[str, float | None]
    exact_match_harder: dict[str, float | None]
    exact_match_harder_intervals: dict[str, tuple[float, float] | None]
    per_skill: list[SkillRow]
    per_skill_harder: list[SkillRow]
    pairwise: Pairwise
    comparisons: dict[str, Comparison]
    slot_effect: dict[str, SlotEffect]
    judge_agreement: float | None
    examples: list[dict[str, str | bool | None]]
    usd: float
    seconds: float
    rouge_l: RougeL | None = None


def read(folder: Path) -> EvaluateReport:
    """The report in a finished evaluate/; PacosError where it is none."""
    return read_report(EvaluateReport, folder)
