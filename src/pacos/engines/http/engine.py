"""HttpEngine: asks an OpenAI-compatible server, with its own retries, pace and accounts."""

import asyncio
import os
import re
import time
from collections.abc import AsyncIterator, Iterable
from typing import Any

import httpx2
import openai

from pacos.core.errors import PacosError
from pacos.core.recipe import EngineTable
from pacos.engines.http import protocol
from pacos.engines.http.errors import BrokenBodyError, NotOpenAIError, Trouble, one_line, refused_parameter, trouble_of
from pacos.engines.http.pace import Pace
from pacos.engines.prices import Prices, is_loopback
from pacos.engines.types import Delta, Failure, Reply, Request

ATTEMPTS = 8
ATTEMPTS_AT_FIRST_CONTACT = 3
# A request gives up when the server has made it wait this long in all.
PATIENCE_SECONDS = 900.0
CONNECT_SECONDS = 10.0


class HttpEngine:
    """Any OpenAI-compatible server. Raises PacosError where the address or the key is missing.

    `timeout_seconds` is the longest wait for one answer; it shrinks to a multiple of what the server really takes.
    """

    def __init__(self, table: EngineTable, timeout_seconds: float = 600.0) -> None:
        if not re.match(r"https?://.", table.base_url):
            raise PacosError(
                f"base_url is {table.base_url!r}; the http engine needs the server's address up to and including "
                "its version, such as http://127.0.0.1:8000/v1."
            )
        self._table = table
        self._model = table.model or "default"
        self._shown_url = re.sub(r"//[^@/]*@", "//", table.base_url)
        self.name = f"{self._model} ({self._shown_url})"
        self._key = _read_key(table)
        self._prices = Prices(table)
        self._pace = Pace(table.concurrency, timeout_seconds)
        self._refused: set[str] = set()
        self._client = openai.AsyncOpenAI(
            base_url=table.base_url,
            api_key=self._key or "none",
            max_retries=0,
            # A proxy from the environment must not stand between this machine and itself.
            http_client=openai.DefaultAsyncHttpxClient(trust_env=not is_loopback(table.base_url)),
        )

    async def complete(self, requests: Iterable[Request]) -> AsyncIterator[Reply | Failure]:
        """Answers every request once, as answers arrive; takes the next request only when one may be sent."""
        source = iter(requests)
        pending: set[asyncio.Task[Reply | Failure]] = set()
        try:
            more = True
            while more or pending:
                while more and len(pending) < self._pace.limit:
                    request = next(source, None)
                    if request is None:
                        more = False
                    else:
                        pending.add(asyncio.create_task(self._answer(request)))
                if pending:
                    done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
                    for task in done:
                        yield task.result()
        finally:
            for task in pending:
                task.cancel()
            await asyncio.gather(*pending, return_exceptions=True)

    async def stream(self, request: Request) -> AsyncIterator[Delta]:
        """Answers one request piece by piece; PacosError where the server fails."""
        start = time.monotonic()
        text, reason, usage = "", None, None
        try:
            async for event in await self._open_stream(request):
                usage = event.get("usage") or usage
                for choice in event.get("choices") or ():
                    reason = choice.get("finish_reason") or reason
                    piece = protocol.plain_text((choice.get("delta") or {}).get("content") or choice.get("text"))
                    if piece:
                        text += piece
                        yield Delta(piece)
        except (openai.OpenAIError, NotOpenAIError, httpx2.HTTPError) as error:
            raise PacosError(self._line(self._trouble(error))) from None
        counts = protocol.read_counts(usage, request, text)
        usd = self._prices.usd(counts.prompt, counts.completion, counts.cached)
        ended = protocol.finish_reason(reason)
        yield Delta("", protocol.reply_of(request, text, ended, counts, usd, time.monotonic() - start))

    async def close(self) -> None:
        """Closes the connections."""
        await self._client.close()

    async def _answer(self, request: Request) -> Reply | Failure:
        waited, attempt = 0.0, 0
        while True:
            await self._pace.ready()
            attempt += 1
            body = protocol.body_of(request, self._model, self._table.api, self._refused)
            try:
                return await self._ask(request, body)
            except (openai.OpenAIError, NotOpenAIError, BrokenBodyError, httpx2.HTTPError) as error:
                refused = refused_parameter(error, [key for key in body if key in protocol.REFUSABLE])
                if refused is not None and refused not in self._refused:
                    self._refused.add(refused)
                    continue
                trouble = self._trouble(error)
            if trouble.filtered:
                return Reply(request.id, "", "content_filter")
            wait = self._wait_seconds(trouble, attempt)
            if not trouble.retry or waited + wait > PATIENCE_SECONDS or self._is_spent(trouble, attempt):
                return self._failure(request, trouble)
            waited += wait
            await asyncio.sleep(wait)

    async def _ask(self, request: Request, body: dict[str, Any]) -> Reply:
        start = time.monotonic()
        endpoint = self._client.chat.completions if self._table.api == "chat" else self._client.completions
        timeout = httpx2.Timeout(self._pace.timeout_seconds, connect=CONNECT_SECONDS)
        # The raw response: whatever a server sends is read here, not by a library that trusts it.
        response = await endpoint.with_raw_response.create(**body, timeout=timeout)
        answer = protocol.read_json(response.text, response.headers.get("content-type", ""))
        text, reason = protocol.read_reply(answer)
        text = self._masked(text)
        seconds = time.monotonic() - start
        self._pace.answered(seconds)
        counts = protocol.read_counts(answer.get("usage"), request, text)
        usd = self._prices.usd(counts.prompt, counts.completion, counts.cached)
        return protocol.reply_of(request, text, reason, counts, usd, seconds)

    async def _open_stream(self, request: Request) -> AsyncIterator[dict[str, Any]]:
        body = protocol.body_of(request, self._model, self._table.api, self._refused)
        endpoint = self._client.chat.completions if self._table.api == "chat" else self._client.completions
        events = await endpoint.create(**body, stream=True, stream_options={"include_usage": True})
        return (event.model_dump() async for event in events)

    def _wait_seconds(self, trouble: Trouble, attempt: int) -> float:
        if trouble.kind == "rate_limit":
            self._pace.rate_limited(trouble.wait_seconds)
        backoff = self._pace.wait_seconds(attempt)
        # The jitter comes on top of what the server asks, so that not all come back in one instant.
        return backoff if trouble.wait_seconds is None else trouble.wait_seconds + min(backoff, 1.0) * 0.1

    def _is_spent(self, trouble: Trouble, attempt: int) -> bool:
        if trouble.kind == "rate_limit":
            return False
        return attempt >= (ATTEMPTS if self._pace.ever_answered else ATTEMPTS_AT_FIRST_CONTACT)

    def _trouble(self, error: Exception) -> Trouble:
        if isinstance(error, httpx2.TimeoutException):
            return Trouble("timeout", "no answer in time", retry=True)
        if isinstance(error, httpx2.HTTPError):
            return Trouble("connection", str(error) or "connection lost", retry=True)
        return trouble_of(error)

    def _failure(self, request: Request, trouble: Trouble) -> Failure:
        # A server that never answered one request will not answer the others either.
        fatal = trouble.fatal or (trouble.retry and not self._pace.ever_answered)
        return Failure(request.id, trouble.kind, self._line(trouble), fatal)

    def _line(self, trouble: Trouble) -> str:
        advice = {
            "auth": f"Check the key in the environment variable {self._table.api_key_env}.",
            "quota": "Top up the account or use another key.",
            "bad_request": f"Check base_url, model ({self._model!r}) and api ({self._table.api!r}).",
        }.get(trouble.kind, "Check that the server is up and base_url is right.")
        return f"{self._shown_url}: {one_line(self._masked(trouble.message))}. {advice}"

    def _masked(self, text: str) -> str:
        """The text without the key: a server may send back what it was sent, and replies are kept."""
        return text.replace(self._key, "***") if self._key else text


def _read_key(table: EngineTable) -> str:
    key = os.environ.get(table.api_key_env, "").strip()
    if not key and not is_loopback(table.base_url):
        raise PacosError(
            f"the environment variable {table.api_key_env} is empty; expected the key for {table.base_url}. "
            "Set it, or name another variable as api_key_env."
        )
    if not key.isascii():
        raise PacosError(f"the environment variable {table.api_key_env} holds characters that no key has; set it anew.")
    return key
