"""What visitors leave on the page besides reports: conversations they made public, and votes between two models."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from secrets import token_urlsafe
from typing import Any

from sqlalchemy import JSON, Boolean, Column, Connection, DateTime, MetaData, Row, String, Table, and_, false, or_

from pacos.core.files import sha256_text
from pacos.engines import Message
from pacos.serve.model import ServedModel
from pacos.store.database import Database, Schema
from pacos.web.people import PATIENCE_SECONDS

_TABLES = MetaData()
_SHARED = Table(
    "serve_shared",
    _TABLES,
    Column("id", String(32), primary_key=True),
    Column("shared_at", DateTime(timezone=True), nullable=False),
    Column("author_sha256", String(64), nullable=False),
    Column("transcript", JSON, nullable=False),
)
# A row is there from the question on, so that each vote is of a question that was asked, and is cast once.
_VOTES = Table(
    "serve_votes",
    _TABLES,
    Column("id", String(32), primary_key=True),
    Column("asked_at", DateTime(timezone=True), nullable=False),
    Column("prompt_sha256", String(64), nullable=False),
    Column("model_a", String(255), nullable=False),
    Column("model_a_sha256", String(64), nullable=False),
    Column("model_b", String(255), nullable=False),
    Column("model_b_sha256", String(64), nullable=False),
    Column("is_swapped", Boolean, nullable=False),
    Column("is_blind", Boolean, nullable=False),
    Column("choice", String(4)),
    Column("voted_at", DateTime(timezone=True)),
    Column("transcript", JSON(none_as_null=True)),
    # Votes of one session are one voter's; those cast before sessions were kept have none.
    Column("voter_sha256", String(64)),
    # Whether the filter withheld an answer, or a part of one.
    Column("is_withheld", Boolean, nullable=False, server_default=false()),
)


def _add_voter(connection: Connection) -> None:
    no = false().compile(connection.engine)
    for column in ("voter_sha256 VARCHAR(64)", f"is_withheld BOOLEAN DEFAULT {no} NOT NULL"):
        connection.exec_driver_sql(f"ALTER TABLE serve_votes ADD COLUMN {column}")


SCHEMA = Schema("serve_page", _TABLES, (_add_voter,))
Transcript = list[dict[str, str]]


@dataclass(frozen=True)
class SharedConversation:
    """Turns with role and content, an answer's with its model's name too."""

    turns: Transcript
    shared_at: datetime
    author_sha256: str


@dataclass(frozen=True)
class Pairing:
    """Two models as they stood side by side, and whether a vote has been cast."""

    names: tuple[str, str]
    sha256s: tuple[str, str]
    prompt_sha256: str
    choice: str | None


@dataclass(frozen=True)
class CastVote:
    """A vote that was cast, as it is exported; models and answers in the order shown, texts only with consent."""

    id: str
    asked_at: datetime
    voted_at: datetime
    prompt_sha256: str
    models: tuple[str, str]
    sha256s: tuple[str, str]
    is_swapped: bool
    is_blind: bool
    is_withheld: bool
    choice: str
    voter_sha256: str | None
    transcript: Transcript | None

    def exported(self) -> dict[str, Any]:
        """The line of the export, as docs/serve.md describes it."""
        turns = self.transcript
        answers = [turn["content"] for turn in turns[-2:]] if turns else [None, None]
        shown = {
            f"{key}_{side}": value
            for key, values in (("model", self.models), ("model_sha256", self.sha256s), ("answer", answers))
            for side, value in zip("ab", values, strict=True)
        }
        return {
            "id": self.id,
            "prompt_sha256": self.prompt_sha256,
            "messages": turns and turns[:-2],
            **shown,
            "choice": self.choice,
            "is_blind": self.is_blind,
            "is_withheld": self.is_withheld,
            "baseline": "a" if self.is_swapped else "b",
            "voter": self.voter_sha256,
            "asked_at": self.asked_at.isoformat(),
            "voted_at": self.voted_at.isoformat(),
        }


def prompt_sha256(conversation: Sequence[Message]) -> str:
    """The hash by which a vote knows its question."""
    return sha256_text(json.dumps([[m.role, m.content] for m in conversation]))


class PageStore:
    """Both tables in the database at `where`; PacosError where it cannot be opened."""

    def __init__(self, where: Path | str) -> None:
        self._database = Database(where, SCHEMA, PATIENCE_SECONDS)

    def share(self, turns: Transcript, author_sha256: str) -> str:
        """Makes a conversation public; returns the name under which nobody finds it by guessing."""
        name = token_urlsafe(16)
        row = {"id": name, "shared_at": datetime.now(UTC), "author_sha256": author_sha256, "transcript": turns}
        with self._database.transaction() as connection:
            connection.execute(_SHARED.insert().values(row))
        return name

    def shared(self, name: str) -> SharedConversation | None:
        """A public conversation, or None."""
        with self._database.reading() as connection:
            row = _is_name(name) and connection.execute(_SHARED.select().where(_SHARED.c.id == name)).first()
        return SharedConversation(row.transcript, row.shared_at, row.author_sha256) if row else None

    def unshare(self, name: str, author_sha256: str) -> bool:
        """Deletes a conversation of this author's for good; whether there was one."""
        own = (_SHARED.c.id == name) & (_SHARED.c.author_sha256 == author_sha256)
        with self._database.transaction() as connection:
            return _is_name(name) and connection.execute(_SHARED.delete().where(own)).rowcount > 0

    def begin_vote(
        self, models: tuple[ServedModel, ServedModel], conversation: Sequence[Message], is_swapped: bool, is_blind: bool
    ) -> str:
        """Notes that these models were asked, in the order in which they are shown; returns the vote's name."""
        (a, b), name = models, token_urlsafe(16)
        row: dict[str, Any] = {"id": name, "asked_at": datetime.now(UTC), "prompt_sha256": prompt_sha256(conversation)}
        row |= {"model_a": a.name, "model_a_sha256": a.sha256, "model_b": b.name, "model_b_sha256": b.sha256}
        with self._database.transaction(is_costly=False) as connection:
            connection.execute(_VOTES.insert().values(is_swapped=is_swapped, is_blind=is_blind, **row))
        return name

    def pairing(self, name: str) -> Pairing | None:
        """The models that were asked, or None."""
        with self._database.reading() as connection:
            row = _is_name(name) and connection.execute(_VOTES.select().where(_VOTES.c.id == name)).first()
        if not row:
            return None
        sha256s = row.model_a_sha256, row.model_b_sha256
        return Pairing((row.model_a, row.model_b), sha256s, row.prompt_sha256, row.choice)

    def note_withheld(self, name: str) -> None:
        """Notes that the filter withheld one of the two answers, so that a vote on them is known as one on a notice."""
        with self._database.transaction(is_costly=False) as connection:
            connection.execute(_VOTES.update().where(_VOTES.c.id == name).values(is_withheld=True))

    def vote(self, name: str, choice: str, transcript: Transcript | None, voter_sha256: str) -> bool:
        """Casts the vote, whole or not at all; False where it has been cast before."""
        is_open = (_VOTES.c.id == name) & _VOTES.c.choice.is_(None)
        cast = {"choice": choice, "voted_at": datetime.now(UTC), "transcript": transcript, "voter_sha256": voter_sha256}
        with self._database.transaction() as connection:
            return connection.execute(_VOTES.update().where(is_open).values(cast)).rowcount > 0

    def votes(self, limit: int, after: CastVote | None = None) -> list[CastVote]:
        """The votes that were cast, the oldest first, from the one `after` on."""
        query = _VOTES.select().where(_VOTES.c.choice.is_not(None)).order_by(_VOTES.c.voted_at, _VOTES.c.id)
        if after:
            later, same = _VOTES.c.voted_at > after.voted_at, _VOTES.c.voted_at == after.voted_at
            query = query.where(or_(later, and_(same, _VOTES.c.id > after.id)))
        with self._database.reading() as connection:
            return [_cast_vote(row) for row in connection.execute(query.limit(limit))]

    def close(self) -> None:
        """Closes the connections."""
        self._database.close()


def _cast_vote(row: Row[Any]) -> CastVote:
    # SQLite keeps no time zone.
    asked_at, voted_at = (
        (at if at.tzinfo else at.replace(tzinfo=UTC)).astimezone(UTC) for at in (row.asked_at, row.voted_at)
    )
    return CastVote(
        row.id,
        asked_at,
        voted_at,
        row.prompt_sha256,
        (row.model_a, row.model_b),
        (row.model_a_sha256, row.model_b_sha256),
        row.is_swapped,
        row.is_blind,
        row.is_withheld,
        row.choice,
        row.voter_sha256,
        row.transcript,
    )


def _is_name(text: str) -> bool:
    # What else an address holds, PostgreSQL may not take.
    return text.isascii() and text.isprintable()
