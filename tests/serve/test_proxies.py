"""Whose word on a visitor's address is believed."""

from collections.abc import Callable

import pytest

from pacos.core.errors import PacosError
from pacos.web.server import networks
from tests.serve.conftest import Served
from tests.serve.test_chat_page import Visitor

# The bucket holds 60, and a busy machine takes long enough over these for some more to drip into it.
MANY = 130


def accepted(served: Served, addresses: Callable[[int], str]) -> int:
    """How many of many acceptances pass that say they come from these addresses; each is one of its address's 60."""
    statuses = [Visitor(served).send("POST", "/terms", b"", X_Forwarded_For=addresses(i))[0] for i in range(MANY)]
    assert set(statuses) <= {303, 429}
    return statuses.count(303)


def test_client_cannot_make_up_addresses_behind_a_trusted_proxy(start: Callable[..., Served]) -> None:
    """The proxy on this machine puts the address that it saw at the end; what stands before is the client's word."""
    served = start()
    assert accepted(served, lambda i: f"198.51.100.{i}, 203.0.113.9") < MANY
    assert accepted(served, lambda i: f"127.0.0.1, ::1, 10.0.0.{i}, 203.0.113.10") < MANY
    assert accepted(served, lambda i: f"198.51.100.{i}") == MANY


def test_header_of_a_sender_that_is_no_trusted_proxy_is_not_believed(start: Callable[..., Served]) -> None:
    served = start(trusted_proxies=["192.0.2.1"])
    assert accepted(served, lambda i: f"198.51.100.{i}") < MANY


def test_programs_on_this_machine_are_not_limited_by_address_unless_they_forward(start: Callable[..., Served]) -> None:
    served = start()
    assert {Visitor(served).send("POST", "/terms", b"")[0] for _ in range(MANY)} == {303}
    # A chain of trusted addresses alone is still somebody's request.
    assert accepted(served, lambda i: "127.0.0.1") < MANY


def test_chain_of_trusted_proxies_leads_to_the_client(start: Callable[..., Served]) -> None:
    served = start(trusted_proxies=["127.0.0.0/8", "10.1.0.0/16", "2001:db8::/32"])
    assert accepted(served, lambda i: f"1.2.3.4, 198.51.100.{i}, 10.1.2.3, 2001:db8::7") == MANY
    assert accepted(served, lambda i: f"198.51.100.{i}, 203.0.113.9, 10.1.2.3") < MANY
    # Ports are not part of an address.
    assert accepted(served, lambda i: f"203.0.113.11:{2000 + i}") < MANY


def test_uvicorns_own_variable_does_not_decide(start: Callable[..., Served], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORWARDED_ALLOW_IPS", "*")
    assert accepted(start(trusted_proxies=["192.0.2.1"]), lambda i: f"198.51.100.{i}") < MANY


@pytest.mark.parametrize("text", ["*", "", "proxy.example", "10.0.0.0/33", "10.0.0", "10.0.0.0/8, ::1"])
def test_proxy_that_is_no_address_is_one_line(text: str) -> None:
    with pytest.raises(PacosError) as error:
        networks([text])
    assert "serve.trusted_proxies" in str(error.value)
    assert "\n" not in str(error.value)
