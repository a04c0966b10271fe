"""The ledger: every reply that was paid for, on disk before it is used, found again by its request's hash."""

import hashlib
import json
import sqlite3
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import (
    Boolean,
    Column,
    Connection,
    Float,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    create_engine,
    event,
    func,
    insert,
    select,
)
from sqlalchemy.exc import DatabaseError, OperationalError

from pacos.core.errors import PacosError
from pacos.core.recipe import EngineTable
from pacos.engines import Failure, Reply, Request, Usage

# In a reply's sampling, what of it the server did not take.
LEFT_OUT = "left_out"
# How long the lock of another process is waited for: one look, then in all.
BUSY_SECONDS, PATIENCE_SECONDS = 1.0, 300.0

_METADATA = MetaData()
_REPLIES = Table(
    "replies",
    _METADATA,
    Column("key", String, primary_key=True),
    Column("number", Integer, nullable=False),
    Column("teacher", Text, nullable=False),
    Column("prompt", Text, nullable=False),
    Column("sampling", Text, nullable=False),
    Column("text", Text, nullable=False),
    Column("finish_reason", String, nullable=False),
    Column("prompt_tokens", Integer, nullable=False),
    Column("completion_tokens", Integer, nullable=False),
    Column("usd", Float, nullable=False),
    Column("unseen_usd", Float, nullable=False),
    Column("seconds", Float, nullable=False),
    Column("received", String, nullable=False),
    # Which process asked, and how long it had been at work: the whole job's time is summed over processes, on a
    # clock that does not jump.
    Column("session", Integer, nullable=False),
    Column("session_seconds", Float, nullable=False),
)
# Requests that ended without a reply, with what they may have cost all the same.
_FAILURES = Table(
    "failures",
    _METADATA,
    Column("id", Integer, primary_key=True),
    Column("key", String, nullable=False, index=True),
    Column("number", Integer, nullable=False),
    Column("kind", String, nullable=False),
    Column("message", Text, nullable=False),
    Column("unseen_usd", Float, nullable=False),
    # Whether the job goes on without this request; if not, it was asked again.
    Column("given_up", Boolean, nullable=False),
    Column("received", String, nullable=False),
)


@dataclass(frozen=True, slots=True)
class Call:
    """One request of the job, numbered from 0, with the hash it is stored under."""

    number: int
    key: str
    request: Request


@dataclass(frozen=True, slots=True)
class Totals:
    """What all replies so far took, in US dollars, tokens and seconds of work.

    `unseen_usd` is the most that attempts without an answer may have cost beside. Of a process before this one
    `seconds` counts the time up to its last reply. `teachers` are the models and addresses that wrote the replies,
    `left_out` the sampling parameters that one of them did not take.
    """

    replies: int
    usd: float
    unseen_usd: float
    prompt_tokens: int
    completion_tokens: int
    seconds: float
    first_received: str
    last_received: str
    teachers: tuple[str, ...]
    left_out: tuple[str, ...]


def call_key(teacher: EngineTable, request: Request) -> str:
    """SHA-256 over engine, model, api, prompt and sampling. Where the model is served is not in it: a job may move."""
    content = [teacher.engine, teacher.model, teacher.path, teacher.api, request.prompt, asdict(request.sampling)]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


