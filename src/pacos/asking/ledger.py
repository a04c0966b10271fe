"""The ledger: every reply that was paid for, on disk before it is used, found again by its request's hash."""

import hashlib
import json
import time
import zlib
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import (
    Boolean,
    Column,
    Connection,
    Float,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    func,
    insert,
    select,
)

from pacos.core.recipe import EngineTable
from pacos.engines import Failure, Reply, Request, TokenLogprob, Usage
from pacos.store.database import Database, Schema, insert_missing

# In a reply's sampling, what of it the server did not take.
LEFT_OUT = "left_out"

_METADATA = MetaData()
_REPLIES = Table(
    "replies",
    _METADATA,
    Column("key", String, primary_key=True),
    # Whose call it was, such as "teacher" or a judge's name: each has an account of its own.
    Column("role", String, nullable=False),
    Column("number", Integer, nullable=False),
    Column("server", Text, nullable=False),
    Column("prompt", Text, nullable=False),
    Column("sampling", Text, nullable=False),
    Column("text", Text, nullable=False),
    Column("finish_reason", String, nullable=False),
    Column("prompt_tokens", Integer, nullable=False),
    Column("completion_tokens", Integer, nullable=False),
    Column("usd", Float, nullable=False),
    Column("unseen_usd", Float, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("seconds", Float, nullable=False),
    Column("received", String, nullable=False),
    # Which process asked, and how long it had been at work: the whole job's time is summed over processes, on a
    # clock that does not jump.
    Column("session", Integer, nullable=False),
    Column("session_seconds", Float, nullable=False),
    # zlib of the JSON list [what was sent, what came], where the recipe asks for it.
    Column("raw", LargeBinary),
    # JSON of the written tokens' log-probabilities, where they were asked for.
    Column("logprobs", Text),
)
# Requests that ended without a reply, with what they may have cost all the same.
_FAILURES = Table(
    "failures",
    _METADATA,
    Column("id", Integer, primary_key=True),
    Column("key", String, nullable=False, index=True),
    Column("role", String, nullable=False),
    Column("number", Integer, nullable=False),
    Column("kind", String, nullable=False),
    Column("message", Text, nullable=False),
    Column("unseen_usd", Float, nullable=False),
    Column("attempts", Integer, nullable=False),
    # Whether the job goes on without this request; if not, it was asked again.
    Column("given_up", Boolean, nullable=False),
    Column("received", String, nullable=False),
)


def _add_logprobs(connection: Connection) -> None:
    connection.exec_driver_sql("ALTER TABLE replies ADD COLUMN logprobs TEXT")


SCHEMA = Schema("ledger", _METADATA, (_add_logprobs,))


@dataclass(frozen=True, slots=True)
class Call:
    """One request of the job, numbered from 0, with the hash it is stored under."""

    number: int
    key: str
    request: Request


@dataclass(frozen=True, slots=True)
class StoredReply:
    """What the ledger tells of one reply; `raw` is what was sent and what came, None where it was not kept."""

    prompt: str
    text: str
    finish_reason: str
    raw: tuple[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Totals:
    """What all replies to one role so far took, in US dollars, tokens and seconds of work.

    `unseen_usd` is the most that attempts without an answer may have cost beside. Of a process before this one
    `seconds` counts the time up to its last reply. `servers` are the models and addresses that wrote the replies,
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
    servers: tuple[str, ...]
    left_out: tuple[str, ...]


def call_key(table: EngineTable, request: Request, *apart: str) -> str:
    """SHA-256 over engine, model, api, prompt and sampling. Where the model is served is not in it: a job may move.

    `apart` tells apart what all of these do not: a checkpoint's weights, a ballot.
    """
    prompt = request.prompt if isinstance(request.prompt, str) else [asdict(message) for message in request.prompt]
    rounded = () if table.weights == "auto" else (table.weights,)
    weighed = () if request.logprobs is None else (f"logprobs {request.logprobs}",)
    content = [table.engine, table.model, table.path, table.api, prompt, request.sampling.chosen(), *rounded, *weighed]
    content += apart
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


class Ledger:
    """An open account of one role's calls, in a file that other roles may share; `server` is who answers now.

    Raises PacosError where the disk is full, the file is no ledger, or another process locks it for too long. While it
    is locked, nothing else happens in this process: replies on their way wait in their sockets.
    """

    def __init__(self, path: Path, role: str, server: str = "") -> None:
        self._path, self._role, self._server = path, role, server
        self._start = time.monotonic()
        self._database = Database(path, SCHEMA)
        with self._database.reading() as connection:
            last = connection.scalar(select(func.max(_REPLIES.c.session)))
        self._session = 0 if last is None else last + 1

    def find(self, call: Call) -> Reply | Failure | None:
        """The stored reply to this very request, or the failure it was given up with; None where it is to be asked."""
        with self._database.reading() as connection:
            row = connection.execute(select(_REPLIES).where(_REPLIES.c.key == call.key)).first()
            if row is None:
                given_up = select(_FAILURES).where(_FAILURES.c.key == call.key, _FAILURES.c.given_up)
                failure = connection.execute(given_up).first()
                return None if failure is None else Failure(call.request.id, failure.kind, failure.message)
        usage = Usage(row.prompt_tokens, row.completion_tokens)
        told = tuple(
            TokenLogprob(number, text, logprob, tuple((n, t, p) for n, t, p in top))
            for number, text, logprob, top in json.loads(row.logprobs or "[]")
        )
        return Reply(
            call.request.id, row.text, row.finish_reason, usage, row.usd, row.seconds, row.unseen_usd, logprobs=told
        )

    def read(self, key: str) -> StoredReply | None:
        """What was stored under this key."""
        with self._database.reading() as connection:
            row = connection.execute(select(_REPLIES).where(_REPLIES.c.key == key)).first()
        if row is None:
            return None
        raw = None if row.raw is None else json.loads(zlib.decompress(row.raw))
        return StoredReply(row.prompt, row.text, row.finish_reason, raw and (raw[0], raw[1]))

    def servers(self) -> dict[str, str]:
        """Who wrote each reply, by its key."""
        with self._database.reading() as connection:
            rows = connection.execute(select(_REPLIES.c.key, _REPLIES.c.server)).all()
        return {key: server for key, server in rows}

    def store(self, call: Call, reply: Reply) -> None:
        """Puts a reply on disk; it is there when this returns."""
        prompt = call.request.prompt
        left_out = {LEFT_OUT: reply.left_out} if reply.left_out else {}
        values: dict[str, Any] = {
            "key": call.key,
            "role": self._role,
            "number": call.number,
            "server": self._server,
            "prompt": prompt if isinstance(prompt, str) else json.dumps([asdict(message) for message in prompt]),
            "sampling": json.dumps(call.request.sampling.chosen() | left_out),
            "text": reply.text,
            "finish_reason": reply.finish_reason,
            "prompt_tokens": reply.usage.prompt_tokens,
            "completion_tokens": reply.usage.completion_tokens,
            "usd": reply.usd,
            "unseen_usd": reply.unseen_usd,
            "attempts": reply.attempts,
            "seconds": reply.seconds,
            "received": _now(),
            "session": self._session,
            "session_seconds": time.monotonic() - self._start,
            "raw": None if reply.raw is None else zlib.compress(json.dumps(reply.raw).encode()),
            "logprobs": json.dumps([[t.id, t.text, t.logprob, t.top] for t in reply.logprobs])
            if reply.logprobs
            else None,
        }
        # Waiting for the disk takes longer than a small model on this machine needs for a reply, which costs nothing.
        with self._database.transaction(is_costly=reply.usd + reply.unseen_usd > 0) as connection:
            insert_missing(connection, _REPLIES, [values])

    def store_failures(self, failures: Iterable[tuple[Call, Failure]], given_up: bool) -> None:
        """Puts failures on disk, for the account; requests that are given up are never asked again."""
        rows = [
            {
                "key": call.key,
                "role": self._role,
                "number": call.number,
                "kind": failure.kind,
                "message": failure.message,
                "unseen_usd": failure.unseen_usd,
                "attempts": failure.attempts,
                "given_up": given_up,
                "received": _now(),
            }
            for call, failure in failures
        ]
        if rows:
            with self._database.transaction() as connection:
                connection.execute(insert(_FAILURES), rows)

    def totals(self) -> Totals:
        """Sums over all of the role's replies, this session's and earlier ones'."""
        columns, own = _REPLIES.c, _REPLIES.c.role == self._role
        sums = select(
            func.count(),
            func.coalesce(func.sum(columns.usd), 0.0),
            func.coalesce(func.sum(columns.unseen_usd), 0.0),
            func.coalesce(func.sum(columns.prompt_tokens), 0),
            func.coalesce(func.sum(columns.completion_tokens), 0),
            func.coalesce(func.min(columns.received), ""),
            func.coalesce(func.max(columns.received), ""),
        ).where(own)
        first_by_server = select(columns.server).where(own).group_by(columns.server).order_by(func.min(columns.number))
        with_left_out = select(columns.sampling).where(own, columns.sampling.contains(f'"{LEFT_OUT}"'))
        spans = select(func.max(columns.session_seconds)).where(own, columns.session != self._session)
        lost = select(func.coalesce(func.sum(_FAILURES.c.unseen_usd), 0.0)).where(_FAILURES.c.role == self._role)
        with self._database.reading() as connection:
            replies, usd, unseen_usd, prompt_tokens, completion_tokens, first, last = connection.execute(sums).one()
            unseen_usd += connection.scalar(lost) or 0.0
            earlier = sum(connection.scalars(spans.group_by(columns.session)))
            servers = tuple(connection.scalars(first_by_server))
            left_out = {name for text in connection.scalars(with_left_out) for name in json.loads(text)[LEFT_OUT]}
        seconds = earlier + time.monotonic() - self._start
        return Totals(
            replies, usd, unseen_usd, prompt_tokens, completion_tokens, seconds, first, last, servers,
            tuple(sorted(left_out)),
        )  # fmt: skip

    def close(self) -> None:
        """Closes the file; one without any reply or failure is removed, as there is nothing in it to go on from."""
        with self._database.reading() as connection:
            is_empty = not any(connection.execute(select(table).limit(1)).first() for table in (_REPLIES, _FAILURES))
        self._database.close()
        if is_empty:
            self._path.unlink(missing_ok=True)


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
