"""generate/report.json and, of any other file, audit.json."""

from dataclasses import dataclass, field
from pathlib import Path

from pacos.core.reports import read_report


@dataclass(frozen=True)
class ObjectCount:
    """How many instructions have this object after one verb."""

    object: str
    count: int


@dataclass(frozen=True)
class VerbCount:
    """A verb that instructions begin with, how many do, and what it acts on most."""

    verb: str
    count: int
    objects: list[ObjectCount]


@dataclass(frozen=True)
class Diversity:
    """The verbs and objects of `instructions`, as in figure 2 of Self-Instruct; `verbs` are the commonest."""

    instructions: int
    questions: int
    with_verb_and_object: int
    distinct_verbs: int
    distinct_pairs: int
    verbs: list[VerbCount]


@dataclass(frozen=True)
class Similarities:
    """Histograms over `edges` of ROUGE-L to the nearest instruction before, seed tasks included, and to the nearest
    of these."""

    edges: list[float]
    nearest: list[int]
    nearest_seed: list[int]


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check found: in record (or line) `record`, counted from 1, or, where None, in the whole file."""

    record: int | None
    id: str | None
    check: str
    evidence: str


@dataclass(frozen=True)
class CheckCount:
    """How many findings one check has, and the first of them."""

    count: int
    meaning: str
    sample: Finding | None


@dataclass(frozen=True)
class StopAt20:
    """How many records hold "18." to "22.", and what the absence of "20." tells; `evidence` is "" if nothing."""

    records_with: dict[str, int]
    evidence: str


@dataclass(frozen=True)
class NearestBefore:
    """A histogram over `edges` of ROUGE-L to the nearest instruction before; above `threshold` is near."""

    edges: list[float]
    nearest: list[int]
    threshold: float


@dataclass(frozen=True)
class AuditReport:
    """What an audit found in `file`: every check, in order; `flagged` counts records.

    `lengths` has (words, records with so many) by field, without records where the field is empty.
    """

    file: str
    against: list[str]
    records: int
    flagged: int
    checks: dict[str, CheckCount]
    stop_at_20: StopAt20
    with_input: int
    with_link: int
    distinct_instructions: int
    distinct_outputs: int
    lengths: dict[str, list[tuple[int, int]]]
    similarities: NearestBefore
    diversity: Diversity
    seconds: float
    form: str = ""
    """What the file is, such as "JSON Lines, gzip"."""
    unit: str = "record"
    """What findings count: "record" or "line"."""
    conversations: int = 0
    """Of these the first question and answer were checked."""
    unknown_keys: dict[str, int] = field(default_factory=dict)
    """Records by each key that is not read."""
    told: str = ""
    """What is in the file beside its examples, in a line."""


@dataclass(frozen=True)
class GenerateReport:
    """What was asked for, what came of it and what it cost.

    `asked` counts tasks, `parsed` the examples found in the replies; parsed = kept + the sum of `rejected`.
    `unseen_usd` is the most that attempts without an answer may have cost beside `usd`. `yield_over_time` has
    (replies judged, examples kept) at up to 100 moments.
    """

    asked: int
    parsed: int
    kept: int
    rejected: dict[str, int]
    usd: float
    unseen_usd: float
    usd_per_example: float
    seconds: float
    seconds_per_example: float
    requests: int
    prompt_tokens: int
    completion_tokens: int
    teacher: str
    mode: str
    seed_tasks: int
    with_input: int
    yield_over_time: list[tuple[int, int]]
    similarities: Similarities
    diversity: Diversity


def read(folder: Path) -> GenerateReport:
    """The report in a finished generate/; PacosError where it is none."""
    return read_report(GenerateReport, folder)


def read_audit(folder: Path) -> AuditReport:
    """The audit.json that an audit left in `folder`; PacosError where it is none."""
    return read_report(AuditReport, folder, "audit.json", "To have one, audit the file again.")
