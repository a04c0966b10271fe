"""Databases that are new, old, newer, shared, locked, full or none."""

import contextlib
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import sqlalchemy as sa

from pacos.core.errors import PacosError
from pacos.store.database import Database, Schema, Step, insert_missing
from tests.conftest import missing_part

HOLDER = """
import sqlite3, sys
database = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=30)
database.execute("begin immediate")
print("locked", flush=True)
sys.stdin.readline()
database.execute("rollback")
print("free", flush=True)
"""


def votes(*columns: sa.Column, steps: tuple[Step, ...] = (), name: str = "votes") -> Schema:
    tables = sa.MetaData()
    sa.Table(name, tables, sa.Column("ballot", sa.String(20), primary_key=True), *columns)
    return Schema(name, tables, steps)


def add_voter(connection: sa.Connection) -> None:
    connection.exec_driver_sql("ALTER TABLE votes ADD COLUMN voter VARCHAR(20) DEFAULT 'judge' NOT NULL")


def add_verdict(connection: sa.Connection) -> None:
    connection.exec_driver_sql("ALTER TABLE votes ADD COLUMN verdict VARCHAR(20)")


OLD = votes()
TODAY = votes(
    sa.Column("voter", sa.String(20), nullable=False, server_default="judge"),
    sa.Column("verdict", sa.String(20)),
    steps=(add_voter, add_verdict),
)


@contextlib.contextmanager
def opened(where: Path | str, schema: Schema, patience_seconds: float = 300.0) -> Iterator[Database]:
    database = Database(where, schema, patience_seconds)
    try:
        yield database
    finally:
        database.close()


def put(database: Database, text: str) -> None:
    with database.transaction() as connection:
        connection.execute(sa.text("INSERT INTO votes (ballot) VALUES (:text)"), {"text": text})


def rows(database: Database, query: str = "SELECT * FROM votes ORDER BY ballot") -> list[tuple[object, ...]]:
    with database.reading() as connection:
        return [tuple(row) for row in connection.exec_driver_sql(query)]


def columns(database: Database) -> list[tuple[object, ...]]:
    with database.reading() as connection:
        found = sa.inspect(connection).get_columns("votes")
    return [(column["name"], str(column["type"]), column["nullable"], column["default"]) for column in found]


def refusal(where: Path | str, schema: Schema = OLD) -> str:
    with pytest.raises(PacosError) as caught:
        Database(where, schema, 0.0)
    assert "\n" not in str(caught.value)
    assert "hunter2" not in str(caught.value)
    return str(caught.value)


def emptied(url: str) -> None:
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        connection.exec_driver_sql("DROP TABLE votes")
        connection.exec_driver_sql("DROP TABLE pacos_schema")
    engine.dispose()


def test_an_older_database_becomes_what_a_fresh_one_is_and_keeps_its_rows(database_url: str) -> None:
    with opened(database_url, TODAY) as database:
        fresh = columns(database), rows(database, "SELECT * FROM pacos_schema")
    emptied(database_url)
    with opened(database_url, OLD) as database:
        put(database, "b1")
        assert rows(database) == [("b1",)]
    for _ in range(2):
        with opened(database_url, TODAY) as database:
            assert (columns(database), rows(database, "SELECT * FROM pacos_schema")) == fresh
            assert rows(database) == [("b1", "judge", None)]


def test_a_step_that_fails_leaves_the_version_before_it(database_url: str) -> None:
    def fails(connection: sa.Connection) -> None:
        add_verdict(connection)
        raise KeyboardInterrupt

    with opened(database_url, OLD) as database:
        put(database, "b1")
    with pytest.raises(KeyboardInterrupt):
        Database(database_url, Schema("votes", TODAY.tables, (add_voter, fails)))
    with opened(database_url, Schema("votes", TODAY.tables, (add_voter,))) as database:
        assert rows(database) == [("b1", "judge")]
    with opened(database_url, TODAY) as database:
        assert rows(database) == [("b1", "judge", None)]


def test_a_newer_database_is_refused_and_stays(database_url: str) -> None:
    with opened(database_url, TODAY) as database:
        put(database, "b1")
    line = refusal(database_url)
    assert "version 2" in line
    assert "newer" in line
    with opened(database_url, TODAY) as database:
        assert rows(database) == [("b1", "judge", None)]


def test_schemas_share_a_database_each_with_its_own_version(database_url: str) -> None:
    with opened(database_url, TODAY), opened(database_url, votes(name="reports")) as other:
        assert rows(other, "SELECT * FROM pacos_schema ORDER BY name") == [("reports", 0), ("votes", 2)]


