"""Databases to test on: an SQLite file, and a PostgreSQL cluster of the tests' own where its server is installed."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy

from tests.conftest import missing_part

SERVERS = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda folder: int(folder.parent.name))


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """The URL of a PostgreSQL server on a socket; it refuses to run as root, so root starts it as the user postgres."""
    if not SERVERS:
        missing_part("needs PostgreSQL's server (apt-get install postgresql)")
    # pytest's own folders are closed to other users, and a socket's path has to be short.
    folder = Path(tempfile.mkdtemp(prefix="pacos-pg-"))
    user = "postgres" if os.getuid() == 0 else None
    if user:
        shutil.chown(folder, user)

    def pg(program: str, *arguments: str) -> None:
        command = [str(SERVERS[-1] / program), "-D", str(folder / "data"), *arguments]
        subprocess.run(command, user=user, cwd=folder, check=True, stdout=subprocess.DEVNULL)

    try:
        pg("initdb", "-U", "pacos", "-A", "trust", "--no-sync")
        pg("pg_ctl", "start", "-w", "-l", str(folder / "log"), "-o", f"-k {folder} -c listen_addresses= -c fsync=off")
        try:
            yield f"postgresql+psycopg://pacos:hunter2@/postgres?host={folder}"
        finally:
            pg("pg_ctl", "stop", "-m", "immediate")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(params=["sqlite", "postgres"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of an empty database."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'store.sqlite'}"
        return
    server = request.getfixturevalue("postgres")
    with sqlalchemy.create_engine(server, poolclass=sqlalchemy.NullPool).begin() as connection:
        connection.exec_driver_sql("DROP SCHEMA public CASCADE")
        connection.exec_driver_sql("CREATE SCHEMA public")
    yield server
