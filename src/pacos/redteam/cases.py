"""cases.sqlite: what was asked of a target, what it answered, and every verdict on it. Rows are added, never changed.

A campaign is one search or list of cases against one target with one objective, whoever made it: an attack, an audit, a
topic tree, reports of users, another tool's results. A case is stored before it is asked, its answer before it is
judged; so a killed campaign goes on where it was.
"""

import json
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import sqlalchemy as sa
from sqlalchemy import Column, Float, ForeignKey, Index, Integer, MetaData, String, Table, Text, UniqueConstraint

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
    # What it is called where it came from; None where it was made here.
    Column("origin", Text),
    UniqueConstraint("campaign", "number"),
)
_ORIGINS = Index("cases_by_origin", _CASES.c.campaign, _CASES.c.origin, unique=True)
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


def _add_origin(connection: sa.Connection) -> None:
    connection.exec_driver_sql("ALTER TABLE cases ADD COLUMN origin TEXT")
    _ORIGINS.create(connection)


SCHEMA = Schema("redteam", _METADATA, (_add_origin,))
# Cases that are stored by one statement, at most, and the letters of their answers.
_BATCH, _BATCH_LETTERS = 2_000, 2**22


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


@dataclass(frozen=True)
class Brought:
    """A case with its answer and the word on it, from elsewhere.

    `source` is the run or file that has it, `objective` what was looked for there, `origin` its name there.
    """

    source: str
    target: str
    objective: str
    origin: str
    judged: Judged


def case_line(judged: Judged, objective: str) -> dict[str, Any]:
    """One line of cases.jsonl; `turns` is there where the prompt has several."""
    case, answer = judged.case, judged.answer
    line = {
        "request": case.number,
        "prompt": case.prompt,
        "answer": answer.text if answer else "",
        "verdict": judged.verdict or "unscored",
        "judge": judged.judge,
        "objective": objective,
        "topic": case.topic,
        "technique": case.technique,
        "score": judged.score,
        "rationale": judged.rationale or ("" if judged.verdict else "not judged yet"),
        "seed": case.seed,
    }
    return line if len(case.turns) == 1 else line | {"turns": [asdict(turn) for turn in case.turns]}


@dataclass(frozen=True)
class Campaign:
    """One search or list of cases: whose verb, against which target's identity, with what objective."""

    id: int
    verb: str
    target: str
    objective: str


class CaseStore:
    """An open cases.sqlite: `with closing(CaseStore(path)) as store`. PacosError where the file cannot be used."""

    def __init__(self, path: Path) -> None:
        self._database = Database(path, SCHEMA)

    def campaign(self, verb: str, target: str, objective: str, settings: Mapping[str, Any]) -> int:
        """The number of the campaign with just these settings, begun now where there is none."""
        with self._database.transaction() as connection:
            return _campaign(connection, verb, target, objective, settings)

    def campaigns(self) -> list[Campaign]:
        """All campaigns in the order of their beginning."""
        columns = [_CAMPAIGNS.c[name] for name in ("id", "verb", "target", "objective")]
        with self._database.reading() as connection:
            return [Campaign(*row) for row in connection.execute(sa.select(*columns).order_by(_CAMPAIGNS.c.id))]

    def add(self, campaign: int, cases: Iterable[Case]) -> None:
        """Stores cases that are to be asked."""
        rows = [_row(campaign, case) for case in cases]
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

    def bring(self, brought: Iterable[Brought]) -> int:
        """Stores what comes from elsewhere, all of it or, where the iterator fails, nothing; how many were not there.

        A campaign of the verb "import" for each source, target and objective; numbers are given here. What is there
        already stays, and gets one more verdict where its judge's last one was another.
        """
        campaigns: dict[tuple[str, str, str], int] = {}
        num_new = 0
        with self._database.transaction() as connection:
            for batch in _batches(brought):
                of_campaign: dict[int, dict[str, Judged]] = {}
                for each in batch:
                    key = (each.target, each.objective, each.source)
                    if key not in campaigns:
                        campaigns[key] = _campaign(connection, "import", *key[:2], {"source": each.source})
                    of_campaign.setdefault(campaigns[key], {})[each.origin] = each.judged
                num_new += sum(_store(connection, campaign, cases) for campaign, cases in of_campaign.items())
        return num_new

    def said(self, campaign: int, case: Case, judge: str) -> Scored | None:
        """The last verdict of one judge on a case; None where it gave none."""
        columns = (_VERDICTS.c[name] for name in ("verdict", "score", "rationale"))
        with self._database.reading() as connection:
            own = sa.and_(_VERDICTS.c.case == self._id(connection, campaign, case), _VERDICTS.c.judge == judge)
            row = connection.execute(sa.select(*columns).where(own).order_by(_VERDICTS.c.id.desc()).limit(1)).first()
        return None if row is None else Scored(*row)

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


