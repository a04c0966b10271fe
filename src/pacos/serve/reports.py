"""What readers reported about answers, and what a reviewer made of it; no transcript is kept without consent."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from secrets import token_hex
from typing import Any, Literal

import sqlalchemy as sa

from pacos.core.files import sha256_text
from pacos.serve.model import ServedModel
from pacos.store.database import Database, Schema
from pacos.web.people import PATIENCE_SECONDS

Reason = Literal["harmful", "hateful", "private", "wrong", "refusal", "other"]
REASONS: dict[Reason, str] = {
    "harmful": "Harmful or dangerous",
    "hateful": "Hateful or harassing",
    "private": "Private information about a person",
    "wrong": "Wrong or misleading",
    "refusal": "It should not have been refused or withheld",
    "other": "Something else",
}
STATUSES = ("open", "confirmed", "dismissed", "deleted")
MAX_LABEL, MAX_NOTE, MAX_OBJECTIVE = 64, 4000, 400
_CODE_BYTES = 10

_TABLES = sa.MetaData()
_REPORTS = sa.Table(
    "serve_reports",
    _TABLES,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("reported_at", sa.DateTime(timezone=True), nullable=False),
    sa.Column("status", sa.String(16), nullable=False),
    sa.Column("reason", sa.String(32), nullable=False),
    sa.Column("details", sa.Text, nullable=False),
    sa.Column("consent", sa.Boolean, nullable=False),
    sa.Column("transcript", sa.JSON(none_as_null=True)),
    sa.Column("model", sa.String(255), nullable=False),
    sa.Column("model_sha256", sa.String(64), nullable=False),
    # The reviewer's.
    sa.Column("label", sa.String(MAX_LABEL), nullable=False, server_default=""),
    sa.Column("note", sa.Text, nullable=False, server_default=""),
    # Whoever has the code may delete the report; older reports have none.
    sa.Column("code_sha256", sa.String(64)),
    # Whether the answer came with its seal, and so is the model's.
    sa.Column("is_sealed", sa.Boolean, nullable=False, server_default=sa.false()),
    # What red teaming judges it by, where a reviewer made it a test case.
    sa.Column("objective", sa.String(MAX_OBJECTIVE), nullable=False, server_default=""),
)


def _add_review(connection: sa.Connection) -> None:
    for column in ("label VARCHAR(64) DEFAULT '' NOT NULL", "note TEXT DEFAULT '' NOT NULL", "code_sha256 VARCHAR(64)"):
        connection.exec_driver_sql(f"ALTER TABLE serve_reports ADD COLUMN {column}")


def _add_seal(connection: sa.Connection) -> None:
    false = sa.false().compile(connection.engine)
    connection.exec_driver_sql(f"ALTER TABLE serve_reports ADD COLUMN is_sealed BOOLEAN DEFAULT {false} NOT NULL")


def _add_objective(connection: sa.Connection) -> None:
    connection.exec_driver_sql("ALTER TABLE serve_reports ADD COLUMN objective VARCHAR(400) DEFAULT '' NOT NULL")


SCHEMA = Schema("serve", _TABLES, (_add_review, _add_seal, _add_objective))


@dataclass(frozen=True)
class Report:
    """One report; `transcript` is None without consent, and after a deletion.

    Its answer is known to be the model's where it `is_sealed`; else it is what the sender says it was. With an
    `objective` it is a test case.
    """

    number: int
    reported_at: datetime
    status: str
    reason: str
    details: str
    transcript: tuple[dict[str, str], ...] | None
    model: str
    model_sha256: str
    label: str
    note: str
    is_sealed: bool
    objective: str

    def exported(self) -> dict[str, Any]:
        """The line of the export, as docs/serve.md describes it."""
        turns = list(self.transcript or ())
        answer = turns.pop()["content"] if turns and turns[-1]["role"] == "assistant" else ""
        return {
            "id": self.number,
            "messages": turns,
            "answer": answer,
            "is_sealed": self.is_sealed,
            "reason": self.reason,
            "details": self.details,
            "status": self.status,
            "label": self.label,
            "note": self.note,
            "objective": self.objective,
            "model": self.model,
            "model_sha256": self.model_sha256,
            "reported_at": self.reported_at.isoformat(timespec="seconds"),
        }


@dataclass(frozen=True)
class Wanted:
    """Which reports are looked for; "" and None are any. `text` stands in the comment, note, label or transcript."""

    status: str = ""
    reason: str = ""
    label: str = ""
    text: str = ""
    number: int | None = None

    def conditions(self) -> list[sa.ColumnElement[bool]]:
        """What SQL is to look for; upper and lower case are one, in the transcript for the letters A to Z alone."""
        table = _REPORTS.c
        found = [
            column == wanted
            for column, wanted in (
                (table.status, self.status),
                (table.reason, self.reason),
                (table.label, self.label),
                (table.id, self.number),
            )
            if wanted not in ("", None)
        ]
        if self.text:
            # As JSON writes it into the column.
            in_json = json.dumps(self.text)[1:-1]
            texts: list[tuple[sa.ColumnElement[Any], str]] = [(sa.cast(table.transcript, sa.Text), in_json)]
            texts += [(column, self.text) for column in (table.details, table.note, table.label)]
            found.append(sa.or_(*(column.icontains(text, autoescape=True) for column, text in texts)))
        return found


class ReportBox:
    """Reports in the database at `where`; PacosError where it cannot be opened."""

    def __init__(self, where: Path | str) -> None:
        self._database = Database(where, SCHEMA, PATIENCE_SECONDS)

    def add(
        self,
        model: ServedModel | None,
        reason: str,
        details: str,
        transcript: list[dict[str, str]] | None,
        is_sealed: bool = False,
    ) -> tuple[int, str]:
        """Stores an open report, without consent without its transcript; its number, and the code that deletes it."""
        code = token_hex(_CODE_BYTES)
        turns = transcript and [{key: _storable(text) for key, text in turn.items()} for turn in transcript]
        told = {"reason": reason, "details": _storable(details), "consent": transcript is not None, "transcript": turns}
        name, sha256 = (model.name, model.sha256) if model else ("", "")
        about = {"model": name, "model_sha256": sha256, "is_sealed": is_sealed, "code_sha256": sha256_text(code)}
        new = _REPORTS.insert().values(reported_at=datetime.now(UTC), status="open", **told, **about)
        with self._database.transaction() as connection:
            number = int(connection.execute(new.returning(_REPORTS.c.id)).scalar_one())
        return number, "-".join(code[i : i + 4] for i in range(0, len(code), 4))

    def find(
        self, wanted: Wanted, limit: int, before: int | None = None, with_transcript: bool = False
    ) -> list[Report]:
        """The newest reports that are wanted, of those below the number `before`."""
        query = sa.select(_REPORTS).where(*wanted.conditions()).order_by(_REPORTS.c.id.desc()).limit(limit)
        if before is not None:
            query = query.where(_REPORTS.c.id < before)
        if with_transcript:
            query = query.where(_REPORTS.c.transcript.is_not(None))
        with self._database.reading() as connection:
            return [_report(row) for row in connection.execute(query)]

    def decide(self, number: int, status: str, label: str, note: str) -> None:
        """Writes a reviewer's decision; a deleted report stays deleted."""
        values = {"status": status, "label": label[:MAX_LABEL], "note": note[:MAX_NOTE]}
        kept = _REPORTS.c.id == number, _REPORTS.c.status != "deleted"
        with self._database.transaction() as connection:
            connection.execute(_REPORTS.update().where(*kept).values(**values))

    def make_case(self, number: int, objective: str) -> None:
        """Makes a report that keeps its conversation a test case, or no longer one where the objective is empty."""
        kept = _REPORTS.c.id == number, _REPORTS.c.transcript.is_not(None)
        with self._database.transaction() as connection:
            connection.execute(_REPORTS.update().where(*kept).values(objective=objective))

    def delete(self, number: int) -> bool:
        """Wipes what was said, by visitor, model and reviewer; the row stays and is counted. False: nothing to wipe."""
        return self._wipe(_REPORTS.c.id == number)

    def delete_by_code(self, code: str) -> bool:
        """Wipes the report that this code was given for."""
        digits = "".join(code.split()).replace("-", "").lower()
        return self._wipe(_REPORTS.c.code_sha256 == sha256_text(digits))

    def _wipe(self, which: sa.ColumnElement[bool]) -> bool:
        empty = {"details": "", "transcript": None, "label": "", "note": "", "objective": "", "code_sha256": None}
        with self._database.transaction() as connection:
            gone = connection.execute(
                _REPORTS.update().where(which, _REPORTS.c.status != "deleted").values(status="deleted", **empty)
            ).rowcount
        if gone:
            self._database.scrub()
        return bool(gone)

    def counts(self) -> dict[str, int]:
        """How many reports there are of each status."""
        with self._database.reading() as connection:
            rows = connection.execute(sa.select(_REPORTS.c.status, sa.func.count()).group_by(_REPORTS.c.status)).all()
        return dict.fromkeys(STATUSES, 0) | {status: count for status, count in rows}

    def labels(self) -> list[str]:
        """The labels in use."""
        with self._database.reading() as connection:
            used = sa.select(_REPORTS.c.label).where(_REPORTS.c.label != "").distinct().order_by(_REPORTS.c.label)
            return list(connection.scalars(used))

    def daily(self, num_days: int) -> list[tuple[date, int]]:
        """How many reports came on each of the last days, UTC's, today's last."""
        today = datetime.now(UTC).date()
        days = [today - timedelta(days=back) for back in reversed(range(num_days))]
        start = datetime(days[0].year, days[0].month, days[0].day, tzinfo=UTC)
        with self._database.reading() as connection:
            time: Any = _REPORTS.c.reported_at
            if connection.dialect.name == "postgresql":
                time = sa.func.timezone(sa.literal_column("'UTC'"), time)
            day = sa.func.date(time)
            since = sa.select(day, sa.func.count()).where(_REPORTS.c.reported_at >= start).group_by(day)
            found = {str(day): count for day, count in connection.execute(since)}
        return [(day, found.get(day.isoformat(), 0)) for day in days]

    def close(self) -> None:
        """Closes the connections."""
        self._database.close()


def _report(row: sa.Row[Any]) -> Report:
    turns: Sequence[dict[str, str]] | None = row.transcript
    # SQLite keeps no time zone.
    time = row.reported_at if row.reported_at.tzinfo else row.reported_at.replace(tzinfo=UTC)
    return Report(
        row.id,
        time.astimezone(UTC),
        row.status,
        row.reason,
        row.details,
        None if turns is None else tuple(turns),
        row.model,
        row.model_sha256,
        row.label,
        row.note,
        row.is_sealed,
        row.objective,
    )


def _storable(text: str) -> str:
    # PostgreSQL takes no NUL in a text.
    return text.replace("\0", "\ufffd")
