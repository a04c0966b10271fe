"""What went wrong with a request, and what can be done: the one place that knows servers' errors."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import httpx2
import openai

from pacos.engines.http.body import REFUSABLE
from pacos.engines.http.waits import retry_after_seconds, wait_seconds

Kind = Literal["auth", "quota", "rate_limit", "timeout", "connection", "bad_request", "server"]

# A limit that passes may be worded like a bill ("add a payment method"): the code or type is trusted before the words.
_QUOTA_CODE = re.compile(r"insufficient_quota|billing|insufficient.balance", re.I)
_QUOTA = re.compile(r"exceeded your current quota|billing.{0,6}limit|insufficient.balance|out of credit", re.I)
_RATE_CODES = {"rate_limit_exceeded", "requests", "tokens"}
_REFUSAL = re.compile(r"support|unrecognized|unknown|unexpected|not permitted|not allowed|extra|invalid param", re.I)
# What fails before the whole request is out; whatever else fails on the way may have reached the model.
_NOT_SENT = (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout, httpx2.WriteError, httpx2.WriteTimeout)
_NEVER_SENT = (httpx2.LocalProtocolError, httpx2.UnsupportedProtocol, httpx2.InvalidURL)
# A gateway that ran out of patience says nothing about the model behind it, which may have answered and be paid.
_GATEWAY_TIMEOUTS = (504, 524)
LEFT_AT_A_STOP = "not sent again because of a stop"


@dataclass(frozen=True, slots=True)
class Trouble:
    """One failed attempt. `retry` means that the same request may succeed later, `fatal` that no other can either.

    `maybe_billed` means that the server may have answered, and charged for, what never arrived here; `refused` names
    parameters that it says it does not know.
    """

    kind: Kind
    message: str
    retry: bool = False
    fatal: bool = False
    wait_seconds: float | None = None
    filtered: bool = False
    maybe_billed: bool = False
    refused: tuple[str, ...] = ()

    def refused_of(self, sent: dict[str, Any]) -> str | None:
        """The first parameter of the body sent that the server does not know, if it says so."""
        return next((name for name in sent if name in self.refused), None)


class NoReplyError(Exception):
    """The server answered with something that is no reply of the protocol, or not all of one."""

    def __init__(self, message: str, maybe_billed: bool = False, kind: Kind = "server") -> None:
        super().__init__(message)
        self.trouble = Trouble(kind, message, retry=True, maybe_billed=maybe_billed)


# Whatever an attempt can end in, other than a reply.
ATTEMPT_ERRORS = (openai.OpenAIError, httpx2.HTTPError, httpx2.InvalidURL, TimeoutError, NoReplyError)


def trouble_of(error: Exception) -> Trouble:
    """Reads what a request raised other than an error answer: of the openai library, its transport, or this module."""
    if isinstance(error, NoReplyError):
        return error.trouble
    if isinstance(error, (openai.APIConnectionError, httpx2.HTTPError, httpx2.InvalidURL, TimeoutError)):
        return _connection_trouble(error)
    if isinstance(error, openai.APIError):
        # An error event in the middle of a stream has no status.
        return Trouble("server", str(error), retry=True)
    raise error


def _connection_trouble(error: Exception) -> Trouble:
    cause = error.__cause__ if isinstance(error, openai.APIConnectionError) and error.__cause__ else error
    if isinstance(cause, NoReplyError):
        return cause.trouble
    if isinstance(cause, _NEVER_SENT):
        return Trouble("bad_request", f"the request cannot be sent: {cause}", fatal=True)
    maybe_billed = not isinstance(cause, _NOT_SENT)
    if isinstance(error, openai.APITimeoutError) or isinstance(cause, (httpx2.TimeoutException, TimeoutError)):
        return Trouble("timeout", "no answer in time", retry=True, maybe_billed=maybe_billed)
    return Trouble("connection", str(cause) or "connection lost", retry=True, maybe_billed=maybe_billed)


def status_trouble(status: int, body: Any, text: str = "", headers: Mapping[str, str] | None = None) -> Trouble:
    """Reads an error answer; `body` is its JSON, or what the openai library took out of it as the error itself."""
    headers = headers or {}
    error = _error_in(body)
    message = _message(error, text)
    code = error.get("code")
    if status == 401 or (status == 403 and error):
        return Trouble("auth", f"the server refuses the key ({status}: {message})", fatal=True)
    wait = retry_after_seconds(headers)
    if status == 402 or (status == 429 and _is_quota(error, message, wait)):
        return Trouble("quota", f"the account has no quota left ({status}: {message})", fatal=True)
    if status == 429:
        wait = wait_seconds(headers) if wait is None else wait
        return Trouble("rate_limit", f"rate limit ({message})", retry=True, wait_seconds=wait)
    if status in (403, 404, 405, 501) or code == "model_not_found":
        # A page in place of an error object is what a gateway shows while the server behind it is away.
        message = f"no such model or address ({status}: {message})"
        return Trouble("bad_request", message, retry=not error, fatal=bool(error))
    if status in (408, 409, 425) or status >= 500:
        message, maybe_billed = f"server error ({status}: {message})", status in _GATEWAY_TIMEOUTS
        return Trouble("server", message, retry=True, wait_seconds=wait, maybe_billed=maybe_billed)
    refused = _refused(error, message) if status in (400, 422) else ()
    message = f"the server refuses the request ({status}: {message})"
    return Trouble("bad_request", message, filtered=code == "content_filter", refused=refused)


def _refused(error: dict[str, Any], message: str) -> tuple[str, ...]:
    """The parameters that an error names as unknown or unsupported."""
    if not _REFUSAL.search(message) and error.get("code") not in ("unsupported_parameter", "unsupported_value"):
        return ()
    named = error.get("param")
    return tuple(name for name in REFUSABLE if name == named or re.search(rf"\b{name}\b", message))


def _is_quota(error: dict[str, Any], message: str, wait_seconds: float | None) -> bool:
    """Whether a 429 says that the account is empty, and not that it asks too fast."""
    names = [str(error.get(key)) for key in ("code", "type")]
    if any(_QUOTA_CODE.search(name) for name in names):
        return True
    # Who says when to come back expects to answer then.
    return wait_seconds is None and _RATE_CODES.isdisjoint(names) and bool(_QUOTA.search(message))


def _error_in(body: Any) -> dict[str, Any]:
    """The error object of an answer, wherever servers put it; empty where there is none."""
    if isinstance(body, dict) and isinstance(body.get("error"), dict):
        body = body["error"]
    return body if isinstance(body, dict) else {}


def _message(error: dict[str, Any], text: str) -> str:
    said = error.get("message") or error.get("error") or error.get("detail") or error
    if said:
        return str(said)
    return "an HTML page" if text.lstrip()[:1] == "<" else text.strip() or "an empty answer"


def one_line(text: str, length: int = 240) -> str:
    """The text on one line, cut where it is long."""
    # A terminal takes some of what cannot be printed as commands.
    text = " ".join("".join(character if character.isprintable() else " " for character in text).split())
    return text if len(text) <= length else text[: length - 1] + "…"
