"""SQLite files for reading alone: a finished stage's stay as they are, byte by byte."""

import sqlite3
from pathlib import Path

from pacos.core.errors import PacosError

OWN = "the database that pacos left there. Put the file back"


def open_to_read(path: Path, expected: str = OWN) -> sqlite3.Connection:
    """The file at `path`, which reading leaves as it is. PacosError where it is not there or holds no database.

    `expected` ends the error's line: what it should be, and what to do.
    """
    # A log beside the file holds what is newer; without one, SQLite is told not to make one.
    mode = "mode=ro" if path.with_name(f"{path.name}-wal").exists() else "mode=ro&immutable=1"
    try:
        connection = sqlite3.connect(f"{path.absolute().as_uri()}?{mode}", uri=True)
        try:
            connection.execute("SELECT name FROM sqlite_master").fetchall()
        except sqlite3.Error:
            connection.close()
            raise
        return connection
    except sqlite3.Error as error:
        raise PacosError(f"{path}: cannot be read ({error}); expected {expected}.") from None


def copy_in_memory(path: Path) -> sqlite3.Connection:
    """What the file holds, in memory; PacosError as above."""
    copy = sqlite3.connect(":memory:")
    source = open_to_read(path)
    try:
        source.backup(copy)
    finally:
        source.close()
    return copy
