"""Opens a database, waits for other processes' locks, and brings its tables up to date by numbered steps."""

import asyncio
import math
import sqlite3
import sys
import threading
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import ArgumentError, DatabaseError, NoSuchModuleError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from pacos.core.errors import PacosError
from pacos.store.read_only import copy_in_memory

T = TypeVar("T")
Step = Callable[[sa.Connection], None]
# Apart from those that other work beside an event loop is done in: a server that hangs holds up nobody else's.
_THREADS = ThreadPoolExecutor(16, thread_name_prefix="database")
# A server that does not answer within this is away.
CONNECT_SECONDS = 5
# In which tables are made, or brought up to date.
OPENING_SECONDS = 300.0
# Between two tries whether a server that was away is back.
RETRY_SECONDS = 1.0
_COLUMNS = sa.Column("name", sa.String, primary_key=True), sa.Column("version", sa.Integer, nullable=False)
_VERSIONS = sa.Table("pacos_schema", sa.MetaData(), *_COLUMNS)


class DatabaseAwayError(PacosError):
    """The database cannot be read or written now; what it holds stays, and a later try may succeed."""


@dataclass(frozen=True)
class Schema:
    """The tables of one user of a database; several schemas may share it, each with a version of its own.

    A new database gets `tables` at once. `steps` are append-only: step n, counted from 0, brings version n to n + 1.
    SQLite does not enforce foreign keys meanwhile, so that a step may rebuild a table that others refer to.
    """

    name: str
    tables: sa.MetaData
    steps: tuple[Step, ...] = ()


