"""study.sqlite: the personal links, and a log that is only ever added to, each row bound to the one before."""

import hashlib
import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from sqlalchemy import Column, Connection, Integer, MetaData, String, Table, Text, select

from pacos.core.errors import PacosError
from pacos.store.database import Database, Schema

STUDY_FILE = "study.sqlite"
# A page says that the database is locked sooner than a job gives up.
PATIENCE_SECONDS = 5.0
Kind = Literal["shown", "vote", "undo", "pause", "go on", "close"]

_TABLES = MetaData()
_STUDY = Table(
    "annotation_study",
    _TABLES,
    Column("plan_sha256", String(64), primary_key=True),
    # The log's length and its last row's hash, without which rows at its end could go unseen.
    Column("rows", Integer, nullable=False),
    Column("head", String(64), nullable=False),
)
_LINKS = Table(
    "annotation_links",
    _TABLES,
    Column("annotator", Integer, primary_key=True),
    # As it is, since the links are printed at every start; who reads this file may write votes into it anyway.
    Column("token", String(64), nullable=False, unique=True),
)
_LOG = Table(
    "annotation_log",
    _TABLES,
    Column("number", Integer, primary_key=True),
    # 0 is who runs the study.
    Column("annotator", Integer, nullable=False, index=True),
    Column("at", String(32), nullable=False),
    Column("kind", String(8), nullable=False),
    Column("showing", String(32), nullable=False),
    Column("choice", String(8), nullable=False),
    Column("comment", Text, nullable=False),
    Column("sha256", String(64), nullable=False),
)
SCHEMA = Schema("annotation", _TABLES)


@dataclass(frozen=True)
class LogEvent:
    """One row of the log; `showing`, `choice` and `comment` are "" where the kind has none."""

    number: int
    annotator: int
    at: str
    kind: str
    showing: str
    choice: str
    comment: str


@dataclass(frozen=True)
class Standing:
    """Where an annotator stands: the showings whose votes hold, in the order they were cast."""

    cast: tuple[str, ...]
    is_at_work: bool
    is_closed: bool


def standing_of(events: Sequence[LogEvent], is_closed: bool = False) -> Standing:
    """What one annotator's events come to: an undo takes the last vote that holds back."""
    cast: list[str] = []
    is_at_work = False
    for event in events:
        if event.kind == "vote":
            cast.append(event.showing)
        elif event.kind == "undo":
            cast.pop()
        elif event.kind in ("pause", "go on"):
            is_at_work = event.kind == "go on"
    return Standing(tuple(cast), is_at_work, is_closed)


def standings_of(events: Iterable[LogEvent]) -> dict[int, Standing]:
    """Where all annotators stand that the log knows."""
    return {annotator: standing_of(own) for annotator, own in by_annotator(events).items()}


def by_annotator(events: Iterable[LogEvent]) -> dict[int, list[LogEvent]]:
    """Each annotator's events."""
    events_of: dict[int, list[LogEvent]] = defaultdict(list)
    for event in events:
        events_of[event.annotator].append(event)
    return events_of


class VoteLog:
    """An open study.sqlite: `with closing(VoteLog(folder)) as log`. PacosError where it cannot be used."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / STUDY_FILE
        self._database = Database(self.path, SCHEMA, PATIENCE_SECONDS)

    def plan_sha256(self) -> str | None:
        """The hash of the plan; None where no study was begun."""
        with self._database.reading() as connection:
            return connection.scalar(select(_STUDY.c.plan_sha256))

    def begin(self, plan_sha256: str, tokens: Sequence[str]) -> None:
        """Begins the study of that plan with an annotator for each token."""
        with self._database.transaction() as connection:
            connection.execute(_STUDY.insert().values(plan_sha256=plan_sha256, rows=0, head=plan_sha256))
            links = [{"annotator": number, "token": token} for number, token in enumerate(tokens, start=1)]
            connection.execute(_LINKS.insert(), links)

    def tokens(self) -> dict[str, int]:
        """The annotators' numbers by their links' tokens."""
        with self._database.reading() as connection:
            rows = connection.execute(select(_LINKS.c.token, _LINKS.c.annotator).order_by(_LINKS.c.annotator))
            return {row.token: row.annotator for row in rows}

    def standing(self, annotator: int) -> Standing:
        """Where this annotator stands."""
        with self._database.reading() as connection:
            return _standing(connection, annotator)

    def add(
        self,
        annotator: int,
        kind: Kind,
        allow: Callable[[Standing], None] = lambda standing: None,
        showing: str = "",
        choice: str = "",
        comment: str = "",
    ) -> None:
        """Adds an event, on disk before this returns; `allow` sees where the annotator stands, and raises to refuse."""
        # When something was shown may be lost with the power; a vote may not.
        with self._database.transaction(is_costly=kind != "shown") as connection:
            allow(_standing(connection, annotator))
            study = connection.execute(select(_STUDY)).one()
            now = datetime.now(UTC).isoformat(timespec="milliseconds")
            event = LogEvent(study.rows + 1, annotator, now, kind, showing, choice, comment)
            head = _bound(study.head, event)
            connection.execute(_LOG.insert().values(**vars(event), sha256=head))
            connection.execute(_STUDY.update().values(rows=event.number, head=head))

    def events(self) -> list[LogEvent]:
        """The whole log; PacosError where a row is not as it was written, or one is missing."""
        with self._database.reading() as connection:
            study = connection.execute(select(_STUDY)).one()
            rows = connection.execute(select(_LOG).order_by(_LOG.c.number)).all()
        events, head = [], study.plan_sha256
        for number, row in enumerate(rows, start=1):
            event = _event(row)
            head = _bound(head, event)
            if event.number != number or row.sha256 != head:
                raise self._changed(f"row {number} of the log is not as it was written")
            events.append(event)
        if (study.rows, study.head) != (len(events), head):
            raise self._changed(f"the log has {len(events):,} rows, and {study.rows:,} were written")
        return events

    def _changed(self, what: str) -> PacosError:
        return PacosError(
            f"{self.path}: {what}; somebody has changed the study by hand. Put the file back as it was: "
            "votes are only ever added."
        )

    def close(self) -> None:
        """Closes the file."""
        self._database.close()


def _event(row: object) -> LogEvent:
    return LogEvent(**{name: getattr(row, name) for name in LogEvent.__dataclass_fields__})


def _bound(head: str, event: LogEvent) -> str:
    return hashlib.sha256(json.dumps([head, *vars(event).values()]).encode()).hexdigest()


def _standing(connection: Connection, annotator: int) -> Standing:
    own = select(_LOG).where(_LOG.c.annotator == annotator, _LOG.c.kind != "shown").order_by(_LOG.c.number)
    is_closed = connection.scalar(select(_LOG.c.number).where(_LOG.c.annotator == 0, _LOG.c.kind == "close").limit(1))
    return standing_of([_event(row) for row in connection.execute(own)], is_closed is not None)