def test_tables_from_before_versions_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "store.sqlite"
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE votes (ballot TEXT)")
    assert "carry no version" in refusal(path)


def test_what_a_failing_block_wrote_is_taken_back(database_url: str) -> None:
    def cut_short(database: Database) -> None:
        with database.transaction() as connection:
            connection.exec_driver_sql("INSERT INTO votes VALUES ('b1')")
            raise KeyboardInterrupt

    with opened(database_url, OLD) as database:
        with pytest.raises(KeyboardInterrupt):
            cut_short(database)
        put(database, "b2")
        assert rows(database) == [("b2",)]


def test_many_programs_open_a_new_database_at_once_and_write(database_url: str) -> None:
    start = threading.Barrier(6)

    def work(number: int) -> None:
        start.wait()
        with opened(database_url, TODAY) as database:
            put(database, str(number))

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(work, range(6)))
    with opened(database_url, TODAY) as database:
        assert [row[0] for row in rows(database)] == list("012345")


def test_a_reader_sees_one_state_and_hinders_no_writer(tmp_path: Path) -> None:
    path = tmp_path / "store.sqlite"
    with opened(path, OLD) as database, opened(path, OLD, patience_seconds=0.0) as writer:
        with database.reading() as connection:
            count = sa.text("SELECT count(*) FROM votes")
            assert connection.scalar(count) == 0
            put(writer, "b1")
            assert connection.scalar(count) == 0
        assert rows(database) == [("b1",)]


def test_a_file_that_is_only_read_stays_and_is_read_as_todays(tmp_path: Path) -> None:
    path = tmp_path / "store.sqlite"
    with opened(path, OLD) as database:
        put(database, "b1")
    before = path.read_bytes()
    with contextlib.closing(Database(path, TODAY, read_only=True)) as database:
        assert rows(database) == [("b1", "judge", None)]
        with pytest.raises(PacosError, match="readonly"):
            put(database, "b2")
    assert (path.read_bytes(), list(tmp_path.iterdir())) == (before, [path])
    with pytest.raises(PacosError, match="cannot be read"):
        Database(tmp_path / "none.sqlite", OLD, read_only=True)


def test_what_another_process_writes_is_read_too(tmp_path: Path) -> None:
    path = tmp_path / "store.sqlite"
    with opened(path, OLD) as database:
        put(database, "b1")
        with contextlib.closing(Database(path, OLD, read_only=True)) as reader:
            assert rows(reader) == [("b1",)]


def test_foreign_keys_hold_except_while_a_step_rebuilds_a_table(tmp_path: Path) -> None:
    path = tmp_path / "store.sqlite"
    tables = sa.MetaData()
    sa.Table("ballots", tables, sa.Column("id", sa.String, primary_key=True))
    sa.Table("marks", tables, sa.Column("ballot", sa.ForeignKey("ballots.id"), primary_key=True))

    def rebuild(connection: sa.Connection) -> None:
        connection.exec_driver_sql("CREATE TABLE new (id VARCHAR PRIMARY KEY, item VARCHAR)")
        connection.exec_driver_sql("INSERT INTO new SELECT id, 'i' FROM ballots")
        connection.exec_driver_sql("DROP TABLE ballots")
        connection.exec_driver_sql("ALTER TABLE new RENAME TO ballots")

    with opened(path, Schema("box", tables)) as database, database.transaction() as connection:
        connection.exec_driver_sql("INSERT INTO ballots VALUES ('b1')")
        connection.exec_driver_sql("INSERT INTO marks VALUES ('b1')")
    with opened(path, Schema("box", tables, (rebuild,))) as database:
        assert rows(database, "SELECT * FROM ballots JOIN marks ON ballot = id") == [("b1", "i", "b1")]
        with pytest.raises(PacosError, match="FOREIGN KEY"), database.transaction() as connection:
            connection.exec_driver_sql("INSERT INTO marks VALUES ('nothing')")


