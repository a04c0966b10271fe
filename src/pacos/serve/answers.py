"""The one path of every question, from the page or the API: check, generate, hold back, check, show."""

import asyncio
import time
import uuid
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import cast

from pacos.core.errors import PacosError
from pacos.engines import Delta, Engine, Message, Request, Sampling, Usage
from pacos.engines.types import FinishReason
from pacos.guard import Moderator
from pacos.serve.sentences import SentenceBuffer

MAX_IN_FLIGHT = 64
MAX_PROMPT_CHARACTERS = 32_000
# A listed phrase may begin in what was shown and end in what is held; this much is checked again.
CONTEXT_CHARACTERS = 400
NOTICE = "[The rest of this answer was withheld by this server's content filter.]"

Prompt = str | tuple[Message, ...]


class RefusalError(Exception):
    """A question that gets no answer: HTTP status, OpenAI's error code, and a line for a person."""

    def __init__(self, status: int, code: str, message: str, retry_after_seconds: float | None = None) -> None:
        super().__init__(message)
        self.status, self.code, self.message = status, code, message
        self.retry_after_seconds = retry_after_seconds


@dataclass(frozen=True, slots=True)
class Piece:
    """Text that may be shown; the first is empty and says that the engine has begun."""

    text: str


@dataclass(frozen=True, slots=True)
class End:
    """How the answer ended. After a withheld part the usage counts the pieces that the engine had made."""

    finish_reason: FinishReason
    usage: Usage
    seconds: float


@dataclass
class Answers:
    """Questions in, checked text out; `holds_back` is off where nothing is checked, and then text flows at once."""

    engine: Engine
    moderator: Moderator
    holds_back: bool
    _in_flight: int = field(default=0, init=False)

    async def answer(self, prompt: Prompt, sampling: Sampling) -> AsyncGenerator[Piece | End, None]:
        """Yields an empty Piece, then checked Pieces, then one End; closing the generator frees the engine.

        Raises RefusalError where the question is too long, is flagged, does not fit the model or finds the server full.
        """
        await self._admit(prompt)
        self._in_flight += 1
        try:
            request = Request(f"serve-{uuid.uuid4().hex}", prompt, sampling)
            stream = cast(AsyncGenerator[Delta, None], self.engine.stream(request))
            async with aclosing(stream) as deltas, aclosing(self._checked(deltas)) as pieces:
                async for piece in pieces:
                    yield piece
        except PacosError as error:
            raise RefusalError(400, "invalid_prompt", str(error)) from error
        finally:
            self._in_flight -= 1

    async def _admit(self, prompt: Prompt) -> None:
        text = prompt if isinstance(prompt, str) else "\n".join(message.content for message in prompt)
        if len(text) > MAX_PROMPT_CHARACTERS:
            raise RefusalError(
                400,
                "context_length_exceeded",
                f"The prompt has {len(text):,} characters; this server takes at most {MAX_PROMPT_CHARACTERS:,}.",
            )
        if self._in_flight >= MAX_IN_FLIGHT:
            raise RefusalError(
                503, "overloaded", "The server is answering as many questions as it can; try again soon.", 5
            )
        if await self._is_flagged(text):
            raise RefusalError(
                400, "content_filter", "This request was refused by the server's content filter. Please rephrase it."
            )

    async def _is_flagged(self, text: str) -> bool:
        # In a thread: a moderation model must not stop the other answers.
        return (await asyncio.to_thread(self.moderator.check, text)).flagged if self.holds_back else False

    async def _checked(self, deltas: AsyncIterator[Delta]) -> AsyncGenerator[Piece | End, None]:
        started = time.perf_counter()
        buffer, shown, num_deltas = SentenceBuffer(), "", 0
        async for delta in deltas:
            if num_deltas == 0:
                yield Piece("")
            num_deltas += 1
            ready = buffer.add(delta.text) if self.holds_back else delta.text
            if delta.reply:
                ready += buffer.rest()
            if ready and await self._is_flagged(shown[-CONTEXT_CHARACTERS:] + ready):
                yield Piece(f"\n\n{NOTICE}" if shown else NOTICE)
                yield End("content_filter", _usage(delta, num_deltas), time.perf_counter() - started)
                return
            if ready:
                shown += ready
                yield Piece(ready)
            if delta.reply:
                yield End(delta.reply.finish_reason, delta.reply.usage, time.perf_counter() - started)
                return
        raise RuntimeError(f"engine {self.engine.name} ended a stream without its reply")


def _usage(delta: Delta, num_deltas: int) -> Usage:
    return delta.reply.usage if delta.reply else Usage(completion_tokens=num_deltas)
