"""What red teaming left in a run: the attack's report, and of audit, gate and white-box search what the page shows."""

import json
import sqlite3
from contextlib import closing
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

from pacos.core.errors import PacosError
from pacos.core.files import read_json
from pacos.core.typed import MisfitError, typed
from pacos.redteam.report import Counts, JudgeOnStyle, RedteamReport, read_redteam_report
from pacos.store.read_only import open_to_read

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
class AttackedCase:
    """A case that was put to the target, of which command and objective it is, and the last word on it.

    `verdict` is "unscored" where nobody has judged it yet.
    """

    verb: str
    objective: str
    topic: str
    technique: str
    prompt: str
    answer: str
    verdict: str
    judge: str
    score: float | None
    rationale: str


@dataclass(frozen=True)
class RedteamFiles:
    """A `redteam` folder; what is not there is None or empty."""

    attack: RedteamReport | None
    audit: Audited | None
    gate: Gated | None
    before: Gated | None
    looks: tuple[Look, ...]
    cases: tuple[AttackedCase, ...]

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


_QUERY = """
SELECT campaigns.verb, campaigns.objective, cases.topic, cases.technique, cases.turns, answers.text, answers.error,
    verdicts.verdict, verdicts.judge, verdicts.score, verdicts.rationale
FROM campaigns JOIN cases ON cases.campaign = campaigns.id JOIN answers ON answers."case" = cases.id
    LEFT JOIN verdicts ON verdicts.id = (SELECT max(id) FROM verdicts WHERE verdicts."case" = cases.id)
ORDER BY campaigns.id, cases.number
"""


def _cases(path: Path) -> tuple[AttackedCase, ...]:
    """By the very tables, as a page is read without what writes them."""
    if not path.is_file():
        return ()
    try:
        with closing(open_to_read(path)) as connection:
            return tuple(_case(*row) for row in connection.execute(_QUERY))
    except (sqlite3.Error, ValueError, TypeError, KeyError) as error:
        raise PacosError(
            f"{path}: cannot be read as red teaming's cases ({error}). Put the file back as it was, or move it away."
        ) from None


def _case(
    verb: str,
    objective: str,
    topic: str,
    technique: str,
    turns: str,
    answer: str,
    error: str,
    verdict: str | None,
    judge: str | None,
    score: float | None,
    rationale: str | None,
) -> AttackedCase:
    said = [(turn["role"], turn["content"]) for turn in json.loads(turns)]
    prompt = said[0][1] if len(said) == 1 else "\n\n".join(f"{role}: {content}" for role, content in said)
    told = (error if error else rationale) or ("" if verdict else "not judged yet")
    shown = "error" if error else verdict or "unscored"
    return AttackedCase(verb, objective, topic, technique, prompt, answer, shown, judge or "", score, told)


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