@contextlib.contextmanager
def locked(path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process holds the lock until it is written a line."""
    command = [sys.executable, "-c", HOLDER, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "locked\n"
        try:
            yield holder
        finally:
            holder.kill()


def test_another_process_is_waited_for_and_that_is_said_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, said = tmp_path / "store.sqlite", []

    def tell(line: str, file: object) -> None:
        # The lock goes only now, so that nothing depends on how long anything takes.
        said.append(line)
        assert holder.stdin is not None
        holder.stdin.write("\n")
        holder.stdin.flush()

    monkeypatch.setattr("builtins.print", tell)
    with opened(path, OLD) as database, locked(path) as holder:
        put(database, "b1")
        assert rows(database) == [("b1",)]
    assert len(said) == 1
    assert str(path) in said[0]
    assert "locked by another process; waiting up to 300 s" in said[0]


def test_after_a_vain_wait_nobody_is_waited_for_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "store.sqlite"
    with opened(path, OLD, patience_seconds=1.5) as database, locked(path):
        for _ in range(3):
            with pytest.raises(PacosError, match="Another process has it open") as caught:
                put(database, "b1")
            assert "\n" not in str(caught.value)
            assert rows(database) == []
        assert capsys.readouterr().err.count("locked by another process") == 1
    with opened(path, OLD) as database:
        put(database, "b1")


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("not a url", "not a database URL"),
        ("postgresql+psycopg://user:hunter2@host:port/db", "not a database URL"),
        ("nosuchdb://user:hunter2@x", "driver is not installed"),
        ("postgresql+pg8000://user:hunter2@x/db", "pip install 'pacos[postgres]'"),
        ("postgresql+psycopg://user:hunter2@127.0.0.1:1/db", "Check the URL"),
        ("postgresql+psycopg://user@127.0.0.1:1/db?password=hunter2", "Check the URL"),
        ("sqlite:////proc/nowhere/store.sqlite", "cannot be opened"),
    ],
)
def test_a_database_that_cannot_be_had(url: str, words: str) -> None:
    assert words in refusal(url)


def test_a_server_that_goes_away_is_one_line_and_comes_back(postgres: str) -> None:
    engine = sa.create_engine(postgres)

    def lose(database: Database) -> None:
        with database.reading() as connection:
            own = connection.exec_driver_sql("SELECT pg_backend_pid()").scalar()
            with engine.connect() as other:
                other.exec_driver_sql(f"SELECT pg_terminate_backend({own}, 5000)")
            connection.exec_driver_sql("SELECT 1")

    with opened(postgres, votes(name="gone")) as database:
        with pytest.raises(PacosError, match="terminating") as caught:
            lose(database)
        assert "hunter2" not in str(caught.value)
        assert "\n" not in str(caught.value)
        assert rows(database, "SELECT 1") == [(1,)]
        # Nor is a connection used that died while nobody looked.
        [(idle,)] = rows(database, "SELECT pg_backend_pid()")
        with engine.connect() as other:
            other.exec_driver_sql(f"SELECT pg_terminate_backend({idle}, 5000)")
        assert rows(database, "SELECT 1") == [(1,)]
    engine.dispose()


def test_what_is_there_already_is_not_inserted_again(database_url: str) -> None:
    with opened(database_url, OLD) as database, database.transaction() as connection:
        for rows_to_insert in ([{"ballot": "b1"}], [], [{"ballot": "b1"}, {"ballot": "b2"}]):
            insert_missing(connection, OLD.tables.tables["votes"], rows_to_insert)
        assert connection.exec_driver_sql("SELECT ballot FROM votes ORDER BY ballot").all() == [("b1",), ("b2",)]


def test_a_file_that_is_no_database_stays(tmp_path: Path) -> None:
    path = tmp_path / "store.sqlite"
    path.write_text("this is a text, not a database, and long enough to be looked at " * 20)
    assert "not a database" in refusal(path)
    assert path.read_text().startswith("this is a text")


def test_a_path_may_have_any_characters(tmp_path: Path) -> None:
    path = tmp_path / "what? 100% #1" / "store.sqlite"
    with opened(path, OLD) as database:
        put(database, "b1")
    assert path.is_file()


def test_a_full_disk_is_one_line_and_loses_nothing_that_was_written(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=300k", "tmpfs", disk], capture_output=True).returncode:
        missing_part("needs the right to mount a small tmpfs")
    try:
        with opened(disk / "store.sqlite", votes(sa.Column("text", sa.Text))) as database:
            written = []

            def fill() -> None:
                for number in range(1000):
                    with database.transaction() as connection:
                        connection.exec_driver_sql("INSERT INTO votes VALUES (?, ?)", (f"{number:03}", "x" * 5000))
                    written.append(f"{number:03}")

            with pytest.raises(PacosError, match="full") as caught:
                fill()
            assert "\n" not in str(caught.value)
            assert "free space" in str(caught.value)
            assert [row[0] for row in rows(database)] == written
            assert len(written) > 10
    finally:
        subprocess.run(["umount", "-l", disk], check=True)
