"""What serve remembers: terms that were accepted, and reports. No address, and no transcript without consent."""

from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

from sqlalchemy import JSON, DateTime, ForeignKey, String, Text, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from pacos.serve.terms import Terms
from pacos.web.database import open_database


def _now() -> datetime:
    return datetime.now(UTC)


class Base(DeclarativeBase):
    """The tables of serve; each name begins with serve_, since a database may be shared."""


class TermsText(Base):
    """Each text that was ever accepted, so that a version can be read again."""

    __tablename__ = "serve_terms"
    version: Mapped[str] = mapped_column(String(12), primary_key=True)
    text: Mapped[str] = mapped_column(Text)
    first_accepted_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), default=_now)


class Acceptance(Base):
    """One session accepted one version."""

    __tablename__ = "serve_acceptances"
    session_sha256: Mapped[str] = mapped_column(String(64), primary_key=True)
    version: Mapped[str] = mapped_column(ForeignKey("serve_terms.version"), primary_key=True)
    accepted_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), default=_now)


class Report(Base):
    """A reader's complaint about an answer; `transcript` ends with that answer and is None without consent."""

    __tablename__ = "serve_reports"
    id: Mapped[int] = mapped_column(primary_key=True)
    reported_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), default=_now)
    status: Mapped[str] = mapped_column(String(16), default="open")
    reason: Mapped[str] = mapped_column(String(32))
    details: Mapped[str] = mapped_column(Text, default="")
    consent: Mapped[bool] = mapped_column(default=False)
    transcript: Mapped[list[dict[str, Any]] | None] = mapped_column(JSON(none_as_null=True), default=None)
    model: Mapped[str] = mapped_column(String(255))
    model_sha256: Mapped[str] = mapped_column(String(64))


class Store:
    """Acceptances and reports in the database at `url`; PacosError where it cannot be opened."""

    def __init__(self, url: str) -> None:
        self._engine = open_database(url, Base.metadata)

    def accept(self, session: str, terms: Terms) -> None:
        """Records that the session accepted these terms; once is enough."""
        self._add_once(TermsText(version=terms.version, text=terms.text))
        self._add_once(Acceptance(session_sha256=_hashed(session), version=terms.version))

    def _add_once(self, row: Base) -> None:
        # Two requests may come at once; the primary key decides, on every database.
        try:
            with Session(self._engine) as database, database.begin():
                database.add(row)
        except IntegrityError:
            pass

    def has_accepted(self, session: str | None, version: str) -> bool:
        """Whether this session accepted this very version."""
        if not session:
            return False
        with Session(self._engine) as database:
            return database.get(Acceptance, (_hashed(session), version)) is not None

    def add_report(self, report: Report) -> int:
        """Stores the report and returns its number."""
        with Session(self._engine) as database, database.begin():
            database.add(report)
            database.flush()
            return report.id

    def reports(self) -> list[Report]:
        """All reports, oldest first."""
        with Session(self._engine, expire_on_commit=False) as database:
            return list(database.scalars(select(Report).order_by(Report.id)))

    def close(self) -> None:
        """Closes the connections."""
        self._engine.dispose()


def _hashed(session: str) -> str:
    # Who reads the database must not be able to use the cookies.
    return sha256(session.encode()).hexdigest()
