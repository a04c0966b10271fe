"""Whose word on a visitor's address is believed."""

from collections.abc import Callable, Iterator
from urllib.request import Request as UrlRequest
from urllib.request import urlopen

import pytest
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from pacos.core.errors import PacosError
from pacos.web.limits import client_address
from pacos.web.proxies import networks
from tests.serve.conftest import Served, running
from tests.serve.test_chat_page import Visitor

# The bucket holds 60, and a busy machine takes long enough over these for some more to drip into it.
MANY = 130


HEADERS = {
    "X_Forwarded_For": "{}", "Forwarded": "for={}", "X_Real_IP": "{}", "forwarded": 'For="{}:4711"; Proto=https;by=_p',
}  # fmt: skip
"""How each header names a client of IPv4."""


def accepted(served: Served, addresses: Callable[[int], str], header: str = "X_Forwarded_For", **more: str) -> int:
    """How many of many acceptances pass that say they come from these addresses; each is one of its address's 60."""
    statuses = [Visitor(served).send("POST", "/terms", b"", **{header: addresses(i)}, **more)[0] for i in range(MANY)]
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


@pytest.mark.parametrize("header", HEADERS)
def test_each_header_names_the_client_and_is_nobodys_own_word(start: Callable[..., Served], header: str) -> None:
    shape = HEADERS[header].format
    served = start()
    assert accepted(served, lambda i: shape(f"198.51.100.{i}"), header) == MANY
    # What a client sent stands before what the proxy saw.
    if "eal" not in header:
        assert accepted(served, lambda i: f"{shape(f'198.51.100.{i}')}, {shape('203.0.113.9')}", header) < MANY


async def who(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers with the address that a request is counted by."""
    if scope["type"] == "lifespan":
        for ended in ("startup", "shutdown"):
            await receive()
            await send({"type": f"lifespan.{ended}.complete"})
    else:
        await Response(client_address(Request(scope)))(scope, receive, send)


@pytest.fixture(scope="module")
def client_told() -> Iterator[Callable[[dict[str, str]], str]]:
    """What a server behind trusted proxies on this machine and at 10.1.* makes of a request's headers."""
    with running(who, networks(["::ffff:127.0.0.0/104", "10.1.0.0/16"])) as url:

        def told(headers: dict[str, str]) -> str:
            with urlopen(UrlRequest(url, headers=headers), timeout=10) as response:
                return response.read().decode()

        yield told


@pytest.mark.parametrize("header", HEADERS)
@pytest.mark.parametrize("other", HEADERS)
def test_a_client_that_sends_the_header_that_the_proxy_does_not_set_is_not_believed(
    client_told: Callable[[dict[str, str]], str], header: str, other: str
) -> None:
    made_up, seen = HEADERS[header].format("198.51.100.1"), HEADERS[other].format("203.0.113.9")
    if header.lower() != other.lower():
        assert client_told({header.replace("_", "-"): made_up, other.replace("_", "-"): seen}) == "127.0.0.1"


def test_headers_that_agree_and_those_of_a_chain_are_believed(client_told: Callable[[dict[str, str]], str]) -> None:
    chain = {"X-Forwarded-For": "198.51.100.1, 10.1.2.3", "Forwarded": 'for="198.51.100.1:80", For=10.1.2.3'}
    assert client_told({**chain, "X-Real-IP": "10.1.2.3"}) == "198.51.100.1"
    assert client_told({"Forwarded": "for=_hidden;proto=http"}) == "_hidden"
    assert client_told({"Forwarded": "proto=https", "X-Real-IP": "198.51.100.1"}) == "198.51.100.1"


@pytest.mark.parametrize(
    "left", ['for="{}', 'for="{},', 'for={};by="', 'for="{};host="a', "for={} x", "for=[{}", 'for="\\{}']
)
@pytest.mark.parametrize("appended", ["for=203.0.113.9", 'for="203.0.113.9"', 'for="[2001:db8::7]:80";by="_x"'])
def test_an_open_quotation_mark_swallows_no_proxys_word(
    client_told: Callable[[dict[str, str]], str], left: str, appended: str
) -> None:
    sent = {"Forwarded": f"{left.format('198.51.100.1')}, {appended}"}
    assert client_told(sent) in ("127.0.0.1", "203.0.113.9", "2001:db8::7")


@pytest.mark.parametrize("way", ["203.0.113.5", "::ffff:203.0.113.5", "::FFFF:cb00:7105", "[::ffff:203.0.113.5]:80"])
def test_an_address_of_ipv4_is_one_however_it_is_written(
    client_told: Callable[[dict[str, str]], str], way: str
) -> None:
    for headers in ({"X-Forwarded-For": way}, {"X-Real-IP": way}, {"Forwarded": f'for="{way}"'}):
        assert client_told(headers) == "203.0.113.5"


def test_who_is_reached_by_https_gets_a_cookie_for_https(start: Callable[..., Served]) -> None:
    visitor = Visitor(start())
    for told in ({"X_Forwarded_Proto": "https"}, {"Forwarded": "for=203.0.113.9;proto=https"}):
        visitor.send("POST", "/terms", b"", **told)
        assert "secure" in visitor.last_headers["set-cookie"].lower()


@pytest.mark.parametrize("text", ["*", "", "proxy.example", "10.0.0.0/33", "10.0.0", "10.0.0.0/8, ::1"])
def test_proxy_that_is_no_address_is_one_line(text: str) -> None:
    with pytest.raises(PacosError) as error:
        networks([text])
    assert "serve.trusted_proxies" in str(error.value)
    assert "\n" not in str(error.value)
