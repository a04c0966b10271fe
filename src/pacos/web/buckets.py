"""Token buckets: how often one session or one address may ask."""

import time
from collections.abc import Callable
from hashlib import blake2b
from ipaddress import IPv6Address, ip_address
from secrets import token_bytes
from threading import Lock

MAX_BUCKETS = 20_000


class TokenBuckets:
    """One bucket a key: `burst` requests at once, `per_minute` in the long run. `clock` is in seconds.

    Any thread may take: routes run in the event loop and in threads beside it.
    """

    def __init__(self, burst: int, per_minute: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.burst, self.per_second = burst, per_minute / 60
        self._clock = clock
        self._buckets: dict[str, tuple[float, float]] = {}
        self._lock = Lock()

    def take(self, key: str) -> float:
        """Takes one token; 0.0 when there was one, else the seconds until there will be."""
        with self._lock:
            now = self._clock()
            tokens, then = self._buckets.pop(key, (float(self.burst), now))
            tokens = min(self.burst, tokens + (now - then) * self.per_second)
            allowed = tokens >= 1
            self._buckets[key] = (tokens - 1 if allowed else tokens, now)
            self._forget_oldest()
        return 0.0 if allowed else (1 - tokens) / self.per_second

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
        try:
            parsed = ip_address(address.partition("%")[0])
        except ValueError:
            packed = address.encode()
        else:
            packed = parsed.packed[:8] if isinstance(parsed, IPv6Address) and not parsed.ipv4_mapped else parsed.packed
        return blake2b(packed, key=self._salt, digest_size=16).hexdigest()
