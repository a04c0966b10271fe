"""Two models side by side: both answer one question, and the reader's choice between them is kept."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from secrets import randbelow
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from pacos.core.files import sha256_text
from pacos.serve.limits import Limits
from pacos.serve.page_forms import ComparedQuestion, VoteForm
from pacos.serve.page_store import PageStore, Pairing, Transcript, prompt_sha256
from pacos.serve.page_stream import Event, PageAnswer, Speaker, lines
from pacos.serve.seals import Seals
from pacos.store.database import in_database_thread
from pacos.web.error_shape import RefusalError
from pacos.web.limits import visitor_of
from pacos.web.people import COOKIE, People
from pacos.web.streams import PieceResponse, merged, while_connected


class Comparing:
    """The routes of side by side."""

    def __init__(
        self, speakers: tuple[Speaker, Speaker], people: People, limits: Limits, store: PageStore, seals: Seals
    ) -> None:
        self._speakers, self._people, self._limits = speakers, people, limits
        self._store, self._seals = store, seals

    def router(self) -> APIRouter:
        """The routes."""
        router = APIRouter(prefix="/comparisons")
        router.add_api_route("", self.ask, methods=["POST"])
        router.add_api_route("/{name}/vote", self.vote, methods=["POST"])
        return router

    async def ask(self, question: ComparedQuestion, request: Request) -> Response:
        """Streams both answers, each event with its side, 0 or 1; the first names the vote, and unless blind the
        models."""
        await in_database_thread(self._people.require_terms, request)
        self._limits.questions.take(request, len(self._speakers))
        conversation = tuple(turn.message() for turn in question.messages)
        if conversation[-1].role != "user":
            raise RefusalError(400, "invalid_messages", "Expected the last message to be a question.")
        # Drawn here and anew for each question, so that no page can tell which side is whose.
        is_swapped = question.blind and randbelow(2) == 1
        speakers = self._speakers[::-1] if is_swapped else self._speakers
        a, b = (PageAnswer(speaker, self._seals, conversation, question, visitor_of(request)) for speaker in speakers)
        models = speakers[0].answers.model, speakers[1].answers.model
        try:
            await while_connected(request.receive, _begin(a, b))
            name = await in_database_thread(self._store.begin_vote, models, conversation, is_swapped, question.blind)
        except BaseException:
            await a.close()
            await b.close()
            raise
        names = None if question.blind else [model.name for model in models]
        start: Event = {"type": "start", "id": name, "names": names}
        return PieceResponse(lines(self._together(start, a, b)), "application/x-ndjson")

    def vote(self, name: str, form: VoteForm, request: Request) -> dict[str, Any]:
        """Keeps the choice, with consent the texts too, and tells which model was which."""
        self._people.require_terms(request)
        pairing = self._store.pairing(name)
        if pairing is None:
            raise RefusalError(404, "not_found", "There is no such question to vote on.")
        transcript = self._authentic(form, pairing) if form.consent else None
        # Another hash than the one by which acceptances are stored: the two tables are not to be joined.
        voter = sha256_text(f"vote {request.cookies.get(COOKIE, '')}")
        if not self._store.vote(name, form.choice, transcript, voter) and pairing.choice != form.choice:
            raise RefusalError(409, "already_voted", "You have voted on these two answers already.")
        return {"names": list(pairing.names)}

    async def _together(self, start: Event, *answers: PageAnswer) -> AsyncGenerator[Event, None]:
        """`start`, then the events of both sides as they come; closing it frees both engines."""
        try:
            yield start
            async with aclosing(merged([answer.events() for answer in answers])) as events:
                async for side, event in events:
                    if event.get("finish_reason") == "content_filter":
                        await in_database_thread(self._store.note_withheld, start["id"])
                    yield {**event, "side": side}
        finally:
            for answer in answers:
                await answer.close()

    def _authentic(self, form: VoteForm, pairing: Pairing) -> Transcript:
        """The question and both answers; RefusalError where they are not what was asked and answered."""
        conversation = [turn.message() for turn in form.messages]
        models = {speaker.answers.model.sha256: speaker.answers.model for speaker in self._speakers}
        is_whole = conversation and prompt_sha256(conversation) == pairing.prompt_sha256 and len(form.answers) == 2
        if not is_whole or not all(
            sha256 in models and self._seals.holds(turn.seal, models[sha256], conversation, turn.content)
            for turn, sha256 in zip(form.answers, pairing.sha256s, strict=True)
        ):
            line = "The texts are not those of this question; vote without them, or ask again."
            raise RefusalError(400, "not_this_models_answer", line)
        return [{"role": turn.role, "content": turn.content} for turn in (*form.messages, *form.answers)]


async def _begin(*answers: PageAnswer) -> None:
    """Waits until both engines have begun; a refusal by one is one of the question."""
    tasks = [asyncio.ensure_future(answer.begin()) for answer in answers]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
