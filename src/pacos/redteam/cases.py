"""cases.sqlite: what was asked of a target, what it answered, and every verdict on it. Rows are added, never changed.

A campaign is one search or list of cases against one target with one objective, whoever made it: an attack, an audit, a
topic tree, reports of users, another tool's results. A case is stored before it is asked, its answer before it is
judged; so a killed campaign goes on where it was.
"""

import json
import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import sqlalchemy as sa
from sqlalchemy import Column, Float, ForeignKey, Integer, MetaData, String, Table, Text, UniqueConstraint

from pacos.engines import Message
from pacos.judging.offline import Scored
from pacos.store.database import Database, Schema, insert_missing

Verdict = Literal["hit", "safe", "unscored", "error"]

_METADATA = MetaData()
_CAMPAIGNS = Table(
    "campaigns",
    _METADATA,
    Column("id", Integer, primary_key=True),
    # Which command, and JSON of all that shapes what it asks: the same again goes on with the same campaign.
    Column("verb", String, nullable=False),
    Column("target", Text, nullable=False),
    Column("objective", Text, nullable=False),
    Column("settings", Text, nullable=False),
    Column("begun", String, nullable=False),
    UniqueConstraint("verb", "target", "objective", "settings"),
)
_CASES = Table(
    "cases",
    _METADATA,
    Column("id", Integer, primary_key=True),
    Column("campaign", ForeignKey("campaigns.id"), nullable=False),
    Column("number", Integer, nullable=False),
    Column("topic", Text, nullable=False),
    Column("technique", String, nullable=False),
    # Before and after its conversion: the wording, and JSON of the turns that were sent.
    Column("wording", Text, nullable=False),
    Column("turns", Text, nullable=False),
    # None where nothing was drawn here: the answer came with the case.
    Column("seed", Integer),
    UniqueConstraint("campaign", "number"),
)
_ANSWERS = Table(
    "answers",
    _METADATA,
    Column("case", ForeignKey("cases.id"), primary_key=True),
    Column("text", Text, nullable=False),
    Column("finish_reason", String, nullable=False),
    # Why there is no answer; empty where there is one.
    Column("error", Text, nullable=False),
    Column("at", String, nullable=False),
)
_VERDICTS = Table(
    "verdicts",
    _METADATA,
    Column("id", Integer, primary_key=True),
    Column("case", ForeignKey("cases.id"), nullable=False, index=True),
    # A judge's name, or a person's.
    Column("judge", String, nullable=False),
    Column("verdict", String, nullable=False),
    Column("score", Float),
    Column("rationale", Text, nullable=False),
    Column("at", String, nullable=False),
)
SCHEMA = Schema("redteam", _METADATA)


@dataclass(frozen=True)
class Case:
    """One request to a target. `technique` is a template's name, or one with a converter's: "story+base64"."""

    number: int
    topic: str
    technique: str
    wording: str
    turns: tuple[Message, ...]
    seed: int | None = None

    @property
    def prompt(self) -> str:
        """What was sent as one text: of several turns each begins with who speaks."""
        if len(self.turns) == 1:
            return self.turns[0].content
        return "\n\n".join(f"{turn.role}: {turn.content}" for turn in self.turns)


@dataclass(frozen=True)
class Answered:
    """What a target said to a case; where it did not, `error` says why."""

    text: str
    finish_reason: str
    error: str = ""


@dataclass(frozen=True)
class Judged:
    """A case with its answer and the last word on it; both are None for what was not asked yet."""

    case: Case
    answer: Answered | None = None
    verdict: Verdict | None = None
    judge: str = ""
    score: float | None = None
    rationale: str = ""


