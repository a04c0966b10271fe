"""Blind ballots: two answers in one order under ids that tell nothing, and the votes on them.

A ballot is in the database before anyone is asked, and a judge's reply in the ledger before its vote is counted. Which
model gave which answer stands in the table `blind_labels` alone; nothing that a judge or a reader of ballots sees
names a model.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import Column, Connection, Float, ForeignKey, MetaData, String, Table, select

from pacos.core.files import sha256_text
from pacos.evaluate.answer_files import Answer
from pacos.evaluate.items import Item
from pacos.judging import PREFERENCE, Choice
from pacos.store.database import Database, Schema, insert_missing

_METADATA = MetaData()
# The key to the blinding: whose answer an answer id stands for.
_BLIND_LABELS = Table(
    "blind_labels",
    _METADATA,
    Column("answer", String, primary_key=True),
    Column("item", String, nullable=False),
    Column("model", String, nullable=False),
)
_BALLOTS = Table(
    "ballots",
    _METADATA,
    Column("id", String, primary_key=True),
    Column("item", String, nullable=False, index=True),
    Column("answer_a", String, nullable=False),
    Column("answer_b", String, nullable=False),
)
_VOTES = Table(
    "votes",
    _METADATA,
    Column("ballot", ForeignKey("ballots.id"), primary_key=True),
    Column("voter", String, primary_key=True),
    Column("choice", String, nullable=False),
    # Under which the ledger has an engine's reply.
    Column("ledger_key", String),
    Column("at", String, nullable=False),
    # How far it prefers answer A, 0 to 1; none where it cannot be read, or was cast before preferences were kept.
    Column("preference", Float),
)


def _add_preference(connection: Connection) -> None:
    connection.exec_driver_sql("ALTER TABLE votes ADD COLUMN preference FLOAT")


SCHEMA = Schema("ballots", _METADATA, (_add_preference,))


@dataclass(frozen=True)
class Ballot:
    """One item and two answers in one order."""

    id: str
    item: str
    answer_a: str
    answer_b: str


@dataclass(frozen=True)
class Vote:
    """What one voter, a judge or a person, says of one ballot.

    `preference` is how far it prefers answer A, 0 to 1, by log-probability where the judge is read so; None where the
    vote cannot be read.
    """

    ballot: str
    voter: str
    choice: Choice
    ledger_key: str | None = None
    preference: float | None = None


@dataclass(frozen=True)
class Pair:
    """Two models' answers to one item, by blind answer id."""

    item: Item
    candidate: str
    baseline: str


def answer_id(seed: int, model: str, answer: Answer) -> str:
    """A stable id that tells nothing of the model to who has not its weights' hash; equal texts get different ids."""
    return blind_id(seed, model, answer.model_sha256, answer.item, answer.text)


def blind_id(*parts: object) -> str:
    """A hash of what an id stands for."""
    return sha256_text(json.dumps(parts))[:16]


def ballots_of(pairs: Iterable[Pair], seed: int) -> list[Ballot]:
    """A ballot for every pair in both orders, sorted by ids, which are hashes: the two of a pair are not neighbours."""
    ballots = [
        Ballot(blind_id(seed, pair.item.id, a, b), pair.item.id, a, b)
        for pair in pairs
        for a, b in ((pair.candidate, pair.baseline), (pair.baseline, pair.candidate))
    ]
    return sorted(ballots, key=lambda ballot: ballot.id)


class BallotBox:
    """An open ballots.sqlite: `with closing(BallotBox(path)) as box`. PacosError where it cannot be used.

    A finished evaluation's is opened `read_only`, and stays as it is.
    """

    def __init__(self, path: Path, *, read_only: bool = False) -> None:
        self._database = Database(path, SCHEMA, read_only=read_only)

    def add(self, ballots: Sequence[Ballot], pairs: Sequence[Pair], models: Mapping[str, str]) -> None:
        """Stores ballots and the key to their blinding; `models` is by answer id."""
        labels = [
            {"answer": answer, "item": pair.item.id, "model": models[answer]}
            for pair in pairs
            for answer in (pair.candidate, pair.baseline)
        ]
        with self._database.transaction() as connection:
            insert_missing(connection, _BLIND_LABELS, labels)
            insert_missing(connection, _BALLOTS, [asdict(ballot) for ballot in ballots])

    def vote(self, votes: Sequence[Vote]) -> None:
        """Stores votes; who has voted on a ballot has voted."""
        now = datetime.now(UTC).isoformat(timespec="seconds")
        with self._database.transaction() as connection:
            insert_missing(connection, _VOTES, [asdict(vote) | {"at": now} for vote in votes])

    def ballots(self) -> list[Ballot]:
        """All ballots."""
        columns = [_BALLOTS.c.id, _BALLOTS.c.item, _BALLOTS.c.answer_a, _BALLOTS.c.answer_b]
        with self._database.reading() as connection:
            return [Ballot(*row) for row in connection.execute(select(*columns))]

    def models(self) -> dict[str, str]:
        """The key to the blinding: each answer's model."""
        with self._database.reading() as connection:
            rows = connection.execute(select(_BLIND_LABELS.c.answer, _BLIND_LABELS.c.model))
            return {answer: model for answer, model in rows}

    def votes(self) -> list[Vote]:
        """All votes."""
        columns = [_VOTES.c.ballot, _VOTES.c.voter, _VOTES.c.choice, _VOTES.c.ledger_key, _VOTES.c.preference]
        with self._database.reading() as connection:
            rows = connection.execute(select(*columns)).all()
        return [
            Vote(ballot, voter, choice, key, PREFERENCE[choice] if preference is None else preference)
            for ballot, voter, choice, key, preference in rows
        ]

    def close(self) -> None:
        """Closes the file."""
        self._database.close()
