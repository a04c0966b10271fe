"""What went wrong with a request, and what can be done: the one place that knows servers' errors."""

import email.utils
import re
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import openai

Kind = Literal["auth", "quota", "rate_limit", "timeout", "connection", "bad_request", "server"]

_QUOTA = re.compile(r"insufficient_quota|exceeded your current quota|billing|insufficient.balance|out of credit", re.I)
_REFUSAL = re.compile(r"support|unrecognized|unknown|unexpected|not permitted|not allowed|extra|invalid param", re.I)


class NotOpenAIError(Exception):
    """The server answered with something that is no reply of the OpenAI protocol."""


class BrokenBodyError(Exception):
    """The server's JSON ended early."""


@dataclass(frozen=True, slots=True)
class Trouble:
    """One failed attempt: `retry` means that the same request may succeed later."""

    kind: Kind
    message: str
    retry: bool = False
    fatal: bool = False
    wait_seconds: float | None = None
    filtered: bool = False


def trouble_of(error: Exception) -> Trouble:
    """Reads an exception of the openai library, or one of this module."""
    if isinstance(error, NotOpenAIError):
        return Trouble("server", str(error), retry=True)
    if isinstance(error, BrokenBodyError):
        return Trouble("connection", str(error), retry=True)
    if isinstance(error, openai.APITimeoutError):
        return Trouble("timeout", "no answer in time", retry=True)
    if isinstance(error, openai.APIStatusError):
        return _status_trouble(error)
    if isinstance(error, openai.APIConnectionError):
        return Trouble("connection", str(error.__cause__ or error) or "connection lost", retry=True)
    if isinstance(error, openai.APIError):
        # An error event in the middle of a stream has no status.
        return Trouble("server", str(error), retry=True)
    raise error


def _status_trouble(error: openai.APIStatusError) -> Trouble:
    status, message = error.status_code, _message(error)
    facts = f"{error.code} {error.type} {message}"
    if status in (401, 403):
        return Trouble("auth", f"the server refuses the key ({status}: {message})", fatal=True)
    if status == 402 or (status == 429 and _QUOTA.search(facts)):
        return Trouble("quota", f"the account has no quota left ({status}: {message})", fatal=True)
    if status == 429:
        wait = retry_after_seconds(error.response.headers)
        return Trouble("rate_limit", f"rate limit ({message})", retry=True, wait_seconds=wait)
    if status in (404, 405, 501) or error.code == "model_not_found":
        return Trouble("bad_request", f"no such model or address ({status}: {message})", fatal=True)
    if status in (408, 409, 425) or status >= 500:
        wait = retry_after_seconds(error.response.headers)
        return Trouble("server", f"server error ({status}: {message})", retry=True, wait_seconds=wait)
    filtered = error.code == "content_filter"
    return Trouble("bad_request", f"the server refuses the request ({status}: {message})", filtered=filtered)


def _message(error: openai.APIStatusError) -> str:
    body: Any = error.body
    if isinstance(body, dict):
        body = body.get("message") or body.get("error") or body.get("detail") or body
        if isinstance(body, dict):
            body = body.get("message") or body
        return one_line(str(body))
    text = error.response.text
    return "an HTML page" if text.lstrip()[:1] == "<" else one_line(text or error.response.reason_phrase)


def one_line(text: str, length: int = 240) -> str:
    """The text on one line, cut where it is long."""
    text = " ".join(text.split())
    return text if len(text) <= length else text[: length - 1] + "…"


def refused_parameter(error: Exception, sent: Iterable[str]) -> str | None:
    """The parameter that a 400 names as unknown or unsupported, where we sent it."""
    if not isinstance(error, openai.APIStatusError) or error.status_code not in (400, 422):
        return None
    message = _message(error) if isinstance(error.body, dict) else error.response.text
    for name in sent:
        named = error.param == name or re.search(rf"\b{name}\b", message)
        if named and (_REFUSAL.search(message) or error.code in ("unsupported_parameter", "unsupported_value")):
            return name
    return None


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
            # Measured on the server's own clock where it tells the time: ours may be wrong or jump.
            now = email.utils.parsedate_to_datetime(headers["date"]).timestamp() if "date" in headers else time.time()
            return max(0.0, then - now)
    except (ValueError, TypeError):
        return None