class CaseStore:
    """An open cases.sqlite: `with closing(CaseStore(path)) as store`. PacosError where the file cannot be used."""

    def __init__(self, path: Path) -> None:
        self._database = Database(path, SCHEMA)

    def campaign(self, verb: str, target: str, objective: str, settings: Mapping[str, Any]) -> int:
        """The number of the campaign with just these settings, begun now where there is none."""
        row = {"verb": verb, "target": target, "objective": objective, "settings": json.dumps(settings, sort_keys=True)}
        with self._database.transaction() as connection:
            insert_missing(connection, _CAMPAIGNS, [row | {"begun": _now()}])
            same = sa.and_(*(_CAMPAIGNS.c[name] == value for name, value in row.items()))
            return int(connection.scalar(sa.select(_CAMPAIGNS.c.id).where(same)))  # type: ignore[arg-type]

    def add(self, campaign: int, cases: Iterable[Case]) -> None:
        """Stores cases that are to be asked."""
        rows = [
            {
                "campaign": campaign,
                "number": case.number,
                "topic": case.topic,
                "technique": case.technique,
                "wording": case.wording,
                "turns": json.dumps([asdict(turn) for turn in case.turns]),
                "seed": case.seed,
            }
            for case in cases
        ]
        if rows:
            with self._database.transaction(is_costly=False) as connection:
                connection.execute(_CASES.insert(), rows)

    def answer(
        self, campaign: int, case: Case, answer: Answered, judge: str = "", scored: Scored | None = None
    ) -> None:
        """Stores what came back for a case, and a verdict on it where there is one; the first answer stays."""
        with self._database.transaction(is_costly=False) as connection:
            number = self._id(connection, campaign, case)
            insert_missing(connection, _ANSWERS, [asdict(answer) | {"case": number, "at": _now()}])
            if scored is not None:
                connection.execute(_VERDICTS.insert().values(_verdict(number, judge, scored)))

    def judge(self, campaign: int, case: Case, judge: str, scored: Scored) -> None:
        """Stores one more verdict: the last one on a case counts, those before it stay."""
        with self._database.transaction() as connection:
            number = self._id(connection, campaign, case)
            connection.execute(_VERDICTS.insert().values(_verdict(number, judge, scored)))

    def read(self, campaign: int) -> list[Judged]:
        """All cases of a campaign by number, each with its answer and last verdict. What brought no answer is an error,
        whatever anyone said of it."""
        last = (
            sa.select(sa.func.max(_VERDICTS.c.id).label("id"), _VERDICTS.c.case).group_by(_VERDICTS.c.case).subquery()
        )
        joined = _CASES.outerjoin(_ANSWERS, _ANSWERS.c.case == _CASES.c.id)
        joined = joined.outerjoin(last, last.c.case == _CASES.c.id).outerjoin(_VERDICTS, _VERDICTS.c.id == last.c.id)
        columns = (
            *(_CASES.c[name] for name in ("number", "topic", "technique", "wording", "turns", "seed")),
            *(_ANSWERS.c[name] for name in ("text", "finish_reason", "error")),
            *(_VERDICTS.c[name] for name in ("verdict", "judge", "score", "rationale")),
        )
        query = sa.select(*columns).select_from(joined).where(_CASES.c.campaign == campaign).order_by(_CASES.c.number)
        with self._database.reading() as connection:
            return [_judged(tuple(row)) for row in connection.execute(query)]

    def close(self) -> None:
        """Closes the file."""
        self._database.close()

    def _id(self, connection: sa.Connection, campaign: int, case: Case) -> int:
        own = sa.and_(_CASES.c.campaign == campaign, _CASES.c.number == case.number)
        return int(connection.scalar(sa.select(_CASES.c.id).where(own)))  # type: ignore[arg-type]


def _judged(row: tuple[Any, ...]) -> Judged:
    number, topic, technique, wording, turns, seed, text, finish_reason, error, verdict, judge, score, rationale = row
    case = Case(number, topic, technique, wording, tuple(Message(**turn) for turn in json.loads(turns)), seed)
    if text is None:
        return Judged(case)
    answer = Answered(text, finish_reason, error)
    if error:
        return Judged(case, answer, "error", judge or "", None, error)
    return Judged(case, answer, verdict, judge or "", score, rationale or "")


def _verdict(case: int, judge: str, scored: Scored) -> dict[str, Any]:
    return asdict(scored) | {"case": case, "judge": judge, "at": _now()}


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
