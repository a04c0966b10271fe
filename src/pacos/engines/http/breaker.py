"""The circuit breaker: while a server is out of service, one request at a time finds out whether it is back."""

import math
import sys
import time

from pacos.engines.http.troubles import PATIENCE_SECONDS, one_line

# So many troubles without a good answer between them, of more than one request, are the server's and not the request's.
TROUBLES_TO_OPEN = 5
FIRST_PROBE_SECONDS = 1.0
LONGEST_PROBE_SECONDS = 60.0


class Breaker:
    """Shared by all requests to one server. Time is monotonic; opening and closing are said on stderr."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._troubled: set[str] = set()
        self.troubles_in_a_row = 0
        self._first_trouble_at = 0.0
        self._probe_seconds = FIRST_PROBE_SECONDS
        self._probe_at = 0.0
        self._probing = False
        self.is_open = False
        self.ever_answered = False

    def send_at(self) -> float:
        """The time from which a request may be sent: any time, when the next probe is due, or not while it runs."""
        if not self.is_open:
            return 0.0
        return math.inf if self._probing else self._probe_at

    def sent(self) -> bool:
        """One request is on its way; True where it is the probe, for which `probe_over` is to be called."""
        self._probing = self.is_open
        return self._probing

    def probe_over(self) -> None:
        """The probe has come back, one way or another."""
        if not self._probing:
            return
        self._probing = False
        self._probe_at = time.monotonic() + self._probe_seconds
        self._probe_seconds = min(LONGEST_PROBE_SECONDS, 2 * self._probe_seconds)

    def good(self) -> None:
        """The server answered as it should."""
        self.ever_answered = True
        if self.is_open:
            seconds = time.monotonic() - self._first_trouble_at
            print(f"{self._name}: in service again after {_said(seconds)}", file=sys.stderr)
        self.is_open = self._probing = False
        self.troubles_in_a_row = 0
        self._troubled.clear()
        self._probe_seconds = FIRST_PROBE_SECONDS

    def trouble(self, request_id: str, what: str) -> None:
        """A request got no good answer: connection, time-out, 5xx, or no answer of the protocol."""
        if self.troubles_in_a_row == 0:
            self._first_trouble_at = time.monotonic()
        self.troubles_in_a_row += 1
        self._troubled.add(request_id)
        # A server that never answered is not out of service but wrong: the first requests say so at once.
        is_outage = self.ever_answered and self.troubles_in_a_row >= TROUBLES_TO_OPEN and len(self._troubled) > 1
        if is_outage and not self.is_open:
            self.is_open = True
            self._probe_at = time.monotonic() + self._probe_seconds
            print(
                f"{self._name}: out of service ({one_line(what)}); asking now and then until it answers, for "
                f"{_said(PATIENCE_SECONDS)} at most",
                file=sys.stderr,
            )

    @property
    def is_hopeless(self) -> bool:
        """Whether the outage has lasted longer than a run can wait."""
        return self.is_open and time.monotonic() - self._first_trouble_at > PATIENCE_SECONDS

    def begin(self) -> None:
        """A new round of requests, with none on its way: it is worth a new wait."""
        self._probing = False
        self._first_trouble_at = time.monotonic() if self.is_hopeless else self._first_trouble_at


def _said(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
