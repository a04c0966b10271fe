"""What went wrong with a request, and what can be done about it."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import httpx2
import openai

from pacos.engines.http.dialects import (
    BAD_VALUE,
    CODES,
    PASSES,
    REFUSAL_CODES,
    REFUSALS,
    SPELLINGS,
    TOO_LARGE,
    WORDS,
    Kind,
    Verdict,
    plain,
)
from pacos.engines.http.error_body import ErrorBody, read_error
from pacos.engines.http.waits import retry_after_seconds, spoken_seconds, wait_seconds

_REFUSAL = re.compile("|".join(words for words, _ in REFUSALS), re.I)
# What fails before the whole request is out; whatever else fails on the way may have reached the model.
_NOT_SENT = (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout, httpx2.WriteError, httpx2.WriteTimeout)
_NEVER_SENT = (httpx2.LocalProtocolError, httpx2.UnsupportedProtocol, httpx2.InvalidURL)
_BY_STATUS: dict[int, Verdict] = {
    **{401: "auth", 402: "quota", 404: "missing", 405: "missing", 413: "context_length", 429: "rate_limit"},
    **{408: "server", 409: "server", 425: "server", 498: "server", 501: "missing"},
}
# A gateway that ran out of patience says nothing about the model behind it, which may have answered and be paid.
_GATEWAY_TIMEOUTS = (504, 524)
# What an error that comes without a status counts as: it may pass.
_NO_STATUS = 500
LEFT_AT_A_STOP = "not sent again because of a stop"
# How soon a stop is noticed while nothing else happens.
STOP_POLL_SECONDS = 0.5
# A server that has never answered is not out of service but wrong, and is tried no more often than this.
ATTEMPTS_AT_FIRST_CONTACT = 3
# How long in all a server that has answered is waited for: by one request, one call of the Batch API, or an outage.
PATIENCE_SECONDS = 900.0


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
        return next((name for name in self.refused if name in sent), None)


class NoReplyError(Exception):
    """The server answered with something that is no reply of the protocol, or not all of one."""

    def __init__(
        self, message: str, maybe_billed: bool = False, kind: Kind = "server", trouble: Trouble | None = None
    ) -> None:
        super().__init__(message)
        self.trouble = trouble or Trouble(kind, message, retry=True, maybe_billed=maybe_billed)


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
        return said_trouble(error.body, str(error))
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
    error = read_error(body, headers.get("date", ""))
    message = _message(error, body, text)
    by_header, in_words = retry_after_seconds(headers), spoken_seconds(message)
    named = _some(by_header, *error.waits, in_words)
    verdict = _verdict(status, error, message)
    # Who says when to come back expects to answer then, however much it speaks of bills.
    if verdict == "quota" and named:
        verdict = "rate_limit"
    match verdict:
        case "filtered":
            return Trouble("bad_request", f"the server filters the request ({status}: {message})", filtered=True)
        case "auth":
            return Trouble("auth", f"the server refuses the key ({status}: {message})", fatal=True)
        case "quota":
            return Trouble("quota", f"the account has no quota left ({status}: {message})", fatal=True)
        case "rate_limit":
            waits = _some(by_header, *error.waits, wait_seconds(headers), in_words)
            wait = next(iter(waits), None)
            return Trouble("rate_limit", f"rate limit ({message})", retry=True, wait_seconds=wait)
        case "missing":
            # A page in place of an error object is what a gateway shows while the server behind it is away.
            message, is_error = f"no such model or address ({status}: {message})", error.is_object
            return Trouble("bad_request", message, retry=not is_error, fatal=is_error)
        case "context_length":
            return Trouble("context_length", f"the server finds the request too long ({status}: {message})")
        case "server":
            message, maybe_billed = f"server error ({status}: {message})", status in _GATEWAY_TIMEOUTS
            wait = next(iter(named), None)
            return Trouble("server", message, retry=True, wait_seconds=wait, maybe_billed=maybe_billed)
    refused = _refused(error, message) if status in (400, 422) else ()
    return Trouble("bad_request", f"the server refuses the request ({status}: {message})", refused=refused)


def said_trouble(body: Any, text: str = "", begun: bool = False) -> Trouble:
    """Reads an error that comes where a reply should be, with a status of 200 or in the middle of a stream.

    `begun` says that there was some of a reply, which may be billed.
    """
    trouble = status_trouble(read_error(body).status or _NO_STATUS, body, text)
    return replace(trouble, maybe_billed=begun or trouble.maybe_billed)


def _verdict(status: int, error: ErrorBody, message: str) -> Verdict:
    """What an error means: by its code or type first, then by its status, then by its words."""
    by_code = next((what for what, codes, _ in CODES for code in error.codes if re.search(codes, code, re.I)), None)
    if by_code in (None, "rate_limit") and TOO_LARGE.search(message):
        return "context_length"
    if by_code is not None:
        return by_code
    by_words = next(
        (what for what, when, words, _ in WORDS if status in when and re.search(words, message, re.I)), None
    )
    if by_words == "quota" and PASSES.search(" ".join([message, *error.codes])):
        by_words = None
    if status == 403:
        return by_words or ("auth" if error.is_object else "missing")
    return by_words or _BY_STATUS.get(status, "server" if status >= 500 else "bad_request")


def _refused(error: ErrorBody, message: str) -> tuple[str, ...]:
    """The parameters that an error names as unknown or unsupported."""
    says_so = _REFUSAL.search(message) or not REFUSAL_CODES.isdisjoint(map(plain, error.codes))
    if not says_so or BAD_VALUE.search(message):
        return ()
    # Words name other things beside the one that is meant.
    where = error.params or [message]
    return tuple(
        name for name, written in SPELLINGS.items() if any(re.search(rf"\b{written}\b", text, re.I) for text in where)
    )


def _message(error: ErrorBody, body: Any, text: str) -> str:
    if error.message:
        return error.message
    if error.is_object:
        return str(body)
    return "an HTML page" if text.lstrip()[:1] == "<" else text.strip() or "an empty answer"


def _some(*seconds: float | None) -> list[float]:
    return [wait for wait in seconds if wait is not None]


def one_line(text: str, length: int = 240) -> str:
    """The text on one line, cut where it is long."""
    # A terminal takes some of what cannot be printed as commands.
    text = " ".join("".join(character if character.isprintable() else " " for character in text).split())
    return text if len(text) <= length else text[: length - 1] + "…"
