"""What a server says about when to come back: Retry-After in its forms, limits in headers, and words."""

import email.utils
import math
import re
import time
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from pacos.engines.http.dialects import LIMIT_HEADERS, WAIT_WORDS, plain

# Without the server's own time of day, a date may be as wrong as this machine's clock: wait no longer on its word
# alone, and if that was too short the next refusal says so.
LONGEST_WAIT_BY_OUR_CLOCK = 60.0

TOKENS_WAIT_SECONDS = 1.0
# What can be no number of seconds is a time of day: in seconds since 1970, or in milliseconds.
_EPOCH_SECONDS, _EPOCH_MILLISECONDS = 1e9, 1e12

_SECONDS_OF = {"d": 86_400.0, "h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001, "us": 1e-6}
_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|us|d|h|m|s)")


def retry_after_seconds(headers: Mapping[str, str]) -> float | None:
    """How long the server asks to wait: `retry-after-ms`, or `Retry-After` in seconds or as a date."""
    if "retry-after-ms" in headers:
        return _later(headers["retry-after-ms"], headers, 0.001)
    return _later(headers.get("retry-after", ""), headers)


def wait_seconds(headers: Mapping[str, str]) -> float | None:
    """How long to wait before one more request, where nothing remains of one of the server's limits; else None.

    vLLM and Ollama send no such headers, and Azure -1 where it does not know: both say nothing.
    """
    waits = [_wait(headers, name, what) for name, what, _ in LIMIT_HEADERS]
    return max((wait for wait in waits if wait is not None), default=None)


def seconds_of(key: str, said: Any) -> float | None:
    """A wait in an error's body: "37s", 37, {"seconds": 37, "nanos": 0}, or in milliseconds where the key says so."""
    if isinstance(said, dict):
        seconds, nanos = said.get("seconds", 0), said.get("nanos", 0)
        said = f"{seconds}s" if not nanos else f"{seconds}.{nanos!s:0>9}s"
    return _later(str(said), {}, 0.001 if plain(key).endswith("ms") else 1.0)


def spoken_seconds(message: str) -> float | None:
    """A wait in words, such as "Please try again in 1m2.5s."; None where there is none."""
    found = WAIT_WORDS.search(message)
    if not found:
        return None
    parts = re.findall(r"(\d+(?:\.\d+)?)\s*(ms|mil|[dhms])", found[1], re.I)
    return sum(float(number) * _SECONDS_OF["ms" if unit.lower() == "mil" else unit.lower()] for number, unit in parts)


def _wait(headers: Mapping[str, str], name: str, what: str) -> float | None:
    reset = _later(headers.get(name.format("reset"), ""), headers)
    if reset is None or headers.get(name.format("remaining"), "").strip() != "0":
        return None
    limit = headers.get(name.format("limit"), "").strip()
    if not re.fullmatch(r"[1-9][0-9]{0,11}", limit):
        return reset
    # The reset is when all of the limit is there again, and near the limit every reply says so: waiting for all of it
    # each time would leave most of it unused. One request fits again after its own share; where the limit comes back
    # at once, not bit by bit, the next refusal says for how long.
    return reset / int(limit) if what == "requests" else min(reset, TOKENS_WAIT_SECONDS)


def _later(text: str, headers: Mapping[str, str], unit: float = 1.0) -> float | None:
    """Seconds from now, of a duration or a time of day."""
    seconds = duration_seconds(text)
    if seconds is not None and seconds < _EPOCH_SECONDS:
        return seconds * unit
    then = _time_of(text) if seconds is None else seconds / (1000 if seconds >= _EPOCH_MILLISECONDS else 1)
    if then is None or not math.isfinite(then):
        return None
    now = _time_of(headers.get("date", ""))
    if now is not None:
        return max(0.0, then - now)
    return min(LONGEST_WAIT_BY_OUR_CLOCK, max(0.0, then - time.time()))


def _time_of(text: str) -> float | None:
    """Seconds since 1970 of an HTTP date, or one of RFC 3339."""
    for read in (email.utils.parsedate_to_datetime, datetime.fromisoformat):
        try:
            seconds = read(text.strip()).timestamp()
        except (ValueError, TypeError, IndexError, OverflowError):
            continue
        return seconds if math.isfinite(seconds) else None
    return None


def duration_seconds(text: str) -> float | None:
    """Reads "1s", "6m0s", "20ms" or plain seconds; None for anything else."""
    text = text.strip()
    if re.fullmatch(r"\d+(\.\d+)?", text):
        return float(text)
    if not text or _PART.sub("", text):
        return None
    return sum(float(number) * _SECONDS_OF[unit] for number, unit in _PART.findall(text))
