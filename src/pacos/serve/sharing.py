"""/shared: conversations that a visitor made public, each under a link that cannot be guessed."""

from collections.abc import Sequence

from fastapi import APIRouter, Request
from starlette.exceptions import HTTPException
from starlette.responses import Response

from pacos.core.files import sha256_text
from pacos.serve.limits import Limits
from pacos.serve.model import ServedModel
from pacos.serve.page_forms import ShareForm
from pacos.serve.page_store import PageStore, Transcript
from pacos.serve.seals import Seals
from pacos.web.error_shape import RefusalError
from pacos.web.markdown import render_markdown
from pacos.web.pages import Pages
from pacos.web.people import COOKIE, People


class Sharing:
    """Takes conversations whose answers are these models' own, shows them, and lets their author delete them."""

    def __init__(
        self,
        models: Sequence[ServedModel],
        people: People,
        limits: Limits,
        store: PageStore,
        seals: Seals,
        pages: Pages,
    ) -> None:
        self._models, self._people, self._limits = models, people, limits
        self._store, self._seals, self._pages = store, seals, pages

    def router(self) -> APIRouter:
        """The routes; plain functions run in threads, since they ask the database."""
        router = APIRouter(prefix="/shared")
        router.add_api_route("", self.share, methods=["POST"], status_code=201)
        router.add_api_route("/{name}", self.show, methods=["GET"])
        router.add_api_route("/{name}/delete", self.delete, methods=["POST"])
        return router

    def share(self, form: ShareForm, request: Request) -> dict[str, str]:
        """Stores the conversation and returns its path."""
        self._people.require_terms(request)
        turns = self._authentic(form)
        self._limits.shares.take(request)
        return {"path": f"/shared/{self._store.share(turns, _author(request))}"}

    def _authentic(self, form: ShareForm) -> Transcript:
        """The turns with the name of who wrote each answer; RefusalError where no model here did."""
        messages = [turn.message() for turn in form.messages]
        # A question that no answer follows was never asked, and so never checked.
        if [message.role for message in messages] != ["user", "assistant"] * (len(messages) // 2):
            line = "Expected a question and its answer in turn, and an answer at the end."
            raise RefusalError(400, "invalid_messages", line)
        turns = []
        for number, turn in enumerate(form.messages):
            told = {"role": turn.role, "content": turn.content}
            if turn.role == "assistant":
                asked = messages[:number]
                writers = (m for m in self._models if self._seals.holds(turn.seal, m, asked, turn.content))
                writer = next(writers, None)
                if writer is None:
                    raise RefusalError(
                        400, "not_this_models_answer",
                        "An answer here is not known as this server's own: it was restarted since, or the text was "
                        "changed. Regenerate the answer, then share it.",
                    )  # fmt: skip
                told["model"] = writer.name
            turns.append(told)
        return turns

    def show(self, name: str, request: Request) -> Response:
        """The conversation, to anyone who has the link and to no search engine."""
        found = self._store.shared(name)
        if found is None:
            raise HTTPException(404, "Not Found")
        turns = [
            {**turn, "html": render_markdown(turn["content"]) if turn["role"] == "assistant" else ""}
            for turn in found.turns
        ]
        is_author = found.author_sha256 == _author(request)
        page = self._pages.render("shared.html", turns=turns, date=found.shared_at, is_author=is_author, name=name)
        page.headers["X-Robots-Tag"] = "noindex, nofollow"
        return page

    def delete(self, name: str, request: Request) -> Response:
        """Deletes it for good where the visitor is its author."""
        if not self._store.unshare(name, _author(request)):
            raise HTTPException(404, "Not Found")
        heading = "The shared conversation is deleted"
        return self._pages.render("problem.html", heading=heading, message="")


def _author(request: Request) -> str:
    # Another hash than the one by which acceptances are stored: the two tables are not to be joined.
    return sha256_text(f"shared {request.cookies.get(COOKIE, '')}")
