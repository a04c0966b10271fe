"""The one path of every question, from page or API: wait for a slot, check, generate, hold back, check, show."""

import asyncio
import time
import uuid
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import cast

from pacos.core.errors import PacosError
from pacos.engines import Delta, Engine, Message, Prompt, Request, RequestFailedError, Sampling, Usage
from pacos.engines.types import FinishReason, TokenLogprob
from pacos.guard import ModerationChain, ModerationResult, ModerationUnavailableError
from pacos.guard.notices import UNAVAILABLE, notice, refusal
from pacos.serve.fair_queue import FairQueue, Visitor
from pacos.serve.metrics import Metrics
from pacos.serve.model import ServedModel, begun_answer
from pacos.serve.question import Once, Question, ReadQuestion, SharedQuestion
from pacos.serve.sentences import SentenceBuffer
from pacos.serve.tokens import Tokens
from pacos.web.error_shape import RefusalError

MAX_PROMPT_CHARACTERS = 32_000
# A listed phrase may begin in what was shown and end in what is held; this much is checked again.
CONTEXT_CHARACTERS = 400


@dataclass(frozen=True, slots=True)
class Piece:
    """Text that may be shown; the first is empty and says that the engine has begun."""

    text: str
    logprobs: tuple[TokenLogprob, ...] = ()


@dataclass(frozen=True, slots=True)
class End:
    """How the answer ended. After a withheld part the usage is of the prompt and of all that the engine had made.

    `prompt_logprobs` are of the prompt's tokens where an echo was asked for.
    """

    finish_reason: FinishReason
    usage: Usage
    prompt_logprobs: tuple[TokenLogprob, ...] = ()


