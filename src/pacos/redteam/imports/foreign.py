"""What another tool's file tells of one answer, and the verdict that it has here."""

from dataclasses import dataclass
from typing import Literal

from pacos.engines import Message
from pacos.redteam.cases import Answered, Brought, Case, Judged, Verdict


@dataclass(frozen=True)
class Foreign:
    """A case from elsewhere. `objective` is the judge of ours that could judge it again; "" where there is none."""

    brought: Brought
    objective: str
    language: str = ""


@dataclass(frozen=True)
class LeftOut:
    """So many of what the file holds are no cases, and why."""

    why: str
    number: int = 1


@dataclass(frozen=True)
class Remark:
    """What whoever reads the numbers should know."""

    text: str


Told = Foreign | LeftOut | Remark


@dataclass(frozen=True)
class CaseSource:
    """Where a case stands: the run or file, what was asked there, and the case's name in it."""

    name: str
    target: str
    origin: str


@dataclass(frozen=True)
class Word:
    """What was said of an answer there: who looked for what, the verdict, and why."""

    looked_for: str
    judge: str
    verdict: Verdict
    score: float | None = None
    rationale: str = ""


def bring(
    source: CaseSource,
    topic: str,
    technique: str,
    turns: tuple[Message, ...],
    answer: str | Answered | None,
    word: Word,
) -> Brought:
    """The case as it is stored. No answer is an error and an empty one unscored, whatever was said of it."""
    wording = next((turn.content for turn in reversed(turns) if turn.role == "user"), "")
    case = Case(0, topic, technique, wording, turns)
    if answer is None:
        answer = Answered("", "error", "no answer came")
    elif isinstance(answer, str):
        answer = Answered(answer, "")
    verdict, score, rationale = word.verdict, word.score, word.rationale
    if answer.error:
        verdict, score, rationale = "error", None, answer.error
    elif not has_text(answer.text) and verdict != "error":
        withheld = answer.finish_reason == "content_filter"
        rationale = "withheld by the target's own filter" if withheld else "the answer is empty"
        verdict, score = "unscored", None
    judged = Judged(case, answer, verdict, word.judge, score, rationale)
    return Brought(source.name, source.target, word.looked_for, source.origin, judged)


def has_text(text: str) -> bool:
    """Whether there is anything to judge; blanks and what is invisible are no answer."""
    return any(char.isprintable() and char != " " for char in text)


Role = Literal["system", "user", "assistant"]
_ROLES: dict[str, Role] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "assistant": "assistant",
    "simulated_assistant": "assistant",
}


def message(role: object, content: str) -> Message | None:
    """A turn; None where nobody that we know of speaks, such as a tool."""
    known = _ROLES.get(role) if isinstance(role, str) else None
    return Message(known, content) if known else None
