"""The page at `/`: terms first, then the chat, whose answers arrive as sanitised HTML, block by block."""

import asyncio
import json
import sys
import traceback
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Any, Literal

from fastapi import APIRouter, Request
from pydantic import BaseModel, Field, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError
from starlette.responses import RedirectResponse, Response

from pacos.engines import Message, Sampling
from pacos.serve.answering import Answers, End, Piece
from pacos.serve.first_questions import Example
from pacos.serve.reports import ReportBox
from pacos.web.error_shape import RefusalError
from pacos.web.markdown import render_blocks
from pacos.web.pages import Pages
from pacos.web.people import Limit, People
from pacos.web.streams import PieceResponse, while_connected

MAX_QUESTION_CHARACTERS = 4000
MAX_TURNS = 100
# Cooler than the API's default: a small student answers better, and there is still choice for the watermark.
PAGE_SAMPLING = Sampling(max_tokens=512, temperature=0.3, top_p=0.9)
REASONS = {
    "harmful": "Harmful or dangerous",
    "hateful": "Hateful or harassing",
    "private": "Private information about a person",
    "wrong": "Wrong or misleading",
    "refusal": "It should not have been refused or withheld",
    "other": "Something else",
}


class Turn(BaseModel):
    """One message of the page's conversation."""

    role: Literal["user", "assistant"]
    content: str = Field(max_length=20_000)

    @field_validator("content")
    @classmethod
    def _as_the_box_allows(cls, content: str, info: ValidationInfo) -> str:
        # Answers come back in a conversation too, and may be longer than what a person may ask.
        if info.data.get("role") == "user" and len(content) > MAX_QUESTION_CHARACTERS:
            most = f"{MAX_QUESTION_CHARACTERS:,}"
            raise PydanticCustomError(
                "question_too_long", "expected a question of at most {most} characters", {"most": most}
            )
        return content


class ChatQuestion(BaseModel):
    """What the page sends: the conversation, whose last turn is the question."""

    messages: list[Turn] = Field(min_length=1, max_length=MAX_TURNS)


class ReportForm(BaseModel):
    """A report; `transcript` ends with the reported answer and is kept only with `consent`."""

    reason: Literal["harmful", "hateful", "private", "wrong", "refusal", "other"]
    details: str = Field("", max_length=2000)
    consent: bool = False
    transcript: list[Turn] = Field(default_factory=list, max_length=MAX_TURNS)


class ChatPage:
    """The routes of the page, beside the API and over the same request path."""

    def __init__(
        self,
        answers: Answers,
        people: People,
        questions: Limit,
        reports: ReportBox,
        pages: Pages,
        watermark: bool,
        examples: Sequence[Example] = (),
    ) -> None:
        self.answers, self.model, self.people, self.pages = answers, answers.model, people, pages
        self.questions, self.reports, self.watermark, self.examples = questions, reports, watermark, examples
        self.report_limit = Limit(session=(5, 2), address=(15, 6))

    def router(self) -> APIRouter:
        """The routes."""
        router = APIRouter()
        # Plain functions run in threads, since they ask the database.
        router.add_api_route("/", self.show, methods=["GET"], response_model=None)
        router.add_api_route("/terms", self.show_terms, methods=["GET"], response_model=None)
        router.add_api_route("/terms", self.accept_terms, methods=["POST"], response_model=None)
        router.add_api_route("/chat", self.ask, methods=["POST"], response_model=None)
        router.add_api_route("/reports", self.report, methods=["POST"], status_code=201)
        return router

    def show(self, request: Request) -> Response:
        """The chat, or the terms where they have not been accepted."""
        if not self.people.has_accepted(request):
            return self._terms_page(accepted=False)
        return self.pages.render(
            "chat.html",
            model=self.model,
            watermark=self.watermark,
            examples=self.examples,
            reasons=REASONS,
            max_characters=MAX_QUESTION_CHARACTERS,
        )

    def show_terms(self, request: Request) -> Response:
        """The terms, to read again."""
        return self._terms_page(accepted=self.people.has_accepted(request))

    def _terms_page(self, accepted: bool) -> Response:
        return self.pages.render("terms.html", model=self.model, terms=self.people.terms, accepted=accepted)

    def accept_terms(self, request: Request) -> Response:
        """Takes the acceptance and goes on to the chat."""
        response = RedirectResponse("/", 303)
        self.questions.take_from_address(request)
        self.people.record_acceptance(request, response)
        return response

    async def ask(self, question: ChatQuestion, request: Request) -> Response:
        """Streams the answer as one JSON object a line: pieces, then the end."""
        await asyncio.to_thread(self.people.require_terms, request)
        self.questions.take(request)
        messages = tuple(Message(turn.role, turn.content) for turn in question.messages)
        answer = self.answers.answer(messages, PAGE_SAMPLING)
        await while_connected(request.receive, anext(answer))
        return PieceResponse(self._lines(answer), "application/x-ndjson")

    async def _lines(self, answer: AsyncGenerator[Piece | End, None]) -> AsyncGenerator[str, None]:
        text = ""
        blocks: list[str] = []
        async with aclosing(answer):
            try:
                async for event in answer:
                    if isinstance(event, End):
                        yield _line(self._end(event))
                        continue
                    text += event.text
                    before, blocks = blocks, render_blocks(text)
                    yield _line(
                        {"type": "piece", "text": event.text, "blocks": _changed(before, blocks), "count": len(blocks)}
                    )
            except RefusalError as refusal:
                yield _line({"type": "error", "message": refusal.message})
            except Exception:
                traceback.print_exc(file=sys.stderr)
                yield _line({"type": "error", "message": "The server failed while answering. Please try again."})

    def _end(self, end: End) -> dict[str, Any]:
        return {
            "type": "end",
            "finish_reason": end.finish_reason,
            "completion_tokens": end.usage.completion_tokens,
            "seconds": round(end.seconds, 2),
            "watermarked": self.watermark,
        }

    def report(self, form: ReportForm, request: Request) -> dict[str, int | str]:
        """Stores a report; returns its number and the code that deletes it."""
        self.people.require_terms(request)
        self.report_limit.take(request)
        transcript = [turn.model_dump() for turn in form.transcript] if form.consent else None
        number, code = self.reports.add(self.model, form.reason, form.details, transcript)
        return {"id": number, "deletion_code": code}


def _changed(before: list[str], after: list[str]) -> list[tuple[int, str]]:
    """The blocks to put in place, by number; appended text only ever changes the last ones."""
    return [(i, html) for i, html in enumerate(after) if i >= len(before) or before[i] != html]


def _line(value: dict[str, Any]) -> str:
    return json.dumps(value, ensure_ascii=False) + "\n"