@dataclass
class Answers:
    """Questions in, checked text out; where `moderator` has no backend nothing is checked, and text flows at once.

    `on_end(text)` is told of every answer that the engine did finish, at once: it must not wait.
    """

    engine: Engine
    model: ServedModel
    moderator: ModerationChain
    tokens: Tokens
    metrics: Metrics = field(default_factory=Metrics)
    queue: FairQueue = field(default_factory=FairQueue)
    on_end: Callable[[str], None] = lambda text: None

    def question(self, given: Question) -> SharedQuestion:
        """A question to be answered, once or often; nothing is done for it before its first answer waits."""
        # In a thread: a long one takes its time, in which others are answered.
        reading = Once(lambda: asyncio.to_thread(self.read, given))

        async def judge() -> None:
            await self._refuse_flagged((await reading.result()).said)

        return SharedQuestion(given, reading, Once(judge))

    async def answer(
        self,
        question: SharedQuestion,
        sampling: Sampling,
        *,
        visitor: Visitor = (),
        logprobs: int | None = None,
        echo: bool = False,
    ) -> AsyncGenerator[Piece | End, None]:
        """Yields an empty Piece, then checked Pieces, then one End; closing the generator frees the engine.

        A question of messages is put into the model's own form here, after it was checked as its author wrote it; one
        that ends with the assistant's words is gone on with from there.
        Raises RefusalError where the question is too long, is flagged, does not fit the model or finds the server full.
        """
        asked = time.perf_counter()
        try:
            read = await question.reading.result()
            # Where the prompt leaves no room at all, the engine says so.
            room = self.model.context_tokens - len(read.ids)
            most = min(sampling.max_tokens, room) if room > 0 else sampling.max_tokens
            sampling = replace(sampling, max_tokens=most)
            name, begun = f"serve-{uuid.uuid4().hex}", read.num_begun
            request = Request(name, read.prompt, sampling, read.ids, logprobs, echo, num_begun=begun)
            async with self.queue.slot(visitor):
                # Within the slot, so that a slow moderation is not asked about more than it can take.
                await question.judging.result()
                stream = cast(AsyncGenerator[Delta, None], self.engine.stream(request))
                async with (
                    aclosing(stream) as deltas,
                    aclosing(self._checked(request, deltas, read.said[-1], read.begun)) as pieces,
                ):
                    async for piece in pieces:
                        if piece == Piece(""):
                            self.metrics.first_token.observe(time.perf_counter() - asked)
                        if isinstance(piece, End):
                            self._count(piece, time.perf_counter() - asked)
                        yield piece
        except RefusalError as refused:
            self.metrics.refused.labels(refused.code).inc()
            raise
        except RequestFailedError as error:
            told = self._refusal(error)
            self.metrics.refused.labels(told.code).inc()
            raise told from error

    def _count(self, end: End, seconds: float) -> None:
        self.metrics.answers.labels(end.finish_reason).inc()
        self.metrics.answer.observe(seconds)
        self.metrics.prompt_tokens.inc(end.usage.prompt_tokens)
        self.metrics.cached_tokens.inc(end.usage.cached_tokens)
        self.metrics.completion_tokens.inc(end.usage.completion_tokens)

    def read(self, question: Question) -> ReadQuestion:
        """The question as the model reads it; RefusalError where it is too long, or the chat template refuses it.

        Its ids, by which every engine reads the same, hold those of an answer to go on with.

        A special token's name is a special token in a raw text, whose author writes the whole prompt, and nowhere else.
        """
        if isinstance(question, str):
            self._require_short(question)
            return ReadQuestion((question,), question, self._ids(question, is_raw=True))
        if question and isinstance(question[0], int):
            # Before they are decoded, which takes a second for a body full of them.
            if len(question) > self.model.context_tokens:
                raise self._too_long(f"the prompt has {len(question):,} tokens.")
            text = self.tokens.decode(question)
            self._require_short(text)
            return ReadQuestion((text,), text, question)
        messages = self.model.heard(cast(tuple[Message, ...], question))
        begun = begun_answer(messages)
        said = tuple(message.content for message in (messages[:-1] if begun else messages))
        self._require_short("".join(said) + begun)
        prompt = self.model.prompt(messages)
        ids = self._ids(prompt, is_raw=False, begun=begun)
        num_begun = len(ids) - len(self._ids(prompt, is_raw=False)) if begun else 0
        return ReadQuestion(said, prompt, ids, begun, num_begun)

    def _ids(self, prompt: Prompt, is_raw: bool, begun: str = "") -> tuple[int, ...]:
        try:
            return self.tokens.of_prompt(prompt, parse_special_tokens=is_raw, begun=begun)
        except PacosError as error:
            raise RefusalError(400, "invalid_prompt", f"{error}"[:1].upper() + f"{error}"[1:]) from error

    def _require_short(self, text: str) -> None:
        if len(text) > MAX_PROMPT_CHARACTERS:
            raise RefusalError(
                400,
                "context_length_exceeded",
                f"The prompt has {len(text):,} characters; this server takes at most {MAX_PROMPT_CHARACTERS:,}. "
                "Please reduce the length of the prompt.",
            )

    def _refusal(self, error: RequestFailedError) -> RefusalError:
        # Without the engine's name, which is where the model lies on this machine.
        kind, message = error.failure.kind, error.failure.message
        if kind == "context_length":
            return self._too_long(message)
        # A fatal one is no fault of the question's: the server elsewhere has no such model, or is none.
        if kind == "bad_request" and not error.failure.fatal:
            return RefusalError(400, "invalid_prompt", message[:1].upper() + message[1:])
        # An engine elsewhere that is out of reach: its address, and what it says of a key, are the operator's.
        return RefusalError(503, "engine_unavailable", "The engine behind this server does not answer; try again.", 10)

    def _too_long(self, message: str) -> RefusalError:
        most = f"This model's maximum context length is {self.model.context_tokens:,} tokens. However, "
        return RefusalError(400, "context_length_exceeded", f"{most}{message}", param="messages")

    async def _refuse_flagged(self, said: tuple[str, ...]) -> None:
        # Each alone, so that a message's beginning is a beginning; and all in one, for a question spread over messages.
        # The newest first, whose kind is what its author is told.
        for text in said if len(said) == 1 else (*reversed(said), "\n".join(said)):
            if flagged := await self._flagged(text):
                raise RefusalError(400, "content_filter", refusal(flagged))

    async def _flagged(self, text: str, question: str | None = None) -> ModerationResult | None:
        try:
            return await self.moderator.withhold(text, question)
        except ModerationUnavailableError as error:
            raise RefusalError(503, "moderation_unavailable", UNAVAILABLE, 5) from error

    async def _checked(
        self, request: Request, deltas: AsyncIterator[Delta], question: str, begun: str
    ) -> AsyncGenerator[Piece | End, None]:
        holds_back = bool(self.moderator.backends)
        buffer, shown, made, is_first = SentenceBuffer(), begun, "", True
        # (length of the text up to its end, log-probabilities): a token's name is shown no sooner than its text.
        unshown: deque[tuple[int, tuple[TokenLogprob, ...]]] = deque()
        async for delta in deltas:
            if is_first:
                yield Piece("")
            is_first = False
            made += delta.text
            if delta.logprobs:
                unshown.append((len(made), delta.logprobs))
            ready = buffer.add(delta.text) if holds_back else delta.text
            if delta.reply:
                ready += buffer.rest()
            if ready and (flagged := await self._flagged(shown[-CONTEXT_CHARACTERS:] + ready, question)):
                yield Piece(f"\n\n{notice(flagged)}" if shown else notice(flagged))
                number = len(request.prompt_ids)
                usage = delta.reply.usage if delta.reply else await asyncio.to_thread(self.tokens.usage, number, made)
                yield End("content_filter", usage)
                return
            shown += ready
            logprobs: tuple[TokenLogprob, ...] = ()
            while unshown and unshown[0][0] <= len(shown) - len(begun):
                logprobs += unshown.popleft()[1]
            if ready or logprobs:
                yield Piece(ready, logprobs)
            if reply := delta.reply:
                self.on_end(made)
                yield End(reply.finish_reason, reply.usage, reply.prompt_logprobs)
                return
        raise RuntimeError(f"engine {self.engine.name} ended a stream without its reply")
