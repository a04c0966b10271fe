"""How often one API key, session or address may ask."""

import math
import time
from collections.abc import Callable
from hashlib import blake2b
from ipaddress import IPv6Address
from secrets import token_bytes
from threading import Lock

from starlette.requests import Request

from pacos.web.error_shape import RefusalError
from pacos.web.guards import is_loopback
from pacos.web.people import COOKIE
from pacos.web.proxies import FORWARDING_HEADERS, ip_of

MAX_BUCKETS = 20_000


class TokenBuckets:
    """One bucket a key: `burst` at once, `per_minute` in the long run. `clock` is in seconds.

    Any thread may take: routes run in the event loop and in threads beside it.
    """

    def __init__(self, burst: int, per_minute: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.burst, self.per_second = burst, per_minute / 60
        self._clock = clock
        self._buckets: dict[str, tuple[float, float]] = {}
        self._lock = Lock()

    def take(self, key: str, cost: int = 1) -> float:
        """Takes `cost` tokens; 0.0 when there were as many, else the seconds until there will be.

        What costs more than a full bucket needs a full one, and leaves it owing the rest. A negative cost gives back.
        """
        with self._lock:
            now = self._clock()
            tokens, then = self._buckets.pop(key, (float(self.burst), now))
            tokens = min(self.burst, tokens + (now - then) * self.per_second)
            needed = min(cost, self.burst)
            allowed = tokens >= needed
            self._buckets[key] = (tokens - cost if allowed else tokens, now)
            self._forget_oldest()
        return 0.0 if allowed else (needed - tokens) / self.per_second

    def _forget_oldest(self) -> None:
        # Every take moves its key to the end, so the first key is the one unused for longest.
        while len(self._buckets) > MAX_BUCKETS:
            del self._buckets[next(iter(self._buckets))]


class AddressKeys:
    """Turns addresses into keys that cannot be turned back: the salt lives in this process only."""

    def __init__(self) -> None:
        self._salt = token_bytes(16)

    def key(self, address: str) -> str:
        """The same key for the same client; an IPv6 client is its /64, since it may take any address in there."""
        parsed = ip_of(address)
        packed = address.encode() if parsed is None else parsed.packed
        packed = packed[:8] if isinstance(parsed, IPv6Address) else packed
        return blake2b(packed, key=self._salt, digest_size=16).hexdigest()


class Limit:
    """How often one person and one address may do something; each is (at once, a minute in the long run).

    A key may as often as an address: whoever has none and sends no cookie is held by the address alone.
    """

    def __init__(self, session: tuple[int, float], address: tuple[int, float]) -> None:
        self._keys, self._sessions, self._addresses = (TokenBuckets(*size) for size in (address, session, address))
        self._hidden = AddressKeys()

    def take(self, request: Request, cost: int = 1) -> None:
        """Counts what was asked of the key or session, and of the address, since whoever floods may begin another one.

        Raises RefusalError 429 where none is left.
        """
        if key := getattr(request.state, "key_sha256", ""):
            _take(self._keys, key, "API key", cost)
        elif session := request.cookies.get(COOKIE, ""):
            # Hashed, since a cookie may be as long as its sender likes.
            _take(self._sessions, self._hidden.key(session), "session", cost)
        self.take_from_address(request, cost)

    def take_from_address(self, request: Request, cost: int = 1) -> None:
        """Counts what was asked of the address; programs on this machine are its owner's and are not counted."""
        if not _is_on_this_machine(request):
            _take(self._addresses, self._hidden.key(client_address(request)), "address", cost)


def _take(buckets: TokenBuckets, key: str, whose: str, cost: int) -> None:
    if wait := math.ceil(buckets.take(key, cost)):
        line = f"Too many requests from this {whose}; try again in {wait} s."
        raise RefusalError(429, "rate_limit_exceeded", line, wait)


def visitor_of(request: Request) -> tuple[str, ...]:
    """By what names a question takes its place in the queue: its key's, and its address's, since anyone may have many
    keys; on this machine or behind an own proxy that names no address the key's, else the session's."""
    key, address = getattr(request.state, "key_sha256", ""), client_address(request)
    if _is_on_this_machine(request):
        return (key or request.cookies.get(COOKIE, address),)
    # A cookie is anyone's to invent, so that elsewhere it would be a way to many places.
    return (key, address) if key else (address,)


def client_address(request: Request) -> str:
    """The visitor's, where a trusted proxy names it, else the sender's: `ForwardedClients` has put it here."""
    return request.client.host if request.client else ""


def _is_on_this_machine(request: Request) -> bool:
    # What was forwarded is no program on this machine, whoever its sender is.
    is_forwarded = any(name in request.headers for name in FORWARDING_HEADERS)
    return is_loopback(client_address(request)) and not is_forwarded
