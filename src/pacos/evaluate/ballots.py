"""Blind ballots: two answers in one order under ids that tell nothing, and the judges' replies to them.

A ballot is in the database before its judge is asked, so a killed run asks only for what is missing. Which model gave
which answer stands in the table `blind_labels` alone; nothing that a judge or a reader of ballots sees names a model.
"""

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Self

from sqlalchemy import ForeignKey, Integer, create_engine, event, select
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.exc import DatabaseError
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from pacos.core.errors import PacosError
from pacos.engines import Failure, Reply
from pacos.evaluate.answers import Answer
from pacos.evaluate.items import Item
from pacos.evaluate.judging import judging_prompt, parse_verdict


class Base(DeclarativeBase):
    """The tables of ballots.sqlite."""


class BlindLabel(Base):
    """The key to the blinding: whose answer an answer id stands for."""

    __tablename__ = "blind_labels"
    answer: Mapped[str] = mapped_column(primary_key=True)
    item: Mapped[str]
    model: Mapped[str]


class Ballot(Base):
    """One item, two answers in one order, one judge, and the prompt that is shown."""

    __tablename__ = "ballots"
    id: Mapped[str] = mapped_column(primary_key=True)
    item: Mapped[str] = mapped_column(index=True)
    judge: Mapped[str]
    answer_a: Mapped[str]
    answer_b: Mapped[str]
    prompt: Mapped[str]


class Vote(Base):
    """A judge's reply to a ballot; `verdict` is A, B, tie or unparsable."""

    __tablename__ = "votes"
    ballot: Mapped[str] = mapped_column(ForeignKey("ballots.id"), primary_key=True)
    verdict: Mapped[str]
    reply: Mapped[str]
    prompt_tokens: Mapped[int] = mapped_column(Integer)
    completion_tokens: Mapped[int] = mapped_column(Integer)
    usd: Mapped[float]
    seconds: Mapped[float]
    at: Mapped[str]


@dataclass(frozen=True)
class Pair:
    """Two models' answers to one item, by blind answer id."""

    item: Item
    candidate: str
    baseline: str


def answer_id(seed: int, model: str, answer: Answer) -> str:
    """A stable id that tells nothing of the model to who has not its weights' hash; equal texts get different ids."""
    return _hash(seed, model, answer.model_sha256, answer.item, answer.text)


def _hash(*parts: object) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]


class BallotBox:
    """An open ballots.sqlite: `with BallotBox(path) as box`."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __enter__(self) -> Self:
        self._engine = create_engine(f"sqlite:///{self.path}")

        @event.listens_for(self._engine, "connect")
        def _(connection, record) -> None:  # type: ignore[no-untyped-def]
            # Votes are committed one by one; the write-ahead log makes that cheap and survives a killed process.
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=NORMAL")

        self._session = Session(self._engine, expire_on_commit=False)
        try:
            Base.metadata.create_all(self._engine)
        except DatabaseError as error:
            raise self._unusable(error) from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._session.close()
        self._engine.dispose()

    def _unusable(self, error: DatabaseError) -> PacosError:
        return PacosError(
            f"{self.path}: the ballot database cannot be used ({error.orig}); votes already committed are kept. "
            "Free space or mend the file, then repeat the same command."
        )

    def add_pairs(
        self, pairs: Iterable[Pair], judges: Sequence[str], texts: dict[str, str], models: dict[str, str], seed: int
    ) -> list[Ballot]:
        """Stores the key and a ballot for every pair, judge and order, and returns those ballots.

        `texts` and `models` are by answer id. The order that comes first is drawn by a hash of seed and answers, and
        ballots go out in the order of their ids, which are hashes too: the two of an item are not neighbours.
        """
        labels, rows = [], []
        for pair in pairs:
            item, both = pair.item, (pair.candidate, pair.baseline)
            labels += [{"answer": answer, "item": item.id, "model": models[answer]} for answer in both]
            for judge in judges:
                for a, b in (both, both[::-1]):
                    prompt = judging_prompt(item, texts[a], texts[b])
                    row = {"item": item.id, "judge": judge, "answer_a": a, "answer_b": b, "prompt": prompt}
                    rows.append({"id": _hash(seed, *row.values()), **row})
        rows.sort(key=lambda row: row["id"])
        self._insert_missing(BlindLabel, labels)
        self._insert_missing(Ballot, rows)
        return [Ballot(**row) for row in rows]

    def _insert_missing(self, table: type[Base], rows: list[dict[str, str]]) -> None:
        try:
            for start in range(0, len(rows), 500):
                self._session.execute(insert(table).on_conflict_do_nothing(), rows[start : start + 500])
            self._session.commit()
        except DatabaseError as error:
            raise self._unusable(error) from error

    def votes(self) -> dict[str, Vote]:
        """All votes by ballot id."""
        return {vote.ballot: vote for vote in self._session.scalars(select(Vote))}

    def record(self, answer: Reply | Failure) -> None:
        """Commits a judge's reply to the ballot whose id it carries; a refused ballot is an unparsable one."""
        text = answer.message if isinstance(answer, Failure) else answer.text
        reply = answer if isinstance(answer, Reply) else Reply(answer.id, "", "stop")
        vote = Vote(
            ballot=answer.id,
            verdict=parse_verdict(text) if isinstance(answer, Reply) else "unparsable",
            reply=text,
            prompt_tokens=reply.usage.prompt_tokens,
            completion_tokens=reply.usage.completion_tokens,
            usd=reply.usd,
            seconds=reply.seconds,
            at=datetime.now(UTC).isoformat(timespec="seconds"),
        )
        try:
            self._session.add(vote)
            self._session.commit()
        except DatabaseError as error:
            raise self._unusable(error) from error
