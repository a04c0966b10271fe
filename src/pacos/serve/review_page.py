"""The page at `/review`: behind a password, the queue of reports, what reviewers made of them, and their export."""

import json
from collections.abc import AsyncGenerator, Sequence
from dataclasses import asdict
from urllib.parse import parse_qsl, urlencode

from fastapi import APIRouter, Request
from starlette.responses import RedirectResponse, Response

from pacos.core.errors import PacosError
from pacos.judging.objectives import is_asked
from pacos.judging.offline import offline_judge
from pacos.serve.page_store import CastVote, PageStore
from pacos.serve.reports import MAX_LABEL, MAX_NOTE, MAX_OBJECTIVE, REASONS, STATUSES, Report, ReportBox, Wanted
from pacos.store.database import in_database_thread
from pacos.web.error_shape import RefusalError
from pacos.web.forms import FormFields
from pacos.web.pages import Pages
from pacos.web.password_door import PasswordDoor
from pacos.web.streams import PieceResponse

PAGE_SIZE = 20
EXPORT_SIZE = 200
NUM_DAYS = 30
# SQLite searches for no more than 50,000 characters.
MOST_SEARCHED = 200
# What a report of each reason is first taken for; of the others only a reader knows.
OBJECTIVES = {"harmful": "compliance", "hateful": "compliance", "private": "compliance", "refusal": "refusal"}


class ReviewPage:
    """The routes of the page."""

    def __init__(self, reports: ReportBox, store: PageStore, pages: Pages, password: str) -> None:
        self.reports, self.store, self.pages = reports, store, pages
        self.door = PasswordDoor(password, "/review")

    def router(self) -> APIRouter:
        """The routes."""
        router = APIRouter(prefix="/review")
        # Plain functions run in threads, since they ask the database.
        router.add_api_route("", self.show, methods=["GET"])
        router.add_api_route("/login", self.log_in, methods=["POST"])
        router.add_api_route("/logout", self.log_out, methods=["POST"])
        router.add_api_route("/decide", self.decide, methods=["POST"])
        router.add_api_route("/case", self.make_case, methods=["POST"])
        router.add_api_route("/delete", self.delete, methods=["POST"])
        router.add_api_route("/export.jsonl", self.export, methods=["GET"])
        router.add_api_route("/votes.jsonl", self.export_votes, methods=["GET"])
        return router

    def show(self, request: Request) -> Response:
        """The queue, or the form for the password."""
        if not self.door.is_open(request):
            return self._login_page()
        asked = request.query_params
        wanted = _wanted(request)
        found = self.reports.find(wanted, PAGE_SIZE + 1, _number(asked.get("before", "")))
        done = _number(asked.get("done", ""))
        daily = self.reports.daily(NUM_DAYS)
        chosen = {key: str(value) for key, value in asdict(wanted).items() if value not in ("", None)}
        chosen["status"] = wanted.status or "all"
        return self.pages.render(
            "review.html",
            reasons=REASONS,
            statuses=STATUSES,
            counts=self.reports.counts(),
            labels=self.reports.labels(),
            daily=daily,
            most_a_day=max(count for _, count in daily),
            reports=found[:PAGE_SIZE],
            done=next(iter(self.reports.find(Wanted(number=done), 1)), None) if done else None,
            wanted=wanted,
            query=urlencode(chosen),
            query_of={status: urlencode(chosen | {"status": status}) for status in ("all", *STATUSES)},
            older=urlencode(chosen | {"before": found[PAGE_SIZE - 1].number}) if len(found) > PAGE_SIZE else "",
            max_label=MAX_LABEL,
            max_note=MAX_NOTE,
            objectives=OBJECTIVES,
            max_objective=MAX_OBJECTIVE,
        )

    def _login_page(self, problem: str = "", status: int = 200) -> Response:
        return self.pages.render("review_login.html", status, problem=problem)

    def log_in(self, request: Request, form: FormFields) -> Response:
        """Takes the password and goes on to the queue."""
        response = RedirectResponse("/review", 303)
        try:
            self.door.enter(request, form.get("password", ""), response)
        except RefusalError as refusal:
            if "text/html" not in request.headers.get("accept", ""):
                raise
            page = self._login_page(refusal.message, refusal.status)
            if refusal.retry_after_seconds:
                page.headers["Retry-After"] = str(round(refusal.retry_after_seconds))
            return page
        return response

    def log_out(self, request: Request) -> Response:
        """Ends every reviewer's session."""
        self.door.require(request)
        response = RedirectResponse("/review", 303)
        self.door.leave(response)
        return response

    def decide(self, request: Request, form: FormFields) -> Response:
        """Writes status, label and note of one report."""
        self.door.require(request)
        number, status = _required_number(form), form.get("status", "")
        if status not in ("open", "confirmed", "dismissed"):
            raise RefusalError(
                400, "invalid_value", "Invalid value for 'status': expected open, confirmed or dismissed."
            )
        label = " ".join(form.get("label", "").split())
        self.reports.decide(number, status, label, form.get("note", "").strip())
        return _back(form, number)

    def make_case(self, request: Request, form: FormFields) -> Response:
        """Makes one report a test case of an objective, or no longer one where that is empty."""
        self.door.require(request)
        number = _required_number(form)
        self.reports.make_case(number, _objective(form))
        return _back(form, number)

    def delete(self, request: Request, form: FormFields) -> Response:
        """Wipes one report."""
        self.door.require(request)
        number = _required_number(form)
        self.reports.delete(number)
        return _back(form, number)

    async def export(self, request: Request) -> Response:
        """The wanted reports that keep a transcript, the newest first, one JSON object a line."""
        self.door.require(request)
        wanted = _wanted(request, "all")
        # Before the answer begins, so that a database that is away is told in a status.
        found = await in_database_thread(self.reports.find, wanted, EXPORT_SIZE, None, True)
        return _download(self._lines(wanted, found), "reports.jsonl")

    async def _lines(self, wanted: Wanted, found: Sequence[Report]) -> AsyncGenerator[str, None]:
        while found:
            yield "".join(json.dumps(report.exported(), ensure_ascii=False) + "\n" for report in found)
            found = await in_database_thread(self.reports.find, wanted, EXPORT_SIZE, found[-1].number, True)

    async def export_votes(self, request: Request) -> Response:
        """The votes of side by side that were cast, the oldest first, one JSON object a line."""
        self.door.require(request)
        found = await in_database_thread(self.store.votes, EXPORT_SIZE)
        return _download(self._vote_lines(found), "votes.jsonl")

    async def _vote_lines(self, found: Sequence[CastVote]) -> AsyncGenerator[str, None]:
        while found:
            yield "".join(json.dumps(vote.exported(), ensure_ascii=False) + "\n" for vote in found)
            found = await in_database_thread(self.store.votes, EXPORT_SIZE, found[-1])


