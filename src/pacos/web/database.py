"""Opens a database by URL; SQLite by default, any that SQLAlchemy speaks."""

from pathlib import Path
from typing import Any

from sqlalchemy import Engine, MetaData, create_engine, event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, SQLAlchemyError

from pacos.core.errors import PacosError


def sqlite_url(path: Path) -> str:
    """The URL of an SQLite file."""
    return f"sqlite:///{path}"


def open_database(url: str, tables: MetaData) -> Engine:
    """Connects, makes the tables that are missing, and returns SQLAlchemy's engine.

    Raises PacosError, without the URL's password, where the URL or the server cannot be used.
    """
    try:
        parsed = make_url(url)
    except ArgumentError:
        raise PacosError(
            "serve.database: not a database URL; expected such as sqlite:///store.sqlite or "
            "postgresql+psycopg://user:password@host/name."
        ) from None
    shown = parsed.render_as_string(hide_password=True)
    try:
        if parsed.get_backend_name() == "sqlite" and parsed.database:
            Path(parsed.database).parent.mkdir(parents=True, exist_ok=True)
        engine = create_engine(parsed, pool_pre_ping=True)
        if engine.dialect.name == "sqlite":
            event.listen(engine, "connect", _prepare_sqlite)
        tables.create_all(engine)
    except (ImportError, NoSuchModuleError) as error:
        raise PacosError(
            f"database {shown}: its driver is not installed ({error}); for PostgreSQL: pip install 'pacos[postgres]'."
        ) from None
    except (SQLAlchemyError, OSError) as error:
        reason = str(getattr(error, "orig", None) or error).splitlines()[0]
        raise PacosError(f"database {shown}: cannot be opened ({reason}); check the URL and that it runs.") from None
    return engine


def _prepare_sqlite(connection: Any, record: Any) -> None:
    # Write-ahead logging lets pages read while a report is written; a second writer waits instead of failing.
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA busy_timeout=5000")
