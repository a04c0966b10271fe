"""The page behind a personal link: one item after the other, two answers without a name, and the votes on them."""

from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from fastapi import FastAPI, Request
from fastapi.telemetry import TelemetryConfig
from markupsafe import Markup
from starlette.responses import RedirectResponse, Response

from pacos.evaluate.annotation.material import Material, as_html
from pacos.evaluate.annotation.study_plan import LEVELS, Mode, Showing, StudyPlan
from pacos.evaluate.annotation.vote_log import Standing, VoteLog
from pacos.web.error_shape import RefusalError, add_error_handlers
from pacos.web.forms import FormFields
from pacos.web.guards import RequestGuards
from pacos.web.pages import Pages

CHOICES = ("A", "B", "tie", "bad", "skip")
MAX_COMMENT = 2000
AREA = "/annotate/"


class _Texts(NamedTuple):
    instruction: Markup
    input: Markup
    first: Markup
    second: Markup


class AnnotatePage:
    """The routes. Of all that the plan holds, only the shown texts, a random id and the place in line go out."""

    def __init__(self, plan: StudyPlan, material: Material, log: VoteLog, pages: Pages) -> None:
        self.plan, self.log, self.pages = plan, log, pages
        self.annotators = log.tokens()
        self.sequences = plan.sequences()
        # Made before anyone asks, so that no page takes longer for an answer that is harder to render.
        html = cache(as_html)
        self.texts = {each.id: _texts(each, material, html) for each in plan.showings}

    def mount(self, app: FastAPI) -> None:
        """Adds the routes."""
        # Plain functions run in threads, since they ask the database.
        app.add_api_route(AREA + "{token}", self.show, methods=["GET"], response_model=None)
        for name, act in (("vote", self.vote), ("undo", self.undo), ("pause", self.pause), ("go-on", self.go_on)):
            app.add_api_route(f"{AREA}{{token}}/{name}", act, methods=["POST"], response_model=None)

    def show(self, token: str) -> Response:
        """What is next for this annotator."""
        annotator = self._annotator(token)
        standing, sequence = self.log.standing(annotator), self.sequences[annotator]
        num_cast = len(standing.cast)
        place: dict[str, Any] = {
            "link": AREA + token,
            "number": num_cast + 1,
            "total": len(sequence),
            "mode": self.plan.mode,
        }
        if standing.is_closed or not standing.is_at_work or num_cast == len(sequence):
            state = "closed" if standing.is_closed else "done" if num_cast == len(sequence) else "waiting"
            last = standing.cast[-1] if standing.cast and not standing.is_closed else ""
            return self.pages.render("waiting.html", state=state, last=last, levels=LEVELS, **place)
        showing = sequence[num_cast]
        self.log.add(annotator, "shown", showing=showing.id)
        return self.pages.render(
            "annotate.html",
            showing=showing.id,
            last=standing.cast[-1] if standing.cast else "",
            texts=self.texts[showing.id],
            levels=LEVELS,
            max_comment=MAX_COMMENT,
            **place,
        )

    def vote(self, token: str, form: FormFields) -> Response:
        """Stores a vote, or says in one line why not; it is on disk before the answer goes out."""
        annotator, showing = self._annotator(token), form.get("showing", "")
        choice, comment = _choice(form, self.plan.mode), form.get("comment", "").strip()
        if len(comment) > MAX_COMMENT:
            line = f"The comment has {len(comment):,} characters; expected at most {MAX_COMMENT:,}. Please shorten it."
            raise RefusalError(400, "comment_too_long", line)
        sequence = self.sequences[annotator]

        def allow(standing: Standing) -> None:
            _require_open(standing)
            # Another annotator's and one that never was are refused alike.
            if showing not in {each.id for each in sequence}:
                raise RefusalError(404, "not_your_item", "This item is not one of this link's; nothing was stored.")
            if showing in standing.cast:
                line = "Your vote on this item is stored already, and this one was not added. Undo takes the last back."
                raise RefusalError(409, "already_voted", line)
            if showing != sequence[len(standing.cast)].id:
                raise RefusalError(409, "not_its_turn", "This item is not the one whose turn it is; please reload.")

        self.log.add(annotator, "vote", allow, showing, choice, comment)
        return self._back(token)

    def undo(self, token: str, form: FormFields) -> Response:
        """Takes the last vote back, which stays in the log; its item is shown again."""
        annotator, showing = self._annotator(token), form.get("showing", "")

        def allow(standing: Standing) -> None:
            _require_open(standing)
            # Named, so that pressing twice undoes one vote.
            if not standing.cast or standing.cast[-1] != showing:
                raise RefusalError(409, "not_the_last", "This is not your last vote, or it is taken back already.")

        self.log.add(annotator, "undo", allow, showing)
        return self._back(token)

    def pause(self, token: str) -> Response:
        """Stops the clock."""
        self.log.add(self._annotator(token), "pause", _require_open)
        return self._back(token)

    def go_on(self, token: str) -> Response:
        """Begins, or ends a pause."""
        self.log.add(self._annotator(token), "go on", _require_open)
        return self._back(token)

    def _annotator(self, token: str) -> int:
        if token not in self.annotators:
            raise RefusalError(404, "no_such_link", "This link belongs to nobody; check that it was copied whole.")
        return self.annotators[token]

    def _back(self, token: str) -> Response:
        return RedirectResponse(AREA + token, 303)


def make_app(plan: StudyPlan, material: Material, log: VoteLog) -> FastAPI:
    """The web app of one study."""
    no_telemetry: TelemetryConfig = {"tracing": False, "metrics": False, "logs": False, "auto_configure": False}
    app = FastAPI(title="pacos annotate", openapi_url=None, telemetry=no_telemetry, strict_content_type=False)
    pages = Pages(Path(__file__).parent)
    AnnotatePage(plan, material, log, pages).mount(app)
    pages.mount(app)

    def problem_page(request: Request, status: int, message: str) -> Response:
        parts = request.url.path.split("/")
        link = "/".join(parts[:3]) if request.url.path.startswith(AREA) else ""
        line = message or "There is nothing here. Please open your personal link."
        return pages.render("refused.html", status, message=line, link=link)

    add_error_handlers(app, problem_page)
    app.add_middleware(RequestGuards)
    return app


def _require_open(standing: Standing) -> None:
    if standing.is_closed:
        raise RefusalError(410, "study_closed", "The study is closed; votes are no longer taken, and none was changed.")


def _choice(form: Mapping[str, str], mode: Mode) -> str:
    """A choice as it is stored: one of CHOICES, or in rating mode both answers' levels, such as "AC"."""
    choice = form.get("choice", "")
    if mode == "compare" and choice in CHOICES:
        return choice
    levels = form.get("first", ""), form.get("second", "")
    if mode == "rating" and (choice == "skip" or all(level in LEVELS for level in levels)):
        return choice or "".join(levels)
    expected = "one of " + ", ".join(CHOICES) if mode == "compare" else "first and second from A to D, or choice=skip"
    raise RefusalError(400, "invalid_choice", f"No such choice; expected {expected}. Nothing was stored.")


def _texts(showing: Showing, material: Material, html: Callable[[str], str]) -> _Texts:
    item = material.items[showing.item]
    answers = (material.answers[shown.model, shown.item] for shown in (showing.first, showing.second))
    given = html(item.input) if item.input.strip() else ""
    return _Texts(*map(Markup, (html(item.instruction), given, *map(html, answers))))
