"""The one path of every question, from the page or the API: check, generate, hold back, check, show."""

import asyncio
import time
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import cast

from pacos.engines import Delta, Engine, Request, RequestFailedError, Sampling, Usage
from pacos.engines.types import FinishReason
from pacos.guard import Moderator
from pacos.serve.model import Prompt, ServedModel, begun_answer
from pacos.serve.sentences import SentenceBuffer
from pacos.web.error_shape import RefusalError

# The local engine writes up to 32 at once; as many again wait in line, each until one of those has ended.
MAX_IN_FLIGHT = 64
MAX_PROMPT_CHARACTERS = 32_000
# A listed phrase may begin in what was shown and end in what is held; this much is checked again.
CONTEXT_CHARACTERS = 400
NOTICE = "[The rest of this answer was withheld by this server's content filter.]"


@dataclass(frozen=True, slots=True)
class Piece:
    """Text that may be shown; the first is empty and says that the engine has begun."""

    text: str


@dataclass(frozen=True, slots=True)
class End:
    """How the answer ended. After a withheld part the usage is of the prompt and of all that the engine had made."""

    finish_reason: FinishReason
    usage: Usage
    seconds: float


@dataclass
class Answers:
    """Questions in, checked text out; `holds_back` is off where nothing is checked, and then text flows at once.

    `usage_of(prompt, text)` counts the tokens of an answer that the engine was not let finish.
    """

    engine: Engine
    model: ServedModel
    moderator: Moderator
    holds_back: bool
    usage_of: Callable[[Prompt, str], Usage]
    _in_flight: int = field(default=0, init=False)

    async def answer(self, question: Prompt, sampling: Sampling) -> AsyncGenerator[Piece | End, None]:
        """Yields an empty Piece, then checked Pieces, then one End; closing the generator frees the engine.

        A question of messages is put into the model's own form here, after it was checked as its author wrote it; one
        that ends with the assistant's words is gone on with from there.
        Raises RefusalError where the question is too long, is flagged, does not fit the model or finds the server full.
        """
        said = (question,) if isinstance(question, str) else tuple(m.content for m in self.model.heard(question))
        self._admit(sum(map(len, said)))
        self._in_flight += 1
        try:
            await self._refuse_flagged(said)
            prompt = question if isinstance(question, str) else self.model.prompt(question)
            begun, literal = begun_answer(question), not isinstance(question, str)
            request = Request(f"serve-{uuid.uuid4().hex}", prompt, sampling, begun, literal)
            stream = cast(AsyncGenerator[Delta, None], self.engine.stream(request))
            async with aclosing(stream) as deltas, aclosing(self._checked(prompt, deltas, begun)) as pieces:
                async for piece in pieces:
                    yield piece
        except RequestFailedError as error:
            # Without the engine's name, which is where the model lies on this machine.
            code = "context_length_exceeded" if error.failure.kind == "context_length" else "invalid_prompt"
            raise RefusalError(400, code, error.failure.message) from error
        finally:
            self._in_flight -= 1

    def _admit(self, num_characters: int) -> None:
        if num_characters > MAX_PROMPT_CHARACTERS:
            raise RefusalError(
                400,
                "context_length_exceeded",
                f"The prompt has {num_characters:,} characters; this server takes at most {MAX_PROMPT_CHARACTERS:,}.",
            )
        if self._in_flight >= MAX_IN_FLIGHT:
            raise RefusalError(
                503, "overloaded", "As many questions are waiting as this server takes; try again soon.", 5
            )

    async def _refuse_flagged(self, said: tuple[str, ...]) -> None:
        # Each alone, so that a message's beginning is a beginning; and all in one, for a question spread over messages.
        texts = said if len(said) == 1 else (*said, "\n".join(said))
        if any([await self._is_flagged(text) for text in texts]):
            raise RefusalError(400, "content_filter", "This request was refused by the server's content filter.")

    async def _is_flagged(self, text: str) -> bool:
        # In a thread: a moderation model must not stop the other answers.
        return (await asyncio.to_thread(self.moderator.check, text)).flagged if self.holds_back else False

    async def _checked(
        self, prompt: Prompt, deltas: AsyncIterator[Delta], shown: str
    ) -> AsyncGenerator[Piece | End, None]:
        started = time.perf_counter()
        buffer, made, is_first = SentenceBuffer(), "", True
        async for delta in deltas:
            if is_first:
                yield Piece("")
            is_first = False
            made += delta.text
            ready = buffer.add(delta.text) if self.holds_back else delta.text
            if delta.reply:
                ready += buffer.rest()
            if ready and await self._is_flagged(shown[-CONTEXT_CHARACTERS:] + ready):
                yield Piece(f"\n\n{NOTICE}" if shown else NOTICE)
                usage = delta.reply.usage if delta.reply else self.usage_of(prompt, made)
                yield End("content_filter", usage, time.perf_counter() - started)
                return
            if ready:
                shown += ready
                yield Piece(ready)
            if delta.reply:
                yield End(delta.reply.finish_reason, delta.reply.usage, time.perf_counter() - started)
                return
        raise RuntimeError(f"engine {self.engine.name} ended a stream without its reply")