def _download(lines: AsyncGenerator[str, None], name: str) -> Response:
    response = PieceResponse(lines, "application/x-ndjson")
    response.headers["Content-Disposition"] = f'attachment; filename="{name}"'
    return response


def _wanted(request: Request, status: str = "open") -> Wanted:
    """What the address asks for; of the named `status` where it names none and no report."""
    asked = {key: text.strip().replace("\0", "") for key, text in request.query_params.items()}
    number = _number(asked.get("number", ""))
    status = asked.get("status", "all" if number else status)
    # A filter that cannot be is not left out: what it should have hidden would be shown, or exported.
    if status not in ("all", *STATUSES) or (number is None and asked.get("number")):
        raise RefusalError(
            400, "invalid_value", f"Expected a report's number, or a status: all, {', '.join(STATUSES)}."
        )
    if len(asked.get("text", "")) > MOST_SEARCHED:
        raise RefusalError(400, "invalid_value", f"A search has at most {MOST_SEARCHED} characters.")
    status = "" if status == "all" else status
    return Wanted(status, asked.get("reason", ""), asked.get("label", ""), asked.get("text", ""), number)


def _number(text: str) -> int | None:
    # What PostgreSQL's integers hold.
    return min(int(text), 2**31 - 1) if text.isascii() and text.isdigit() and len(text) < 12 else None


def _required_number(form: dict[str, str]) -> int:
    number = _number(form.get("number", ""))
    if number is None:
        raise RefusalError(400, "invalid_value", "Invalid value for 'number': expected a report's number.")
    return number


def _objective(form: dict[str, str]) -> str:
    objective = form.get("objective", "").strip()
    if not objective:
        return ""
    problem = f"At most {MAX_OBJECTIVE} characters." if len(objective) > MAX_OBJECTIVE or "\0" in objective else ""
    if objective.startswith("lexicon:"):
        problem = "A list of your own is a file; name it where the test is run."
    # Which engines there are is known where the test is run.
    if not problem and not is_asked(objective):
        try:
            offline_judge(objective)
        except PacosError as error:
            problem = str(error)
    if problem:
        raise RefusalError(400, "invalid_value", f"Invalid value for 'objective': {problem}")
    return objective


def _back(form: dict[str, str], number: int) -> Response:
    """To the list that the decision was made in, which says what became of the report."""
    chosen = [(key, text) for key, text in parse_qsl(form.get("query", "")) if key != "done"]
    return RedirectResponse("/review?" + urlencode([*chosen, ("done", number)]), 303)
