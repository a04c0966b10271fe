"""/v1: the endpoints that OpenAI's clients call."""

import json
import sys
import traceback
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import JSONResponse, Response

from pacos.engines import Sampling
from pacos.serve.answering import Answers, End, Piece
from pacos.serve.model import Prompt
from pacos.serve.shapes import LEGACY_DEFAULT_MAX_TOKENS, MAX_TOKENS, ChatBody, CompletionBody, SamplingBody, Shape
from pacos.web.error_shape import RefusalError
from pacos.web.people import Limit
from pacos.web.streams import PieceResponse, while_connected

Answer = AsyncGenerator[Piece | End, None]


class OpenAiApi:
    """Translates between OpenAI's shapes and the one request path."""

    def __init__(self, answers: Answers, questions: Limit) -> None:
        self.answers, self.model, self.questions = answers, answers.model, questions

    def router(self) -> APIRouter:
        """The routes."""
        router = APIRouter(prefix="/v1")
        router.add_api_route("/models", self.models, methods=["GET"])
        router.add_api_route("/models/{name:path}", self.model_by_name, methods=["GET"])
        router.add_api_route("/chat/completions", self.chat, methods=["POST"], response_model=None)
        router.add_api_route("/completions", self.complete, methods=["POST"], response_model=None)
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
        question = tuple(message.message() for message in body.messages)
        shape = Shape("chat", self.model.name, self.model.fingerprint)
        return await self._respond(request, body, shape, question, body.sampling(MAX_TOKENS))

    async def complete(self, body: CompletionBody, request: Request) -> Response:
        """Completes raw text."""
        shape = Shape("completions", self.model.name, self.model.fingerprint)
        question = str(body.prompt)
        return await self._respond(request, body, shape, question, body.sampling(LEGACY_DEFAULT_MAX_TOKENS))

    async def _respond(
        self, request: Request, body: SamplingBody, shape: Shape, question: Prompt, sampling: Sampling
    ) -> Response:
        self._require_model(body.model)
        self.questions.take(request)
        answer = self.answers.answer(question, sampling)
        if body.stream:
            first = await while_connected(request.receive, anext(answer))
            return PieceResponse(_events(answer, first, shape, body.wants_usage_chunk), "text/event-stream")
        return JSONResponse(await while_connected(request.receive, _whole(answer, shape)))

    def _require_model(self, name: str) -> None:
        if name != self.model.name:
            raise RefusalError(
                404, "model_not_found", f"The model '{name}' does not exist here; this server has '{self.model.name}'."
            )

    def _card(self) -> dict[str, Any]:
        return {"id": self.model.name, "object": "model", "created": self.model.created, "owned_by": "pacos"}


async def _whole(answer: Answer, shape: Shape) -> dict[str, Any]:
    text = ""
    async with aclosing(answer):
        async for event in answer:
            if isinstance(event, End):
                return shape.whole(text, event.finish_reason, event.usage)
            text += event.text
    raise RuntimeError("the answer ended without its End")


async def _events(answer: Answer, first: Piece | End, shape: Shape, wants_usage: bool) -> AsyncGenerator[str, None]:
    async with aclosing(answer):
        if shape.is_chat:
            yield _event(shape.chunk("", first=True))
        try:
            async for event in answer:
                if isinstance(event, Piece):
                    yield _event(shape.chunk(event.text))
                    continue
                yield _event(shape.chunk("", event.finish_reason))
                if wants_usage:
                    yield _event(shape.usage_chunk(event.usage))
        except Exception:
            # The status line has gone out, so the failure can only be told inside the stream.
            traceback.print_exc(file=sys.stderr)
            yield _event({"error": {"message": "The server failed while answering.", "type": "server_error"}})
            return
    yield "data: [DONE]\n\n"


def _event(value: dict[str, Any]) -> str:
    return f"data: {json.dumps(value, ensure_ascii=False)}\n\n"
