"""Databases to test on: an SQLite file, and a PostgreSQL cluster of the tests' own where its server is installed."""

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
import sqlalchemy

from tests.conftest import missing_part

SERVERS = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda folder: int(folder.parent.name))


class Cluster:
    """A PostgreSQL server on a socket; it refuses to run as root, so root starts it as the user postgres."""

    def __init__(self) -> None:
        if not SERVERS:
            missing_part("needs PostgreSQL's server (apt-get install postgresql)")
        # pytest's own folders are closed to other users, and a socket's path has to be short.
        self.folder = Path(tempfile.mkdtemp(prefix="pacos-pg-"))
        self.user = "postgres" if os.getuid() == 0 else None
        if self.user:
            shutil.chown(self.folder, self.user)
        self.url = f"postgresql+psycopg://pacos:hunter2@/postgres?host={self.folder}"
        self._pg("initdb", "-U", "pacos", "-A", "trust", "--no-sync")
        self.start()

    def _pg(self, program: str, *arguments: str) -> None:
        command = [str(SERVERS[-1] / program), "-D", str(self.folder / "data"), *arguments]
        subprocess.run(command, user=self.user, cwd=self.folder, check=True, stdout=subprocess.DEVNULL)

    def start(self) -> None:
        options = f"-k {self.folder} -c listen_addresses= -c fsync=off"
        self._pg("pg_ctl", "start", "-w", "-l", str(self.folder / "log"), "-o", options)

    def kill(self) -> None:
        """As a crash ends it: connections break, and what was committed is recovered at the next start."""
        self._pg("pg_ctl", "stop", "-m", "immediate")

    def processes(self) -> list[int]:
        """The server's own process, and those that it made."""
        server = int((self.folder / "data" / "postmaster.pid").read_text().split()[0])
        children = Path(f"/proc/{server}/task/{server}/children").read_text().split()
        return [server, *map(int, children)]

    @contextmanager
    def hanging(self) -> Iterator[None]:
        """Stops all of its processes, which then take connections and say nothing, and lets them go on at the end."""
        stopped = self.processes()
        try:
            for process in stopped:
                os.kill(process, signal.SIGSTOP)
            yield
        finally:
            for process in reversed(stopped):
                with suppress(ProcessLookupError):
                    os.kill(process, signal.SIGCONT)

    def remove(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """The URL of a server that the tests share."""
    cluster = Cluster()
    try:
        yield cluster.url
    finally:
        cluster.kill()
        cluster.remove()


@pytest.fixture
def own_postgres() -> Iterator[Cluster]:
    """A server of one test's own, which may kill it, and leaves it running."""
    cluster = Cluster()
    try:
        yield cluster
    finally:
        cluster.kill()
        cluster.remove()


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