class Database:
    """An open database: `where` is the path of an SQLite file, or a text with a URL. Any thread may use it.

    Opening makes what is missing; a file that is `read_only` stays as it is: a copy in memory is brought up to date.
    Raises PacosError, one line without a URL's password, where the database cannot be reached, read or written, is
    newer than this pacos, or stays locked by another process, or silent as a server, for `patience_seconds`.
    """

    def __init__(
        self, where: Path | str, schema: Schema, patience_seconds: float = 300.0, *, read_only: bool = False
    ) -> None:
        try:
            url = sa.URL.create("sqlite", database=str(where)) if isinstance(where, Path) else sa.make_url(where)
        except (ArgumentError, ValueError):
            examples = "sqlite:///store.sqlite or postgresql+psycopg://user@host/name"
            raise PacosError(f"database for {schema.name}: not a database URL; expected such as {examples}.") from None
        # A URL's query may hold a password too.
        self._shown = str(where) if isinstance(where, Path) else url.set(query={}).render_as_string(hide_password=True)
        self._schema, self._patience, self._is_current = schema, patience_seconds, False
        # Until when the call that a thread is at may take.
        self._call = threading.local()
        # While a server does not answer, one caller at a time tries, now and then; the others are told at once.
        self._is_away, self._next_try, self._probing = False, 0.0, threading.Lock()
        self._is_sqlite = url.get_backend_name() == "sqlite"
        copy = copy_in_memory(where) if read_only and isinstance(where, Path) else None
        try:
            if self._is_sqlite and url.database and not copy:
                Path(url.database).parent.mkdir(parents=True, exist_ok=True)
            # One look at a lock takes a second; how many looks there are is a matter of patience.
            waiting = {"timeout": 1.0} if self._is_sqlite else {}
            # No more callers wait for a connection than for a server.
            pool = {} if self._is_sqlite else {"pool_timeout": CONNECT_SECONDS}
            if copy:
                self._engine = sa.create_engine("sqlite://", creator=lambda: copy, poolclass=sa.StaticPool)
            else:
                self._engine = sa.create_engine(url, connect_args=waiting, pool_pre_ping=True, **pool)
        except (ImportError, NoSuchModuleError, OSError) as error:
            driver = "its driver is not installed; for PostgreSQL: pip install 'pacos[postgres]'"
            advice = "name another folder" if isinstance(error, OSError) else driver
            raise PacosError(f"{self._shown}: the database cannot be opened ({error}); {advice}.") from None
        if self._is_sqlite:
            sa.event.listen(self._engine, "connect", self._prepare_sqlite)
        if url.get_backend_name() == "postgresql":
            # First of all, so that what SQLAlchemy asks of a new connection ends in time, too.
            sa.event.listen(self._engine, "do_connect", self._limit_connecting)
            sa.event.listen(self._engine, "connect", self._limit_waiting, insert=True)
        try:
            while not self._is_current:
                self._is_current = self._advance()
        finally:
            if not copy:
                self._engine.dispose()  # those made from now on enforce foreign keys
        if copy:
            copy.execute("PRAGMA query_only=ON")

    @contextmanager
    def transaction(self, is_costly: bool = True) -> Iterator[sa.Connection]:
        """A connection that may write; SQLite's single writer is waited for. Commits at the end.

        What is committed outlives a killed process, and, where it `is_costly`, a power cut, for some milliseconds.
        """
        with self._connection("BEGIN IMMEDIATE", is_costly) as connection:
            yield connection
            connection.commit()

    @contextmanager
    def reading(self) -> Iterator[sa.Connection]:
        """A connection that locks nobody out; in SQLite it sees one state of the database throughout."""
        with self._connection("BEGIN") as connection:
            yield connection

    def scrub(self) -> None:
        """Has SQLite drop its write-ahead log, where text that was overwritten or deleted can still be read."""
        if self._is_sqlite:
            with self._connection("") as connection:
                connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")

    def close(self) -> None:
        """Closes all connections."""
        self._engine.dispose()

    def _advance(self) -> bool:
        """Makes new tables or takes one step, in one transaction with its version row; whether none is left."""
        name, tables, newest = self._schema.name, self._schema.tables, len(self._schema.steps)
        own = _VERSIONS.c.name == name
        with self.transaction() as connection:
            if connection.dialect.name == "postgresql":
                # Two programs that start at once go one after the other; any number that others are unlikely to lock.
                connection.exec_driver_sql("SELECT pg_advisory_xact_lock(1885429875)")
            _VERSIONS.create(connection, checkfirst=True)
            version = connection.scalar(sa.select(_VERSIONS.c.version).where(own))
            if version is None:
                if set(sa.inspect(connection).get_table_names()) & tables.tables.keys():
                    old = f"{self._shown}: its tables of {name} carry no version; another pacos or program made them."
                    raise PacosError(f"{old} Move the file away, or name another database.")
                tables.create_all(connection)
                connection.execute(_VERSIONS.insert().values(name=name, version=newest))
            elif version > newest:
                new = f"{self._shown}: its tables of {name} are newer (version {version}) than this pacos ({newest})"
                raise PacosError(f"{new}; use the pacos that wrote them, or a newer one.")
            elif version < newest:
                self._schema.steps[version](connection)
                connection.execute(_VERSIONS.update().where(own).values(version=version + 1))
        return version is None or version + 1 >= newest

    @contextmanager
    def _connection(self, begin: str, is_costly: bool = True) -> Iterator[sa.Connection]:
        is_due = self._is_away and time.monotonic() >= self._next_try
        is_probe = is_due and self._probing.acquire(blocking=False)
        if self._is_away and not is_probe:
            raise DatabaseAwayError(f"{self._shown}: the database does not answer; what it holds stays.")
        # Tables of many rows take long to bring up to date, but that is waited for once, at the start.
        patience = self._patience if self._is_current else max(self._patience, OPENING_SECONDS)
        self._call.deadline, has_begun = time.monotonic() + patience, False
        try:
            with self._begun(begin, is_costly) as connection:
                has_begun, self._is_away = True, False
                yield connection
        except (DatabaseError, PoolTimeout) as error:
            # One connection that was lost says nothing yet of the server: the next caller finds out at once.
            self._is_away = not self._is_sqlite and (not has_begun or self._seconds_left() <= 0)
            self._next_try = time.monotonic() + RETRY_SECONDS
            reason = str(getattr(error, "orig", error)).splitlines()[0]
            advice = "Mend the file or free space" if self._is_sqlite else "Check the URL and that its server runs"
            advice = "Another process has it open; close that one" if _is_locked(error) else advice
            line = f"the database cannot be read or written ({reason}); what it holds stays"
            raise DatabaseAwayError(f"{self._shown}: {line}. {advice}, then repeat the same command.") from error
        finally:
            del self._call.deadline
            if is_probe:
                self._probing.release()

    def _limit_connecting(self, dialect: sa.Dialect, record: object, arguments: object, named: dict[str, Any]) -> None:
        left = self._seconds_left()
        if left <= 0:
            raise self._engine.dialect.loaded_dbapi.OperationalError("the server does not answer")
        named["connect_timeout"] = min(CONNECT_SECONDS, math.ceil(left))

    def _limit_waiting(self, connection: Any, record: object) -> None:
        """Has a psycopg connection give up at the deadline of its caller: no setting of the server's or the kernel's
        ends the wait for a server whose machine is there and which is stopped."""
        plain = getattr(connection, "wait", None)
        if plain is None:
            return

        def wait(work: Generator[int, int, Any], *arguments: Any, **named: Any) -> Any:
            return plain(watched(work), *arguments, **named)

        def watched(work: Generator[int, int, Any]) -> Generator[int, int, Any]:
            try:
                wanted = next(work)
                while True:
                    ready = yield wanted
                    # 0 comes a few times a second, as long as nothing else does.
                    if not ready and self._seconds_left() <= 0:
                        # What it was at is unknown: it is not used again.
                        connection.close()
                        raise self._engine.dialect.loaded_dbapi.OperationalError("the server does not answer")
                    wanted = work.send(ready)
            except StopIteration as end:
                return end.value

        connection.wait = wait

    def _seconds_left(self) -> float:
        return float(getattr(self._call, "deadline", math.inf)) - time.monotonic()

    def _begun(self, begin: str, is_costly: bool) -> sa.Connection:
        start, said = time.monotonic(), False
        while True:
            connection = None
            try:
                connection = self._engine.connect()
                if self._is_sqlite:
                    connection.exec_driver_sql(f"PRAGMA synchronous={'FULL' if is_costly else 'NORMAL'}")
                    if begin:
                        connection.exec_driver_sql(begin)
                return connection
            except OperationalError as error:
                if connection is not None:
                    connection.close()
                if not _is_locked(error) or time.monotonic() - start > self._patience:
                    # Whoever was waited for once in vain is not waited for again.
                    self._patience = 0.0 if _is_locked(error) else self._patience
                    raise
            if not said:
                said, wait = True, f"waiting up to {self._patience:.0f} s for it"
                print(f"{self._shown}: locked by another process; {wait}", file=sys.stderr)
            time.sleep(0.05)

    def _prepare_sqlite(self, connection: sqlite3.Connection, record: object) -> None:
        # WAL lets others read while one writes, and keeps what is committed when its process is killed. What is deleted
        # is overwritten with zeros.
        for pragma in ("journal_mode=WAL", "secure_delete=ON", f"foreign_keys={int(self._is_current)}"):
            connection.execute(f"PRAGMA {pragma}")


async def in_database_thread(work: Callable[..., T], *arguments: object) -> T:
    """Runs what asks a database beside the event loop, and gives its result."""
    return await asyncio.get_running_loop().run_in_executor(_THREADS, partial(work, *arguments))


def insert_missing(connection: sa.Connection, table: sa.Table, rows: Sequence[Mapping[str, object]]) -> None:
    """Inserts the rows whose key is not there yet, whoever else is inserting them."""
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    if rows:
        connection.execute(dialect.insert(table).on_conflict_do_nothing(), list(rows))


def _is_locked(error: Exception) -> bool:
    # The lower byte; the upper ones tell kinds apart.
    return getattr(getattr(error, "orig", None), "sqlite_errorcode", 0) & 0xFF in (
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
    )
