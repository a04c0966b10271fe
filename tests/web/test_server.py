"""Ports, hosts and databases that cannot be had are one line each."""

import socket
from pathlib import Path

import pytest
from sqlalchemy import Column, Integer, MetaData, Table

from pacos.core.errors import PacosError
from pacos.web.database import open_database, sqlite_url
from pacos.web.server import address_of, bind
from tests.conftest import missing_part


def line_of(error: pytest.ExceptionInfo[PacosError]) -> str:
    line = str(error.value)
    assert "\n" not in line
    return line


def test_free_port_is_taken_and_told() -> None:
    with bind("127.0.0.1", 0) as bound:
        port = bound.getsockname()[1]
        assert address_of(bound) == f"http://127.0.0.1:{port}"
        with pytest.raises(PacosError) as error:
            bind("127.0.0.1", port)
        assert f"serve.port: {port}" in line_of(error)


def test_open_host_is_shown_as_an_address_to_click() -> None:
    with bind("0.0.0.0", 0) as bound:
        assert address_of(bound).startswith("http://127.0.0.1:")


def test_ipv6_address_is_bracketed() -> None:
    if not socket.has_dualstack_ipv6():
        missing_part("this machine has no IPv6")
    with bind("::1", 0) as bound:
        assert address_of(bound).startswith("http://[::1]:")


@pytest.mark.parametrize("host", ["203.0.113.9", "no such host"])
def test_host_of_another_machine(host: str) -> None:
    with pytest.raises(PacosError) as error:
        bind(host, 0)
    assert "serve.host" in line_of(error)


TABLES = MetaData()
Table("t", TABLES, Column("id", Integer, primary_key=True))


@pytest.mark.parametrize(
    "url",
    [
        "not a url",
        "nosuchdb://x",
        "postgresql+psycopg://user:hunter2@127.0.0.1:1/db",
        "sqlite:////proc/nowhere/store.sqlite",
    ],
)
def test_database_that_cannot_be_opened(url: str) -> None:
    with pytest.raises(PacosError) as error:
        open_database(url, TABLES)
    assert "database" in line_of(error)
    assert "hunter2" not in line_of(error)


def test_file_that_is_no_database(tmp_path: Path) -> None:
    path = tmp_path / "store.sqlite"
    path.write_text("this is a text, not a database, and long enough to be looked at " * 20)
    with pytest.raises(PacosError) as error:
        open_database(sqlite_url(path), TABLES)
    assert "not a database" in line_of(error)
    assert path.read_text().startswith("this is a text")


def test_folder_is_made_and_a_second_opening_finds_the_same(tmp_path: Path) -> None:
    url = sqlite_url(tmp_path / "deep" / "store.sqlite")
    with open_database(url, TABLES).begin() as connection:
        connection.execute(TABLES.tables["t"].insert().values(id=7))
    with open_database(url, TABLES).begin() as connection:
        assert connection.execute(TABLES.tables["t"].select()).all() == [(7,)]
