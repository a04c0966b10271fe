"""The page at `/`: terms first, then the chat, whose answers arrive as sanitised HTML, block by block."""

from collections.abc import Sequence
from dataclasses import dataclass

from fastapi import APIRouter, Request
from starlette.responses import RedirectResponse, Response

from pacos.engines import Message
from pacos.serve.first_questions import Example
from pacos.serve.limits import Limits
from pacos.serve.page_forms import (
    MAX_PAGE_TOKENS,
    MAX_QUESTION_CHARACTERS,
    MAX_SEED,
    ChatQuestion,
    Turn,
    page_sampling,
)
from pacos.serve.page_store import PageStore
from pacos.serve.page_stream import PageAnswer, Speaker, lines
from pacos.serve.reports import REASONS
from pacos.serve.seals import Seals
from pacos.store.database import in_database_thread
from pacos.web.error_shape import RefusalError
from pacos.web.limits import visitor_of
from pacos.web.pages import Pages
from pacos.web.people import People
from pacos.web.streams import PieceResponse, while_connected


@dataclass(frozen=True)
class PageOptions:
    """What the page shows besides the chat; `other` is the model that stands beside its own where a reader likes."""

    store: PageStore
    watermark: bool = False
    examples: Sequence[Example] = ()
    other: Speaker | None = None


class ChatPage:
    """The routes of the page, beside the API and over the same request path."""

    def __init__(
        self, speaker: Speaker, people: People, limits: Limits, seals: Seals, pages: Pages, options: PageOptions
    ) -> None:
        self.speaker, self.model, self.people, self.pages = speaker, speaker.answers.model, people, pages
        self.limits, self.seals, self.options = limits, seals, options

    def router(self) -> APIRouter:
        """The routes."""
        router = APIRouter()
        # Plain functions run in threads, since they ask the database.
        router.add_api_route("/", self.show, methods=["GET"])
        router.add_api_route("/terms", self.show_terms, methods=["GET"])
        router.add_api_route("/terms", self.accept_terms, methods=["POST"])
        router.add_api_route("/chat", self.ask, methods=["POST"])
        return router

    def show(self, request: Request) -> Response:
        """The chat, or the terms where they have not been accepted."""
        if not self.people.has_accepted(request):
            return self._terms_page(accepted=False)
        return self.pages.render(
            "chat.html",
            sampling=page_sampling(self.model),
            other=self.options.other.answers.model if self.options.other else None,
            watermark=self.options.watermark,
            examples=self.options.examples,
            reasons=REASONS,
            max_characters=MAX_QUESTION_CHARACTERS,
            max_tokens=MAX_PAGE_TOKENS,
            max_seed=MAX_SEED,
        )

    def show_terms(self, request: Request) -> Response:
        """The terms, to read again."""
        return self._terms_page(accepted=self.people.has_accepted(request))

    def _terms_page(self, accepted: bool) -> Response:
        return self.pages.render("terms.html", terms=self.people.terms, accepted=accepted)

    def accept_terms(self, request: Request) -> Response:
        """Takes the acceptance and goes on to the chat."""
        response = RedirectResponse("/", 303)
        self.limits.questions.take_from_address(request)
        self.people.record_acceptance(request, response)
        return response

    async def ask(self, question: ChatQuestion, request: Request) -> Response:
        """Streams the answer as one JSON object a line: pieces, then the end."""
        await in_database_thread(self.people.require_terms, request)
        self.limits.questions.take(request)
        messages = tuple(turn.message() for turn in question.messages)
        begun = self._begun(question.messages[-1], messages)
        conversation = messages[:-1] if begun else messages
        answer = PageAnswer(self.speaker, self.seals, conversation, question, visitor_of(request), begun)
        await while_connected(request.receive, answer.begin())
        return PieceResponse(lines(answer.events()), "application/x-ndjson")

    def _begun(self, last: Turn, messages: tuple[Message, ...]) -> str:
        """The answer to go on with, which has to be the model's own: words put into its mouth lead it astray."""
        if last.role == "user":
            return ""
        asked = messages[:-1]
        if asked and last.content and self.seals.holds(last.seal, self.model, asked, last.content):
            return last.content
        raise RefusalError(
            400,
            "not_this_models_answer",
            "Only an answer of this server's own can be gone on with, and it was restarted since; regenerate it.",
        )
