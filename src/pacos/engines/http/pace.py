"""How fast to ask: how many at once, how many a second, and for how long to wait.

Servers limit two things, and say 429 for both. Too many a second is answered by spacing requests out: the rate falls a
little with each refusal and grows again ever faster, so it stays close to the limit and wastes little of it. Too many
at once shows in requests refused again and again, however far apart; then fewer may be in flight.
"""

import math
import random
import time
from collections import deque

# Up to this share of refusals may have any reason; only more of them are a limit on the rate.
FEW_REFUSALS = 0.1
# A refusal lowers the rate by this share, a reply raises it by a thirty-second of that: a server that refuses one
# request in forty for reasons of its own is not asked ever more slowly, and a limit costs few refusals.
FALL_OF_RATE = 1 / 64
# A wait for all that is longer than requests are apart costs more of them than the one refused, so the next one had
# better be further off. After several such waits with hardly a request between them the rate is far too high.
FALL_AT_A_WAIT = 1 / 32
FEW_BETWEEN_WAITS, WAITS_IN_A_ROW, FALL_AT_WAITS_IN_A_ROW = 4, 3, 1 / 4
RISE_OF_RATE = FALL_OF_RATE / 32
# Beside this, time since the last refusal lets the rate grow by exp((seconds / 64)²): 1.6% in 8 s, e in a minute.
GROWTH_SECONDS = 64.0
LATE_SECONDS = 0.05
FALL_OF_LIMIT = 0.75
REFUSALS_BEFORE_FALL = 5
LONGEST_WAIT_SECONDS = 30.0
FIRST_WAIT_SECONDS = 0.5
RECENT = 64
TIMEOUT_FACTOR = 5.0


class Pace:
    """Shared by all requests to one server; its clock is the monotonic one."""

    def __init__(self, concurrency: int, timeout_seconds: float, shortest_timeout_seconds: float) -> None:
        self._most = float(concurrency)
        self._limit = float(concurrency)
        self._longest_timeout, self._shortest_timeout = timeout_seconds, shortest_timeout_seconds
        self._resume_at = self._next_at = self._limit_fell_at = 0.0
        self._rate = math.inf
        self._refused_at = self._rate_fell_at = 0.0
        self._lowest_rate = 0.0
        self._sent_since_wait = self._waits_in_a_row = 0
        self._sent_at: deque[float] = deque(maxlen=1000)
        self._latencies: deque[float] = deque(maxlen=RECENT)
        self._timeouts_in_a_row = 0
        self._refused_of_late: deque[bool] = deque(maxlen=RECENT)
        # Its own generator: waits must differ between clients, and nothing that is made depends on them.
        self._random = random.Random()

    @property
    def limit(self) -> int:
        """How many requests may be in flight now."""
        return max(1, int(self._limit))

    @property
    def timeout_seconds(self) -> float:
        """How long to wait for an answer: far beyond the slowest of late, once enough are known.

        Twice as long after each time-out, until one arrives: a server that has become slow is not out of service.
        """
        if len(self._latencies) < RECENT // 4:
            return self._longest_timeout
        shortest = max(self._shortest_timeout, TIMEOUT_FACTOR * max(self._latencies))
        return min(self._longest_timeout, shortest * 2.0 ** min(self._timeouts_in_a_row, 16))

    def send_at(self) -> float:
        """The time from which one more request may be sent."""
        return max(self._resume_at, self._next_at)

    def sent(self) -> None:
        """One request is on its way."""
        now = time.monotonic()
        self._sent_at.append(now)
        self._sent_since_wait += 1
        gap = 1 / self._rate_at(now)
        # Counted from when it was due, so that what an event loop starts late is made up for; a pause is not.
        self._next_at = max(self.send_at(), now - min(gap, LATE_SECONDS)) + gap

    def answered(self, seconds: float) -> None:
        """One good reply: about one more request in flight for each full window of them."""
        self._latencies.append(seconds)
        self._timeouts_in_a_row = 0
        self._refused_of_late.append(False)
        self._limit = min(self._most, self._limit + 1 / self._limit)
        self._rate *= 1 + RISE_OF_RATE

    def timed_out(self, seconds: float) -> None:
        """An answer did not come in so long. Of those that were waited for at the same time one counts."""
        self._timeouts_in_a_row += seconds >= self.timeout_seconds

    def refused(self, times: int, wait_seconds: float) -> None:
        """A 429, and for this request the so-many-th in a row; the server asks everyone to wait so long."""
        now = time.monotonic()
        self._refused_of_late.append(True)
        if times >= REFUSALS_BEFORE_FALL and now - self._limit_fell_at > 1.0:
            self._limit_fell_at = now
            self._limit = max(1.0, self._limit * FALL_OF_LIMIT)
        rate = self._rate_at(now)
        if math.isinf(rate):
            if sum(self._refused_of_late) <= FEW_REFUSALS * RECENT:
                return
            # Not of the last moment: a server may take its time to refuse, or have been sent a burst.
            window = min(10.0, max(1.0, now - self._sent_at[0]))
            rate = max(1, sum(now - sent <= window for sent in self._sent_at)) / window
        fall = FALL_OF_RATE
        # Many that were sent before the rate fell come back with 429 too: it halves once a second at most.
        if now - self._rate_fell_at > 1.0:
            self._rate_fell_at, self._lowest_rate = now, rate / 2
            if rate * wait_seconds > 1:
                fall = self._fall_at_a_wait()
        self._rate = max(self._lowest_rate, rate * (1 - fall))
        self._refused_at = now

    def _fall_at_a_wait(self) -> float:
        hardly_any = self._sent_since_wait <= FEW_BETWEEN_WAITS
        self._waits_in_a_row = self._waits_in_a_row + 1 if hardly_any else 0
        self._sent_since_wait = 0
        return FALL_AT_WAITS_IN_A_ROW if self._waits_in_a_row >= WAITS_IN_A_ROW else FALL_AT_A_WAIT

    def pause(self, seconds: float) -> None:
        """The server asks everyone to wait so long."""
        self._resume_at = max(self._resume_at, time.monotonic() + seconds)

    def backoff_seconds(self, attempt: int) -> float:
        """The jittered wait before attempt number `attempt` + 1, doubling from half a second to half a minute."""
        longest: float = min(LONGEST_WAIT_SECONDS, FIRST_WAIT_SECONDS * 2.0 ** (attempt - 1))
        return self._random.uniform(0.5, 1.0) * longest

    def _rate_at(self, now: float) -> float:
        """Requests a second; no limit until refusals show that there is one."""
        return self._rate * math.exp(min(now - self._refused_at, 600.0) ** 2 / GROWTH_SECONDS**2)
