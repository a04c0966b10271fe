"""/reports: a reader reports an answer, and wipes the report with the code that came with it."""

from collections.abc import Sequence

from fastapi import APIRouter, Request
from starlette.responses import JSONResponse, Response

from pacos.serve.limits import Limits
from pacos.serve.model import ServedModel
from pacos.serve.page_forms import ReportForm
from pacos.serve.page_store import PageStore
from pacos.serve.reports import ReportBox
from pacos.serve.seals import Seals
from pacos.web.error_shape import RefusalError
from pacos.web.forms import FormFields
from pacos.web.pages import Pages
from pacos.web.people import People


class ReportsPage:
    """The routes. Deleting needs no session: the code is enough, on any device."""

    def __init__(
        self,
        models: Sequence[ServedModel],
        people: People,
        limits: Limits,
        reports: ReportBox,
        store: PageStore,
        seals: Seals,
        pages: Pages,
    ) -> None:
        self.models, self.people, self.limits = models, people, limits
        self.reports, self.store, self.seals, self.pages = reports, store, seals, pages

    def router(self) -> APIRouter:
        """The routes; plain functions run in threads, since they ask the database."""
        router = APIRouter(prefix="/reports")
        router.add_api_route("", self.report, methods=["POST"], status_code=201)
        router.add_api_route("/delete", self.show, methods=["GET"])
        router.add_api_route("/delete", self.delete, methods=["POST"])
        return router

    def report(self, form: ReportForm, request: Request) -> dict[str, int | str]:
        """Stores a report; returns its number and the code that deletes it."""
        self.people.require_terms(request)
        self.limits.reports.take(request)
        transcript = [{"role": turn.role, "content": turn.content} for turn in form.transcript]
        consented = transcript if form.consent else None
        writer = self._writer(form)
        reported = writer or self._reported(form)
        number, code = self.reports.add(reported, form.reason, form.details, consented, writer is not None)
        return {"id": number, "deletion_code": code}

    def _writer(self, form: ReportForm) -> ServedModel | None:
        """The model that wrote the last turn, where its seal says so."""
        if len(form.transcript) < 2:
            return None
        said, last = [turn.message() for turn in form.transcript[:-1]], form.transcript[-1]
        return next((each for each in self.models if self.seals.holds(last.seal, each, said, last.content)), None)

    def _reported(self, form: ReportForm) -> ServedModel | None:
        """Whose answer is said to be reported, which the reader of two may not know; None of a comparison unknown."""
        if not form.comparison:
            return self.models[0]
        pairing = self.store.pairing(form.comparison)
        sha256 = pairing.sha256s[form.side] if pairing else ""
        return next((model for model in self.models if model.sha256 == sha256), None)

    def show(self) -> Response:
        """The form for the code."""
        return self.pages.render("deletion.html", is_deleted=False)

    def delete(self, request: Request, form: FormFields) -> Response:
        """Wipes the report that has the form's `code`; RefusalError where none has it."""
        self.limits.deletions.take(request)
        if not self.reports.delete_by_code(form.get("code", "")):
            line = "No report has this code: it is mistyped, or its report was deleted before."
            raise RefusalError(404, "report_not_found", line)
        if "text/html" not in request.headers.get("accept", ""):
            return JSONResponse({"deleted": True})
        return self.pages.render("deletion.html", is_deleted=True)