class Ledger:
    """An open ledger. Raises PacosError where the disk is full, the file is no ledger, or another process locks it.

    While it is locked, nothing else happens in this process: replies on their way wait in their sockets.
    """

    def __init__(self, path: Path, teacher: str) -> None:
        self._path = path
        self._teacher = teacher
        self._start = time.monotonic()
        self._engine = create_engine(f"sqlite:///{path}", connect_args={"timeout": BUSY_SECONDS})
        # Whoever was waited for once in vain is not waited for again.
        self._patience = PATIENCE_SECONDS
        event.listen(self._engine, "connect", _prepare)
        path.parent.mkdir(parents=True, exist_ok=True)
        with self._transaction() as connection:
            _METADATA.create_all(connection)
            last = connection.scalar(select(func.max(_REPLIES.c.session)))
        self._session = 0 if last is None else last + 1

    def find(self, call: Call) -> Reply | Failure | None:
        """The stored reply to this very request, or the failure it was given up with; None where it is to be asked."""
        with self._transaction() as connection:
            row = connection.execute(select(_REPLIES).where(_REPLIES.c.key == call.key)).first()
            if row is None:
                given_up = select(_FAILURES).where(_FAILURES.c.key == call.key, _FAILURES.c.given_up)
                failure = connection.execute(given_up).first()
                return None if failure is None else Failure(call.request.id, failure.kind, failure.message)
        usage = Usage(row.prompt_tokens, row.completion_tokens)
        return Reply(call.request.id, row.text, row.finish_reason, usage, row.usd, row.seconds, row.unseen_usd)

    def read(self, key: str) -> tuple[str, str, str] | None:
        """(prompt, text, finish reason) of the reply stored under this key."""
        columns = _REPLIES.c
        with self._transaction() as connection:
            query = select(columns.prompt, columns.text, columns.finish_reason).where(columns.key == key)
            row = connection.execute(query).first()
        return None if row is None else (row.prompt, row.text, row.finish_reason)

    def teachers(self) -> dict[str, str]:
        """Who wrote each reply, by its key."""
        with self._transaction() as connection:
            rows = connection.execute(select(_REPLIES.c.key, _REPLIES.c.teacher)).all()
        return {key: teacher for key, teacher in rows}

    def store(self, call: Call, reply: Reply) -> None:
        """Puts a reply on disk; it is there when this returns."""
        prompt = call.request.prompt
        left_out = {LEFT_OUT: reply.left_out} if reply.left_out else {}
        values: dict[str, Any] = {
            "key": call.key,
            "number": call.number,
            "teacher": self._teacher,
            "prompt": prompt if isinstance(prompt, str) else json.dumps([asdict(message) for message in prompt]),
            "sampling": json.dumps(asdict(call.request.sampling) | left_out),
            "text": reply.text,
            "finish_reason": reply.finish_reason,
            "prompt_tokens": reply.usage.prompt_tokens,
            "completion_tokens": reply.usage.completion_tokens,
            "usd": reply.usd,
            "unseen_usd": reply.unseen_usd,
            "seconds": reply.seconds,
            "received": _now(),
            "session": self._session,
            "session_seconds": time.monotonic() - self._start,
        }
        with self._transaction() as connection:
            connection.execute(insert(_REPLIES).prefix_with("OR IGNORE").values(values))

    def store_failures(self, failures: Iterable[tuple[Call, Failure]], given_up: bool) -> None:
        """Puts failures on disk, for the account; requests that are given up are never asked again."""
        rows = [
            {
                "key": call.key,
                "number": call.number,
                "kind": failure.kind,
                "message": failure.message,
                "unseen_usd": failure.unseen_usd,
                "given_up": given_up,
                "received": _now(),
            }
            for call, failure in failures
        ]
        if rows:
            with self._transaction() as connection:
                connection.execute(insert(_FAILURES), rows)

    def totals(self) -> Totals:
        """Sums over all replies, this session's and earlier ones'."""
        columns = _REPLIES.c
        sums = select(
            func.count(),
            func.coalesce(func.sum(columns.usd), 0.0),
            func.coalesce(func.sum(columns.unseen_usd), 0.0),
            func.coalesce(func.sum(columns.prompt_tokens), 0),
            func.coalesce(func.sum(columns.completion_tokens), 0),
            func.coalesce(func.min(columns.received), ""),
            func.coalesce(func.max(columns.received), ""),
        )
        first_by_teacher = select(columns.teacher).group_by(columns.teacher).order_by(func.min(columns.number))
        with_left_out = select(columns.sampling).where(columns.sampling.contains(f'"{LEFT_OUT}"'))
        spans = select(func.max(columns.session_seconds)).where(columns.session != self._session)
        with self._transaction() as connection:
            replies, usd, unseen_usd, prompt_tokens, completion_tokens, first, last = connection.execute(sums).one()
            unseen_usd += connection.scalar(select(func.coalesce(func.sum(_FAILURES.c.unseen_usd), 0.0))) or 0.0
            earlier = sum(connection.scalars(spans.group_by(columns.session)))
            teachers = tuple(connection.scalars(first_by_teacher))
            left_out = {name for text in connection.scalars(with_left_out) for name in json.loads(text)[LEFT_OUT]}
        seconds = earlier + time.monotonic() - self._start
        return Totals(
            replies, usd, unseen_usd, prompt_tokens, completion_tokens, seconds, first, last, teachers,
            tuple(sorted(left_out)),
        )  # fmt: skip

    def close(self) -> None:
        """Closes the file; one without any reply or bill is removed, as there is nothing in it to go on from."""
        totals = self.totals()
        is_empty = totals.replies == 0 and totals.unseen_usd == 0
        self._engine.dispose()
        if is_empty:
            self._path.unlink()

    @contextmanager
    def _transaction(self) -> Iterator[Connection]:
        try:
            with closing(self._locked()) as connection:
                yield connection
                connection.commit()
        except DatabaseError as error:
            if _is_locked(error):
                advice = "Another process has it open; close that one"
            else:
                advice = "Free space or mend the file"
            raise PacosError(
                f"{self._path}: the ledger of replies cannot be written or read ({error.orig}); every reply it holds "
                f"stays. {advice}, then repeat the same command: it goes on from here."
            ) from error

    def _locked(self) -> Connection:
        """A connection that holds the ledger; waits for other processes, for the reply at hand is paid for."""
        start, said = time.monotonic(), False
        while True:
            connection = None
            try:
                connection = self._engine.connect()
                connection.exec_driver_sql("BEGIN IMMEDIATE")
                return connection
            except OperationalError as error:
                if connection is not None:
                    connection.close()
                if not _is_locked(error):
                    raise
                if time.monotonic() - start > self._patience:
                    self._patience = 0.0
                    raise
            if not said:
                said = True
                print(
                    f"{self._path}: locked by another process; waiting up to {self._patience / 60:.0f} min for it",
                    file=sys.stderr,
                )


def _is_locked(error: DatabaseError) -> bool:
    # The lower byte; the upper ones tell kinds apart.
    return getattr(error.orig, "sqlite_errorcode", 0) & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def _prepare(connection: Any, _: Any) -> None:
    # WAL with full synchronisation: a stored reply outlives a killed process and a power cut.
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
