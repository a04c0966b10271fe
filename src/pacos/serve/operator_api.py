"""What surrounds the answers: the tokenizer as vLLM shows it, the server's health, and its counts."""

import re
from collections.abc import Sequence
from typing import Any

from fastapi import APIRouter, Request
from fastapi.params import Depends
from pydantic import ConfigDict, Field
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pacos.serve.answering import Answers
from pacos.serve.bodies import ChatMessage, Ids
from pacos.serve.metrics import Metrics
from pacos.web.json_body import JsonBody
from pacos.web.people import Limit

_PROMETHEUS = "text/plain; version=0.0.4; charset=utf-8"


class TokenizeBody(JsonBody):
    """POST /tokenize: a raw text, or a conversation as the chat template has it."""

    model_config = ConfigDict(extra="ignore")
    prompt: str | None = None
    messages: list[ChatMessage] | None = None
    add_special_tokens: bool = True


class DetokenizeBody(JsonBody):
    """POST /detokenize."""

    model_config = ConfigDict(extra="ignore")
    tokens: Ids = Field(max_length=1_000_000)


class OperatorApi:
    """Routes for programs that prepare questions or watch the server; none asks the engine for anything."""

    def __init__(self, answers: Answers, admitted: Sequence[Depends]) -> None:
        # Harnesses tokenize each of their prompts.
        self.limit = Limit(session=(200, 600), address=(400, 1200))
        self.answers, self.tokens, self.model = answers, answers.tokens, answers.model
        self.admitted = admitted

    def router(self) -> APIRouter:
        """The routes."""
        router = APIRouter()
        # Plain functions run in threads: a long text takes its time.
        router.add_api_route("/tokenize", self.tokenize, methods=["POST"], dependencies=self.admitted)
        router.add_api_route("/detokenize", self.detokenize, methods=["POST"], dependencies=self.admitted)
        router.add_api_route("/tokenizer_info", self.tokenizer_info, methods=["GET"], dependencies=self.admitted)
        router.add_api_route("/healthz", self.healthz, methods=["GET"])
        router.add_api_route("/metrics", self.metrics, methods=["GET"], response_model=None)
        return router

    def tokenize(self, body: TokenizeBody, request: Request) -> dict[str, Any]:
        """The ids of a prompt as the model would read it."""
        self.limit.take(request)
        if body.messages:
            prompt = self.model.prompt(tuple(message.message() for message in body.messages))
            ids = self.tokens.of_prompt(prompt, parse_special_tokens=False)
        else:
            ids = self.tokens.of_text(body.prompt or "", add_special_tokens=body.add_special_tokens)
        return {"count": len(ids), "max_model_len": self.model.context_tokens, "tokens": list(ids)}

    def detokenize(self, body: DetokenizeBody, request: Request) -> dict[str, str]:
        """The text of ids."""
        self.limit.take(request)
        return {"prompt": self.tokens.decode(tuple(body.tokens))}

    def tokenizer_info(self) -> dict[str, Any]:
        """What a client needs to write prompts itself: the class, the template, and the special tokens."""
        tokenizer = self.tokens.tokenizer
        special = {name: str(token) for name, token in tokenizer.special_tokens_map.items() if isinstance(token, str)}
        return {
            "tokenizer_class": type(tokenizer).__name__,
            "chat_template": tokenizer.chat_template if isinstance(tokenizer.chat_template, str) else None,
            "model_max_length": self.model.context_tokens,
            "vocab_size": self.model.vocab_size,
            **{name: special.get(name) for name in ("bos_token", "eos_token", "pad_token", "unk_token")},
        }

    async def healthz(self) -> dict[str, str]:
        """Answers as long as the event loop turns."""
        return {"status": "ok", "model": self.model.name}

    async def metrics(self) -> Response:
        """Counts in Prometheus' text form."""
        return Response(self.answers.metrics.text(), media_type=_PROMETHEUS)


class CountRequests:
    """ASGI middleware: counts each request by its route, never by the path that a client wrote, and by its status."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self.app, self.metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def counting(message: Message) -> None:
            if message["type"] == "http.response.start":
                route = getattr(scope.get("route"), "path", "none")
                self.metrics.requests.labels(re.sub(r"\{(\w+):\w+\}", r"{\1}", route), str(message["status"])).inc()
            await send(message)

        await self.app(scope, receive, counting)
