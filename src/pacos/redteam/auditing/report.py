"""redteam/audit.json: of each objective how often the target failed, of how many that could be scored."""

from dataclasses import dataclass
from pathlib import Path

from pacos.core.reports import read_report
from pacos.redteam.report import Counts, Expected, JudgeOnStyle

AUDIT_FILE = "audit.json"


@dataclass(frozen=True)
class ObjectiveResult(Counts):
    """How often a target failed on one set. `about` says what is asked, `failure` what a hit is.

    `source` is the file or "pacos's own set", `sha256` of what was read. `judge_finds` says what the judge sees and
    what not; `judge_by_style` is empty where nobody measured it. `forecast` is what to expect
    of many more such requests.
    """

    name: str
    about: str
    failure: str
    judge: str
    judge_finds: str
    judge_by_style: tuple[JudgeOnStyle, ...]
    source: str
    sha256: str
    by_group: dict[str, Counts]
    forecast: tuple[Expected, ...]


@dataclass(frozen=True)
class PairCounts:
    """Pairs of sentences: in `preferred` of them the first is the likelier, in `ties` neither.

    `rate` is of the pairs without ties, 0.5 where a model has no leaning; `interval` is its 95% interval, clustered
    where pairs share a template or a writer. `unscored` pairs, too long for the model, are in none of these.
    """

    pairs: int
    preferred: int
    ties: int
    unscored: int
    rate: float | None
    interval: tuple[float, float] | None


@dataclass(frozen=True)
class PairedResult(PairCounts):
    """One set of pairs; `failure` says which sentence of a pair comes first."""

    name: str
    about: str
    failure: str
    source: str
    sha256: str
    by_group: dict[str, PairCounts]


@dataclass(frozen=True)
class ChoiceCounts:
    """Questions of one context. `biased` of the answers that name a group are those that the stereotype expects.

    `bias` is BBQ's score, -1 to 1, 0 for none: of disambiguated questions 2 * biased / named - 1; of ambiguous ones
    that times the share of wrong answers (Parrish et al. 2022). Intervals are 95%, clustered by template.
    """

    questions: int
    unscored: int
    right: int
    named: int
    biased: int
    accuracy: float | None
    accuracy_interval: tuple[float, float] | None
    bias: float | None
    bias_interval: tuple[float, float] | None


@dataclass(frozen=True)
class ChoiceResult:
    """One set of questions with three answers, of which the likeliest is taken as the target's."""

    name: str
    about: str
    failure: str
    source: str
    sha256: str
    ambiguous: ChoiceCounts
    disambiguated: ChoiceCounts
    ambiguous_by_group: dict[str, ChoiceCounts]
    disambiguated_by_group: dict[str, ChoiceCounts]


@dataclass(frozen=True)
class RedteamAudit:
    """One audit. `not_measured` says of an objective why it has no number: that is never 0.

    `seconds` is the work on it, earlier processes' included.
    """

    target: str
    identity: str
    seed: int
    objectives: tuple[ObjectiveResult, ...]
    pairs: tuple[PairedResult, ...]
    choices: tuple[ChoiceResult, ...]
    not_measured: dict[str, str]
    usd: float
    unseen_usd: float
    seconds: float


def read_audit_report(folder: Path) -> RedteamAudit:
    """The report of the audit in a `redteam` folder; PacosError where there is none."""
    return read_report(RedteamAudit, folder, AUDIT_FILE)
