"""POST /v1/moderations: what this server's own moderation says of a text, in OpenAI's shape."""

import uuid
from dataclasses import asdict
from typing import Any

from fastapi import APIRouter, Request
from pydantic import field_validator
from pydantic_core import PydanticCustomError

from pacos.guard import ModerationChain, ModerationUnavailableError
from pacos.guard.notices import UNAVAILABLE
from pacos.serve.bodies import ContentPart
from pacos.serve.limits import Limits
from pacos.web.error_shape import RefusalError
from pacos.web.json_body import JsonBody
from pacos.web.streams import while_connected

MAX_TEXTS = 32
MAX_CHARACTERS = 32_000


class ModerationBody(JsonBody):
    """The request; the model is the server's to choose, so any name is taken."""

    input: str | list[str] | list[ContentPart]
    model: str | None = None

    @field_validator("input")
    @classmethod
    def _not_too_much(cls, value: str | list[str] | list[ContentPart]) -> str | list[str] | list[ContentPart]:
        count = 1 if isinstance(value, str) else len(value)
        if not 1 <= count <= MAX_TEXTS or sum(map(len, texts_of(value))) > MAX_CHARACTERS:
            limits = {"count": MAX_TEXTS, "most": f"{MAX_CHARACTERS:,}"}
            raise PydanticCustomError("too_much", "expected 1 to {count} texts of {most} characters in all", limits)
        return value


class ModerationsApi:
    """What is asked here is not counted as withheld."""

    def __init__(self, moderation: ModerationChain, limits: Limits) -> None:
        self._moderation, self._limits = moderation, limits

    def router(self) -> APIRouter:
        """The route."""
        router = APIRouter(prefix="/v1")
        router.add_api_route("/moderations", self.moderate, methods=["POST"])
        return router

    async def moderate(self, body: ModerationBody, request: Request) -> dict[str, Any]:
        """A result for each text."""
        texts = texts_of(body.input)
        self._limits.questions.take(request, len(texts))
        if not self._moderation.backends:
            raise RefusalError(404, "moderation_off", "This server checks no texts: its moderation is off.")
        results = await while_connected(request.receive, self._results(texts))
        return {"id": f"modr-{uuid.uuid4().hex}", "model": ", ".join(self._moderation.backends), "results": results}

    async def _results(self, texts: list[str]) -> list[dict[str, Any]]:
        try:
            checked = [await self._moderation.check(text) for text in texts]
        except ModerationUnavailableError as error:
            raise RefusalError(503, "moderation_unavailable", UNAVAILABLE, 5) from error
        return [
            asdict(result) | {"category_applied_input_types": {name: ["text"] for name in result.categories}}
            for result in checked
        ]


def texts_of(value: str | list[str] | list[ContentPart]) -> list[str]:
    """The texts to judge, each for itself; the parts of one multi-modal input are one text, as OpenAI has it."""
    if isinstance(value, str):
        return [value]
    parts = [part.text for part in value if isinstance(part, ContentPart)]
    return ["\n".join(parts)] if parts else [text for text in value if isinstance(text, str)]
