"""What readers reported about answers; no transcript is kept without consent."""

from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import JSON, Boolean, Column, DateTime, Integer, MetaData, String, Table, Text

from pacos.serve.model import ServedModel
from pacos.store.database import Database, Schema
from pacos.web.people import PATIENCE_SECONDS

_TABLES = MetaData()
_REPORTS = Table(
    "serve_reports",
    _TABLES,
    Column("id", Integer, primary_key=True),
    Column("reported_at", DateTime(timezone=True), nullable=False),
    Column("status", String(16), nullable=False),
    Column("reason", String(32), nullable=False),
    Column("details", Text, nullable=False),
    Column("consent", Boolean, nullable=False),
    Column("transcript", JSON(none_as_null=True)),
    Column("model", String(255), nullable=False),
    Column("model_sha256", String(64), nullable=False),
)
SCHEMA = Schema("serve", _TABLES)


class ReportBox:
    """Reports in the database at `where`; PacosError where it cannot be opened."""

    def __init__(self, where: Path | str) -> None:
        self._database = Database(where, SCHEMA, PATIENCE_SECONDS)

    def add(self, model: ServedModel, reason: str, details: str, transcript: list[dict[str, str]] | None) -> int:
        """Stores an open report, without consent without its transcript, and returns its number."""
        told = {"reason": reason, "details": details, "consent": transcript is not None, "transcript": transcript}
        about = {"model": model.name, "model_sha256": model.sha256}
        new = _REPORTS.insert().values(reported_at=datetime.now(UTC), status="open", **told, **about)
        with self._database.transaction() as connection:
            return int(connection.execute(new.returning(_REPORTS.c.id)).scalar_one())

    def close(self) -> None:
        """Closes the connections."""
        self._database.close()
