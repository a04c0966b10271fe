"""/v1: the endpoints that OpenAI's clients call."""

import asyncio
import json
import sys
import traceback
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import JSONResponse, Response

from pacos.engines import Sampling, Usage
from pacos.engines.types import TokenLogprob
from pacos.serve.answering import Answers, End, Piece
from pacos.serve.bodies import (
    LEGACY_DEFAULT_MAX_TOKENS,
    MAX_LOGPROBS,
    MAX_TOKENS,
    ChatBody,
    CompletionBody,
    SamplingBody,
)
from pacos.serve.fair_queue import MAX_WAITING_EACH, Visitor
from pacos.serve.limits import Limits
from pacos.serve.question import SharedQuestion
from pacos.serve.shapes import Choice, Shape
from pacos.web.error_shape import RefusalError
from pacos.web.limits import visitor_of
from pacos.web.streams import PieceResponse, merged, while_connected

Events = AsyncGenerator[tuple[int, Piece | End], None]


@dataclass
class _Asked:
    """One request: its answers are those of the first question, `num_drawn` of them, then those of the second."""

    questions: Sequence[SharedQuestion]
    sampling: Sampling
    num_given: int
    num_drawn: int
    logprobs: int | None
    is_echoed: bool = False

    def require_few_logprobs(self) -> None:
        """RefusalError where so many would be told that they fill the server's memory; of a text's tokens it guesses
        the number."""
        if self.logprobs is None:
            return
        given = [each.given for each in self.questions if self.is_echoed]
        read = sum(len(each) // (2 if isinstance(each, str) else 1) for each in given)
        most = self.num_drawn * (read + len(self.questions) * self.sampling.max_tokens) * (1 + self.logprobs)
        if most > MAX_LOGPROBS:
            line = (
                f"This request may have {most:,} log-probabilities; this server gives at most {MAX_LOGPROBS:,} at once."
            )
            line += " Ask for fewer answers, tokens or alternatives at a time."
            raise RefusalError(400, "too_many_logprobs", line, param="logprobs")

    async def echoed(self) -> Sequence[str]:
        """The text of each question, where it is to begin the answer."""
        return [(await each.reading.result()).said[0] for each in self.questions if self.is_echoed]


@dataclass
class _Answer:
    """One answer as it comes together."""

    text: str = ""
    logprobs: tuple[TokenLogprob, ...] = ()
    end: End | None = field(default=None)

    @property
    def mean_logprob(self) -> float:
        """By which the best of several is chosen: OpenAI's is the highest log-probability a token."""
        values = [each.logprob or 0.0 for each in self.logprobs]
        return sum(values) / max(len(values), 1)


class OpenAiApi:
    """Translates between OpenAI's shapes and the one request path."""

    def __init__(self, answers: Answers, limits: Limits) -> None:
        self.answers, self.model, self.limits = answers, answers.model, limits

    def router(self) -> APIRouter:
        """The routes."""
        router = APIRouter(prefix="/v1")
        router.add_api_route("/models", self.models, methods=["GET"])
        router.add_api_route("/models/{name:path}", self.model_by_name, methods=["GET"])
        router.add_api_route("/chat/completions", self.chat, methods=["POST"])
        router.add_api_route("/completions", self.complete, methods=["POST"])
        return router

    async def models(self) -> dict[str, Any]:
        """The one model that is served."""
        return {"object": "list", "data": [self._card()]}

    async def model_by_name(self, name: str) -> dict[str, Any]:
        """The model's card, or 404."""
        self._require_model(name)
        return self._card()

    async def chat(self, body: ChatBody, request: Request) -> Response:
        """Answers a conversation."""
        question = self.answers.question(tuple(message.message() for message in body.messages))
        number = body.n or 1
        logprobs = body.top_logprobs or 0 if body.logprobs else None
        asked = _Asked([question], body.sampling(MAX_TOKENS, self.model.sampling), number, number, logprobs)
        return await self._respond(request, body, asked, self._shape("chat", logprobs))

    async def complete(self, body: CompletionBody, request: Request) -> Response:
        """Completes raw texts or token ids."""
        sampling = body.sampling(LEGACY_DEFAULT_MAX_TOKENS, self.model.sampling)
        questions = [self.answers.question(prompt) for prompt in body.prompts]
        asked = _Asked(questions, sampling, body.n or 1, body.num_drawn, body.logprobs, bool(body.echo))
        return await self._respond(request, body, asked, self._shape("completions", body.logprobs))

    def _shape(self, kind: Any, logprobs: int | None) -> Shape:
        return Shape(kind, self.model.name, self.model.fingerprint, self.answers.tokens, logprobs or 0)

    async def _respond(self, request: Request, body: SamplingBody, asked: _Asked, shape: Shape) -> Response:
        self._require_model(body.model)
        asked.require_few_logprobs()
        self.limits.questions.take(request, len(asked.questions) * asked.num_drawn)
        events = merged(self._answers(asked, visitor_of(request)))
        if body.stream:
            # The first event says only that an engine has begun; a refusal in its place has a status of its own.
            await while_connected(request.receive, anext(events))
            return PieceResponse(_chunks(events, asked, shape, body.wants_usage_chunk), "text/event-stream")
        return await while_connected(request.receive, _whole(events, asked, shape))

    def _answers(self, asked: _Asked, visitor: Visitor) -> list[AsyncGenerator[Piece | End, None]]:
        # Which of several is best is told by log-probabilities, whether or not they are shown.
        logprobs = 0 if asked.logprobs is None and asked.num_drawn > asked.num_given else asked.logprobs
        # A request of many answers asks for them in turn; it would else fill the places where questions wait.
        gate = asyncio.Semaphore(MAX_WAITING_EACH)
        answers = []
        for question in asked.questions:
            for number in range(asked.num_drawn):
                seed = asked.sampling.seed
                # Choices of one seed differ, and each can be had again.
                own = replace(asked.sampling, seed=None if seed is None else seed + number)
                answer = self.answers.answer(question, own, visitor=visitor, logprobs=logprobs, echo=asked.is_echoed)
                answers.append(_gated(answer, gate))
        return answers

    def _require_model(self, name: str) -> None:
        if name != self.model.name:
            raise RefusalError(
                404,
                "model_not_found",
                f"The model '{name}' does not exist here; this server has '{self.model.name}'.",
                param="model",
            )

    def _card(self) -> dict[str, Any]:
        return {
            "id": self.model.name,
            "object": "model",
            "created": self.model.created,
            "owned_by": "pacos",
            "max_model_len": self.model.context_tokens,
        }


async def _gated(
    answer: AsyncGenerator[Piece | End, None], gate: asyncio.Semaphore
) -> AsyncGenerator[Piece | End, None]:
    async with aclosing(answer), gate:
        async for event in answer:
            yield event


async def _whole(events: Events, asked: _Asked, shape: Shape) -> Response:
    made = [_Answer() for _ in range(len(asked.questions) * asked.num_drawn)]
    async with aclosing(events):
        async for place, event in events:
            if isinstance(event, Piece):
                made[place].text += event.text
                made[place].logprobs += event.logprobs
            else:
                made[place].end = event
    echoed = await asked.echoed()
    if asked.logprobs is None:
        return _told(made, asked, shape, echoed)
    # In a thread: many log-probabilities take seconds to write down, in which others are answered.
    return await asyncio.to_thread(_told, made, asked, shape, echoed)


def _told(made: Sequence[_Answer], asked: _Asked, shape: Shape, echoed: Sequence[str]) -> Response:
    choices: list[Choice] = []
    for number in range(len(asked.questions)):
        drawn = made[number * asked.num_drawn : (number + 1) * asked.num_drawn]
        # Sorting keeps the order of equals, and there is nothing to choose where all are given.
        best = sorted(drawn, key=lambda each: -each.mean_logprob) if asked.num_drawn > asked.num_given else drawn
        for each in best[: asked.num_given]:
            assert each.end is not None
            text, logprobs = each.text, each.logprobs
            if echoed:
                text, logprobs = echoed[number] + text, each.end.prompt_logprobs + logprobs
            shown = None if asked.logprobs is None else logprobs
            choices.append(Choice(len(choices), text, each.end.finish_reason, shown))
    return JSONResponse(shape.whole(choices, _usage([each.end for each in made if each.end], asked.num_drawn)))


async def _chunks(events: Events, asked: _Asked, shape: Shape, wants_usage: bool) -> AsyncGenerator[str, None]:
    number = len(asked.questions) * asked.num_drawn
    lengths, ends = [0] * number, dict[int, End]()
    wants = asked.logprobs is not None
    async with aclosing(events):
        if shape.is_chat:
            for place in range(number):
                yield _event(shape.first_chunk(place))
        try:
            echoed = await asked.echoed()
            for place in range(number if echoed else 0):
                prompt = echoed[place // asked.num_drawn]
                yield _event(shape.chunk(Choice(place, prompt, None), 0))
                lengths[place] = len(prompt)
            async for place, event in events:
                if isinstance(event, Piece):
                    if not event.text and not event.logprobs:
                        continue
                    choice = Choice(place, event.text, None, event.logprobs if wants else None)
                    yield _event(shape.chunk(choice, lengths[place]))
                    lengths[place] += len(event.text)
                    continue
                ends[place] = event
                yield _event(shape.chunk(Choice(place, "", event.finish_reason), lengths[place]))
            if wants_usage:
                yield _event(shape.usage_chunk(_usage([ends[place] for place in sorted(ends)], asked.num_drawn)))
        except RefusalError as refusal:
            yield _event({"error": {"message": refusal.message, "type": "server_error", "code": refusal.code}})
            return
        except Exception:
            # The status line has gone out, so the failure can only be told inside the stream.
            traceback.print_exc(file=sys.stderr)
            yield _event({"error": {"message": "The server failed while answering.", "type": "server_error"}})
            return
    yield "data: [DONE]\n\n"


def _usage(ends: Sequence[End], num_drawn: int) -> Usage:
    """Of all answers; a prompt counts once, however many answers it has."""
    prompts = ends[::num_drawn]
    return Usage(
        sum(end.usage.prompt_tokens for end in prompts),
        sum(end.usage.completion_tokens for end in ends),
        sum(end.usage.cached_tokens for end in prompts),
    )


def _event(value: dict[str, Any]) -> str:
    return f"data: {json.dumps(value, ensure_ascii=False)}\n\n"
