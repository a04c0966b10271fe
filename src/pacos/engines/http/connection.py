"""One server: its address, key and client, its replies read, and its troubles told without the key."""

import base64
import os
import re
import sys
from dataclasses import replace
from typing import Any
from urllib.parse import quote, unquote, urlsplit

import httpx2
import openai

from pacos.core.errors import PacosError
from pacos.core.recipe import EngineTable
from pacos.engines.http import protocol
from pacos.engines.http.bounded import BoundedClient
from pacos.engines.http.errors import Trouble, one_line
from pacos.engines.prices import Prices, is_loopback
from pacos.engines.types import Reply, Request

# Shorter keys are placeholders such as "none", which a reply may well contain.
SHORTEST_SECRET = 8


class Connection:
    """Raises PacosError where the address or the key is missing or cannot be one."""

    def __init__(self, table: EngineTable) -> None:
        _check_address(table.base_url)
        self._key = _read_key(table)
        self._key_variable = table.api_key_env
        self._secrets = _secrets(self._key, table.base_url)
        self.table, self.model, self.prices = table, table.model or "default", Prices(table)
        self.shown_url = self.masked(_shown(table.base_url))
        self.client = openai.AsyncOpenAI(
            base_url=table.base_url,
            api_key=self._key or "none",
            max_retries=0,
            # A proxy from the environment must not stand between this machine and itself.
            http_client=BoundedClient(trust_env=not is_loopback(table.base_url)),
        )

    @property
    def name(self) -> str:
        """Model and address, as ledgers and reports show them."""
        return f"{self.model} ({self.shown_url})"

    def body(self, request: Request, refused: set[str]) -> dict[str, Any]:
        """The JSON to send, without what the server refuses."""
        return protocol.body_of(request, self.model, self.table.api, refused)

    def reply(self, answer: dict[str, Any], request: Request, body: dict[str, Any], seconds: float) -> Reply:
        """Reads an answer's JSON to the body that was sent; NotOpenAIError where it is no completion."""
        text, reason = protocol.read_reply(answer)
        reply = self.reply_of(request, self.masked(text), reason, answer.get("usage"), seconds)
        return replace(reply, left_out=protocol.left_out(request, body))

    def reply_of(self, request: Request, text: str, reason: str | None, said: Any, seconds: float) -> Reply:
        """A Reply with its cost by the `usage` that the server said, ended at the request's stop strings."""
        usage, cached_tokens = protocol.read_usage(said, request, text)
        usd = self.prices.usd(usage.prompt_tokens, usage.completion_tokens, cached_tokens)
        text, ended = protocol.cut_at_stop(text, protocol.finish_reason(reason), request)
        return Reply(request.id, text, ended, usage, usd, seconds)

    def line(self, trouble: Trouble, advice: str = "") -> str:
        """What happened and what to do, on one line, without the key."""
        key_advice = "Check the key in" if self._key else "No key was sent: set it in"
        advice = advice or {
            "auth": f"{key_advice} the environment variable {self._key_variable}.",
            "quota": "Top up the account or use another key.",
            "rate_limit": "Come back when it allows more, or use another key.",
            "bad_request": f"Check base_url, model ({self.model!r}) and api ({self.table.api!r}).",
        }.get(trouble.kind, "Check that the server is up and base_url is right.")
        # Masked before it is cut: half a key would no longer be recognised.
        return f"{self.shown_url}: {one_line(self.masked(trouble.message)).rstrip('.')}. {advice}"

    def tell_refused(self, parameter: str) -> None:
        """Says what the server does not take, where that shapes its replies."""
        if parameter in ("temperature", "top_p", "seed"):
            print(f"{self.name}: does not take {parameter}; asking without it", file=sys.stderr)

    def masked(self, text: str) -> str:
        """The text without the key: a server may send back what it was sent, and replies are kept."""
        for secret in self._secrets:
            text = text.replace(secret, "***")
        return text


def _check_address(base_url: str) -> None:
    try:
        parts = urlsplit(base_url)
        # Reading the port refuses one that is no number.
        is_address = bool(re.match(r"https?://.", base_url) and parts.hostname) and parts.port != 0
        # The client has its own idea of an address.
        httpx2.URL(base_url)
    except (ValueError, httpx2.InvalidURL):
        is_address = False
    if not is_address:
        raise PacosError(
            f"base_url is {_shown(base_url)!r}; the http engine needs the server's address up to and including "
            "its version, such as http://127.0.0.1:8000/v1."
        )


def _shown(base_url: str) -> str:
    """The address without user, password and query."""
    return re.sub(r"//[^/]*@", "//", base_url).partition("?")[0]


def _secrets(key: str, base_url: str) -> list[str]:
    """Every form in which a server can send back the key, or what the address holds of that kind; longest first."""
    parts = urlsplit(base_url)
    user = parts.netloc.rpartition("@")[0]
    values = [pair.partition("=")[2] for pair in parts.query.split("&")]
    found = {key, user, unquote(user), *user.split(":"), *values}
    found |= {base64.b64encode(text.encode()).decode() for text in (user, unquote(user)) if text}
    found |= {form(text) for text in set(found) for form in (unquote, lambda text: quote(text, safe=""))}
    return sorted((text for text in found if len(text) >= SHORTEST_SECRET), key=len, reverse=True)


def _read_key(table: EngineTable) -> str:
    key = os.environ.get(table.api_key_env, "").strip()
    if not key and not is_loopback(table.base_url):
        raise PacosError(
            f"the environment variable {table.api_key_env} is empty; expected the key for {_shown(table.base_url)}. "
            "Set it, or name another variable as api_key_env."
        )
    if not re.fullmatch(r"[!-~]*", key):
        raise PacosError(f"the environment variable {table.api_key_env} holds characters that no key has; set it anew.")
    return key
