"""What a server says about its limits: Retry-After in its forms, and the x-ratelimit headers."""

import email.utils
import re
import time
from collections.abc import Mapping

# Without the server's own time of day, a date may be as wrong as this machine's clock: wait no longer on its word
# alone, and if that was too short the next refusal says so.
LONGEST_WAIT_BY_OUR_CLOCK = 60.0

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
            return _until(email.utils.parsedate_to_datetime(value).timestamp(), headers.get("date"))
    except (ValueError, TypeError):
        return None


def _until(then: float, date: str | None) -> float:
    if date is not None:
        return max(0.0, then - email.utils.parsedate_to_datetime(date).timestamp())
    return min(LONGEST_WAIT_BY_OUR_CLOCK, max(0.0, then - time.time()))


def reset_seconds(headers: Mapping[str, str]) -> float | None:
    """How long until the server's limits are reset, where nothing remains of one of them; else None.

    vLLM and Ollama send no such headers, and Azure -1 where it does not know: both say nothing.
    """
    waits = [
        duration_seconds(headers.get(f"x-ratelimit-reset-{what}", ""))
        for what in ("requests", "tokens")
        if headers.get(f"x-ratelimit-remaining-{what}", "").strip() == "0"
    ]
    return max((wait for wait in waits if wait is not None), default=None)


def duration_seconds(text: str) -> float | None:
    """Reads "1s", "6m0s", "20ms" or plain seconds; None for anything else."""
    text = text.strip()
    if re.fullmatch(r"\d+(\.\d+)?", text):
        return float(text)
    if not text or _PART.sub("", text):
        return None
    return sum(float(number) * _SECONDS_OF[unit] for number, unit in _PART.findall(text))
