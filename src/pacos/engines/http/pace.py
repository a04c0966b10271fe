"""How fast to ask: a limit on requests in flight that rises slowly and falls on 429, and pauses that all share."""

import asyncio
import random
import time
from collections import deque

FALL = 0.75
LONGEST_WAIT_SECONDS = 30.0
FIRST_WAIT_SECONDS = 0.5
RECENT = 64
SHORTEST_TIMEOUT_SECONDS = 30.0
TIMEOUT_FACTOR = 5.0


class Pace:
    """Shared by all requests to one server."""

    def __init__(self, concurrency: int, timeout_seconds: float) -> None:
        self._most = float(concurrency)
        self._limit = float(concurrency)
        self._longest_timeout = timeout_seconds
        self._resume_at = 0.0
        self._last_fall = 0.0
        self._latencies: deque[float] = deque(maxlen=RECENT)
        # Its own generator: waits must differ between clients, and nothing that is made depends on them.
        self._random = random.Random()
        self.ever_answered = False

    @property
    def limit(self) -> int:
        """How many requests may be in flight now."""
        return max(1, int(self._limit))

    @property
    def timeout_seconds(self) -> float:
        """How long to wait for an answer: far beyond the slowest of late, once enough are known."""
        if len(self._latencies) < RECENT // 4:
            return self._longest_timeout
        return min(self._longest_timeout, max(SHORTEST_TIMEOUT_SECONDS, TIMEOUT_FACTOR * max(self._latencies)))

    async def ready(self) -> None:
        """Returns when no pause is in force."""
        while (wait := self._resume_at - time.monotonic()) > 0:
            await asyncio.sleep(wait)

    def answered(self, seconds: float) -> None:
        """One good reply: about one more request in flight for each full window of them."""
        self.ever_answered = True
        self._latencies.append(seconds)
        self._limit = min(self._most, self._limit + 1 / self._limit)

    def rate_limited(self, wait_seconds: float | None) -> None:
        """A 429: fewer in flight, and everyone waits as long as the server asks."""
        now = time.monotonic()
        # Requests sent before the fall took effect come back with 429 too; they are one event.
        if now - self._last_fall > 1.0:
            self._last_fall = now
            self._limit = max(1.0, self._limit * FALL)
        if wait_seconds is not None:
            self._resume_at = max(self._resume_at, now + wait_seconds)

    def wait_seconds(self, attempt: int) -> float:
        """The jittered wait before attempt number `attempt` + 1, doubling from half a second to half a minute."""
        longest: float = min(LONGEST_WAIT_SECONDS, FIRST_WAIT_SECONDS * 2.0 ** (attempt - 1))
        return self._random.uniform(0.5, 1.0) * longest
