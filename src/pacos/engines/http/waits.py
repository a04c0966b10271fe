"""What a server says about its limits: Retry-After in its forms, and the x-ratelimit headers."""

import email.utils
import re
import time
from collections.abc import Mapping

# Without the server's own time of day, a date may be as wrong as this machine's clock: wait no longer on its word
# alone, and if that was too short the next refusal says so.
LONGEST_WAIT_BY_OUR_CLOCK = 60.0

TOKENS_WAIT_SECONDS = 1.0

_SECONDS_OF = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001, "us": 1e-6}
_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|us|h|m|s)")


def retry_after_seconds(headers: Mapping[str, str]) -> float | None:
    """How long the server asks to wait: `retry-after-ms`, or `Retry-After` in seconds or as a date."""
    try:
        if "retry-after-ms" in headers:
            return max(0.0, float(headers["retry-after-ms"]) / 1000)
        value = headers.get("retry-after")
        if value is None:
            return None
        try:
            return max(0.0, float(value))
        except ValueError:
            then = email.utils.parsedate_to_datetime(value).timestamp()
            if "date" in headers:
                return max(0.0, then - email.utils.parsedate_to_datetime(headers["date"]).timestamp())
            return min(LONGEST_WAIT_BY_OUR_CLOCK, max(0.0, then - time.time()))
    except (ValueError, TypeError):
        return None


def wait_seconds(headers: Mapping[str, str]) -> float | None:
    """How long to wait before one more request, where nothing remains of one of the server's limits; else None.

    vLLM and Ollama send no such headers, and Azure -1 where it does not know: both say nothing.
    """
    waits = [_wait(headers, what) for what in ("requests", "tokens")]
    return max((wait for wait in waits if wait is not None), default=None)


def _wait(headers: Mapping[str, str], what: str) -> float | None:
    reset = duration_seconds(headers.get(f"x-ratelimit-reset-{what}", ""))
    if reset is None or headers.get(f"x-ratelimit-remaining-{what}", "").strip() != "0":
        return None
    limit = headers.get(f"x-ratelimit-limit-{what}", "").strip()
    if not re.fullmatch(r"[1-9][0-9]{0,11}", limit):
        return reset
    # The reset is when all of the limit is there again, and near the limit every reply says so: waiting for all of it
    # each time would leave most of it unused. One request fits again after its own share; where the limit comes back
    # at once, not bit by bit, the next refusal says for how long.
    return reset / int(limit) if what == "requests" else min(reset, TOKENS_WAIT_SECONDS)


def duration_seconds(text: str) -> float | None:
    """Reads "1s", "6m0s", "20ms" or plain seconds; None for anything else."""
    text = text.strip()
    if re.fullmatch(r"\d+(\.\d+)?", text):
        return float(text)
    if not text or _PART.sub("", text):
        return None
    return sum(float(number) * _SECONDS_OF[unit] for number, unit in _PART.findall(text))
