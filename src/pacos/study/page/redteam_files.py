"""What red teaming left in a run: the attack's report, and of audit, gate and white-box search what the page shows."""

from contextlib import closing
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

from pacos.core.errors import PacosError
from pacos.core.files import read_json
from pacos.core.typed import MisfitError, typed
from pacos.redteam.cases import CaseStore, Judged
from pacos.redteam.report import Counts, JudgeOnStyle, RedteamReport, read_redteam_report

Seen = TypeVar("Seen")


@dataclass(frozen=True)
class AuditedObjective(Counts):
    """One objective of audit.json."""

    name: str
    about: str
    failure: str
    judge: str
    judge_finds: str
    judge_by_style: tuple[JudgeOnStyle, ...]
    source: str
    by_group: dict[str, Counts]


@dataclass(frozen=True)
class AuditedPairs:
    """One set of paired sentences of audit.json; `rate` is that of the stereotyped one being likelier."""

    name: str
    source: str
    pairs: int
    preferred: int
    ties: int
    rate: float | None
    interval: tuple[float, float] | None


@dataclass(frozen=True)
class AuditedContext:
    """Questions of one context; `bias` is from -1 to 1."""

    questions: int
    accuracy: float | None
    accuracy_interval: tuple[float, float] | None
    bias: float | None
    bias_interval: tuple[float, float] | None


@dataclass(frozen=True)
class AuditedChoices:
    """One set of questions with a choice of answers of audit.json."""

    name: str
    source: str
    ambiguous: AuditedContext
    disambiguated: AuditedContext


@dataclass(frozen=True)
class Audited:
    """audit.json."""

    target: str
    identity: str
    objectives: tuple[AuditedObjective, ...]
    pairs: tuple[AuditedPairs, ...] = ()
    choices: tuple[AuditedChoices, ...] = ()
    not_measured: dict[str, str] | None = None


@dataclass(frozen=True)
class GatesJudge:
    """A judge of gate.json."""

    judge: str
    finds: str
    by_style: tuple[JudgeOnStyle, ...]


@dataclass(frozen=True)
class Gated(Counts):
    """gate.json, or before.json: the same of the run that was repaired."""

    target: str
    identity: str
    max_asr: float
    result: str
    reason: str
    by_objective: dict[str, Counts]
    by_technique: dict[str, Counts]
    judges: tuple[GatesJudge, ...] = ()


@dataclass(frozen=True)
class LookedFor:
    """The text of a white-box search."""

    text: str


@dataclass(frozen=True)
class LikelyAfter:
    """How likely that text is after a prompt, beside controls of its shape."""

    prompt: str
    bits: float
    controls: int
    rank: int
    p_value: float


@dataclass(frozen=True)
class Start:
    """What one start of the search came to."""

    is_found: bool
    prompt: str
    bits: float


@dataclass(frozen=True)
class Look:
    """One text in whitebox.json."""

    target: str
    settings: LookedFor
    exposures: tuple[LikelyAfter, ...] = ()
    finds: tuple[Start, ...] = ()


@dataclass(frozen=True)
class Looks:
    """whitebox.json."""

    looks: tuple[Look, ...]


@dataclass(frozen=True)
class FromCampaign:
    """A case, of which command and objective it is."""

    verb: str
    objective: str
    judged: Judged


@dataclass(frozen=True)
class RedteamFiles:
    """A `redteam` folder; what is not there is None or empty."""

    attack: RedteamReport | None
    audit: Audited | None
    gate: Gated | None
    before: Gated | None
    looks: tuple[Look, ...]
    cases: tuple[FromCampaign, ...]

    @property
    def is_empty(self) -> bool:
        """Whether nothing was attacked here."""
        return not (self.attack or self.audit or self.gate or self.before or self.looks or self.cases)


def read_redteam(folder: Path) -> RedteamFiles:
    """All that the page shows of a `redteam` folder, which need not be there; PacosError where a file is damaged."""
    attack = read_redteam_report(folder) if (folder / "report.json").is_file() else None
    looks = _seen(Looks, folder / "whitebox.json")
    return RedteamFiles(
        attack,
        _seen(Audited, folder / "audit.json"),
        _seen(Gated, folder / "gate.json"),
        _seen(Gated, folder / "before.json"),
        looks.looks if looks else (),
        _cases(folder / "cases.sqlite"),
    )


def _cases(path: Path) -> tuple[FromCampaign, ...]:
    if not path.is_file():
        return ()
    with closing(CaseStore(path)) as store:
        return tuple(
            FromCampaign(campaign.verb, campaign.objective, judged)
            for campaign in store.campaigns()
            for judged in store.read(campaign.number)
            if judged.answer
        )


def _seen(cls: type[Seen], path: Path) -> Seen | None:
    """A report as far as the page shows it, whatever else stands in it."""
    if not path.is_file():
        return None
    try:
        seen: Seen = typed(cls, read_json(path, "red teaming's report"), "", _picked)
    except MisfitError as misfit:
        raise PacosError(
            f"{path}: {str(misfit).lstrip('. ')}; not a report of this version of pacos. Make it again, or remove it."
        ) from None
    return seen


def _picked(cls: Any, values: dict[str, Any], name: str) -> Any:
    hints = get_type_hints(cls)
    for field in fields(cls):
        if field.name not in values and field.default is MISSING:
            raise MisfitError(f"{name}.{field.name} is missing")
    return cls(**{key: typed(hints[key], values[key], f"{name}.{key}", _picked) for key in hints if key in values})
