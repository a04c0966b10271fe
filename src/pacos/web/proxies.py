"""Whose request it is that a proxy hands on, and how an address is written.

Read are X-Forwarded-For, Forwarded (RFC 7239) and X-Real-IP, all by one rule, and from trusted proxies alone.
"""

import re
from collections.abc import Iterable, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from pacos.core.errors import PacosError

Network = IPv4Network | IPv6Network
FORWARDING_HEADERS = ("x-forwarded-for", "forwarded", "x-real-ip")
_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]++"
_QUOTED = r'"(?:[^"\\]|\\.)*+"'
# Nothing is tried twice: a head of blanks would hold up everyone.
_PAIR = rf"\s*+(?:{_TOKEN}=(?:{_TOKEN}|{_QUOTED}))?+\s*+"
# The whole value, so that a quotation mark that a client left open does not swallow what the proxy put behind it.
_FORWARDED = re.compile(rf"{_PAIR}(?:[;,]{_PAIR})*+")
_PART = re.compile(rf"({_TOKEN})=({_TOKEN}|{_QUOTED})|,")
_MAPPED = IPv6Network("::ffff:0:0/96")


def ip_of(text: str) -> IPv4Address | IPv6Address | None:
    """The address, without zone; one of IPv4 that is written as IPv6 (`::ffff:192.0.2.1`) is that of IPv4.

    None where the text is no address.
    """
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return (isinstance(address, IPv6Address) and address.ipv4_mapped) or address


def networks(trusted_proxies: Iterable[object]) -> tuple[Network, ...]:
    """The proxies' networks; PacosError where one is neither an address nor a network."""
    found: list[Network] = []
    for text in trusted_proxies:
        try:
            network = ip_network(str(text), strict=False)
        except ValueError:
            raise PacosError(
                f"serve.trusted_proxies: {text!r} is neither an address nor a network; "
                "expected such as 127.0.0.1, 10.0.0.0/8 or ::1."
            ) from None
        if isinstance(network, IPv6Network) and network.subnet_of(_MAPPED):
            plain = network.network_address.ipv4_mapped
            network = ip_network(f"{plain}/{network.prefixlen - 96}")
        found.append(network)
    return tuple(found)


LOOPBACK = networks(("127.0.0.1", "::1"))


class ForwardedClients:
    """ASGI middleware: a trusted proxy's request is its client's, the right-most that a header names and that is no
    trusted proxy. Where headers name different ones, or one cannot be read, a client may have sent one of them: then
    none is believed, and the request is the proxy's. Addresses are written in one way, whoever told them.
    """

    def __init__(self, app: ASGIApp, proxies: Sequence[Network]) -> None:
        self.app, self._proxies = app, proxies

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            for end in ("client", "server"):
                if scope.get(end):
                    address, port = scope[end]
                    scope[end] = (str(ip_of(address) or address), port)
            if self._is_trusted((scope.get("client") or ("",))[0]):
                self._believe(scope)
        await self.app(scope, receive, send)

    def _is_trusted(self, text: str) -> bool:
        address = ip_of(text)
        return address is not None and any(address in network for network in self._proxies)

    def _believe(self, scope: Scope) -> None:
        headers = Headers(scope=scope)
        joined = {name: ",".join(headers.getlist(name)) for name in FORWARDING_HEADERS if name in headers}
        named, schemes = set(), {headers.get("x-forwarded-proto", "").strip().lower()}
        for name, value in joined.items():
            if name == "forwarded":
                steps = _forwarded(value)
                chain = None if steps is None else [step["for"] for step in steps if "for" in step]
                schemes.update(step.get("proto", "").lower() for step in (steps or [])[-1:])
            else:
                chain = [_host(text) for text in value.split(",") if text.strip()]
            named.add(None if chain is None else self._client(chain))
        # A trusted proxy alone is nobody's client: the other headers may name one.
        named.discard("")
        if len(named) == 1 and (client := named.pop()) is not None:
            scope["client"] = (client, 0)
        if "https" in schemes:
            scope["scheme"] = "https"
        elif "http" in schemes:
            scope["scheme"] = "http"

    def _client(self, chain: Sequence[str]) -> str:
        return next((host for host in reversed(chain) if not self._is_trusted(host)), "")


def _host(text: str) -> str:
    """A step without port and brackets: an address, or the name that a proxy gives to who wants none known."""
    text = text.strip()
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    return str(ip_of(text) or text)


def _forwarded(value: str) -> list[dict[str, str]] | None:
    """The steps of a Forwarded header, the parameters of each by name; None where it cannot be read."""
    if not _FORWARDED.fullmatch(value):
        return None
    steps: list[dict[str, str]] = [{}]
    for match in _PART.finditer(value):
        name, text = match.groups()
        if not name:
            steps.append({})
            continue
        plain = re.sub(r"\\(.)", r"\1", text[1:-1]) if text.startswith('"') else text
        steps[-1][name.lower()] = _host(plain) if name.lower() == "for" else plain
    return steps