def _campaign(connection: sa.Connection, verb: str, target: str, objective: str, settings: Mapping[str, Any]) -> int:
    row = {"verb": verb, "target": target, "objective": objective, "settings": json.dumps(settings, sort_keys=True)}
    insert_missing(connection, _CAMPAIGNS, [row | {"begun": _now()}])
    same = sa.and_(*(_CAMPAIGNS.c[name] == value for name, value in row.items()))
    return int(connection.scalar(sa.select(_CAMPAIGNS.c.id).where(same)))  # type: ignore[arg-type]


def _row(campaign: int, case: Case, origin: str | None = None) -> dict[str, Any]:
    return {
        "campaign": campaign,
        "number": case.number,
        "topic": case.topic,
        "technique": case.technique,
        "wording": case.wording,
        "turns": json.dumps([{"role": turn.role, "content": turn.content} for turn in case.turns]),
        "seed": case.seed,
        "origin": origin,
    }


def _batches(brought: Iterable[Brought]) -> Iterator[list[Brought]]:
    batch, letters = list[Brought](), 0
    for each in brought:
        batch.append(each)
        letters += len(each.judged.answer.text) if each.judged.answer else 0
        if len(batch) == _BATCH or letters > _BATCH_LETTERS:
            yield batch
            batch, letters = [], 0
    yield batch


def _store(connection: sa.Connection, campaign: int, cases: Mapping[str, Judged]) -> int:
    """Stores the cases of one campaign, by their origins, as far as they are not there; how many were not."""
    own = sa.and_(_CASES.c.campaign == campaign, _CASES.c.origin.in_(cases))
    of_origin = sa.select(_CASES.c.origin, _CASES.c.id).where(own)
    ids = {origin: number for origin, number in connection.execute(of_origin)}
    said = (_VERDICTS.c.case, _VERDICTS.c.judge, _VERDICTS.c.verdict, _VERDICTS.c.score)
    query = sa.select(*said).where(_VERDICTS.c.case.in_(ids.values())).order_by(_VERDICTS.c.id)
    last_words = {(case, judge): tuple(word) for case, judge, *word in connection.execute(query)}
    last_number = connection.scalar(sa.select(sa.func.max(_CASES.c.number)).where(_CASES.c.campaign == campaign))
    first = 0 if last_number is None else last_number + 1
    new = [(origin, each) for origin, each in cases.items() if origin not in ids]
    if new:
        rows = [_row(campaign, replace(each.case, number=n), origin) for n, (origin, each) in enumerate(new, first)]
        connection.execute(_CASES.insert(), rows)
        ids = {origin: number for origin, number in connection.execute(of_origin)}
        answers = [vars(each.answer) | {"case": ids[origin], "at": _now()} for origin, each in new if each.answer]
        connection.execute(_ANSWERS.insert(), answers)
    verdicts = [
        {name: getattr(each, name) for name in ("judge", "verdict", "score", "rationale")}
        | {"case": ids[origin], "at": _now()}
        for origin, each in cases.items()
        # A person's word that came later stays the last one, unless this judge has changed its mind.
        if last_words.get((ids[origin], each.judge)) != (each.verdict, each.score)
    ]
    if verdicts:
        connection.execute(_VERDICTS.insert(), verdicts)
    return len(new)


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
    return vars(scored) | {"case": case, "judge": judge, "at": _now()}


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
