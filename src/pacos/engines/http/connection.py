"""One server: its address and key, what is sent there, and what is said about it."""

import os
import re
import sys
from collections.abc import AsyncGenerator, Set
from typing import Any
from urllib.parse import urlsplit

import httpx2
import openai

from pacos.core.errors import PacosError
from pacos.core.recipe import EngineTable
from pacos.engines.http.body import BEYOND_OPENAI, body_of, shapes_replies
from pacos.engines.http.bounded import BoundedClient
from pacos.engines.http.masking import Mask
from pacos.engines.http.troubles import Trouble, one_line
from pacos.engines.prices import is_loopback
from pacos.engines.types import Request

CONNECT_SECONDS = 10.0
# Whoever has ever new words need not be quoted for ever.
MOST_TOLD = 10


class Connection:
    """Raises PacosError where the address or the key is missing or cannot be one."""

    def __init__(self, table: EngineTable) -> None:
        _check_address(table.base_url)
        self._key = _read_key(table)
        self._table = table
        self.model = table.model or "default"
        self.mask = Mask(self._key, table.base_url)
        self.shown_url = self.mask.text(_shown(table.base_url))
        # As ledgers and reports show it.
        self.name = f"{self.model} ({self.shown_url})"
        self.refused: set[str] = set()
        """Parameters that the server was found not to take."""
        self._told: set[str] = set()
        self.client = openai.AsyncOpenAI(
            base_url=table.base_url,
            api_key=self._key or "none",
            max_retries=0,
            # A proxy from the environment must not stand between this machine and itself.
            http_client=BoundedClient(trust_env=not is_loopback(table.base_url)),
        )
        is_chat = table.api == "chat"
        self._endpoint: Any = self.client.chat.completions if is_chat else self.client.completions
        self.path: Any = "/v1/chat/completions" if is_chat else "/v1/completions"
        """The endpoint's path, as a batch names it."""

    def body(self, request: Request, refused: Set[str]) -> dict[str, Any]:
        """The JSON to send, without what the server refuses."""
        return body_of(request, self.model, self._table.api, refused)

    async def send(self, body: dict[str, Any], seconds: float) -> Any:
        """The raw response: whatever a server sends is read here, not by a library that trusts it."""
        timeout = httpx2.Timeout(seconds, connect=CONNECT_SECONDS)
        return await self._endpoint.with_raw_response.create(**_arguments(body), timeout=timeout)

    async def stream(self, body: dict[str, Any]) -> AsyncGenerator[dict[str, Any], None]:
        """The events of a streamed response; closing the generator closes the connection."""
        async with await self._endpoint.create(**_arguments(body), stream=True) as events:
            async for event in events:
                yield event.model_dump()

    def leave_out(self, parameter: str) -> None:
        """Notes a parameter that the server does not take, and says so where that shapes its replies."""
        if parameter not in self.refused and shapes_replies(parameter):
            print(f"{self.name}: does not take {parameter}; asking without it", file=sys.stderr)
        self.refused.add(parameter)

    def tell_once(self, what: str) -> None:
        """Says something about the server on stderr, the first time."""
        if what not in self._told and len(self._told) < MOST_TOLD:
            self._told.add(what)
            print(f"{self.name}: {one_line(what)}", file=sys.stderr)

    def line(self, trouble: Trouble, advice: str = "") -> str:
        """What happened and what to do, on one line."""
        key_advice = "Check the key in" if self._key else "No key was sent: set it in"
        advice = advice or {
            "auth": f"{key_advice} the environment variable {self._table.api_key_env}.",
            "quota": "Top up the account or use another key.",
            "context_length": "Ask for less: a shorter prompt, or a lower max_tokens.",
            "rate_limit": "Come back when it allows more, or use another key.",
            "bad_request": f"Check base_url, model ({self.model!r}) and api ({self._table.api!r}).",
        }.get(trouble.kind, "Check that the server is up and base_url is right.")
        return f"{self.shown_url}: {one_line(trouble.message).rstrip('.')}. {advice}"


def _arguments(body: dict[str, Any]) -> dict[str, Any]:
    """The body as the openai library takes it: what OpenAI's API has not goes beside."""
    beyond = {name: body[name] for name in BEYOND_OPENAI if name in body}
    return {name: value for name, value in body.items() if name not in beyond} | {"extra_body": beyond}


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
