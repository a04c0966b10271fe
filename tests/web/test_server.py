"""Ports and hosts that cannot be had are one line each."""

import socket

import pytest

from pacos.core.errors import PacosError
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
