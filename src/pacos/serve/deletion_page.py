"""The page at `/reports/delete`: whoever reported an answer wipes the report with the code that came with it."""

from fastapi import APIRouter, Request
from starlette.responses import JSONResponse, Response

from pacos.serve.reports import ReportBox
from pacos.web.error_shape import RefusalError
from pacos.web.forms import FormFields
from pacos.web.limits import Limit
from pacos.web.pages import Pages


class DeletionPage:
    """The routes of the page. It needs no session: the code is enough, on any device."""

    def __init__(self, reports: ReportBox, pages: Pages) -> None:
        self.reports, self.pages = reports, pages
        self.limit = Limit(session=(10, 10), address=(10, 10))

    def router(self) -> APIRouter:
        """The routes."""
        router = APIRouter()
        router.add_api_route("/reports/delete", self.show, methods=["GET"])
        router.add_api_route("/reports/delete", self.delete, methods=["POST"])
        return router

    def show(self) -> Response:
        """The form for the code."""
        return self.pages.render("deletion.html", is_deleted=False)

    def delete(self, request: Request, form: FormFields) -> Response:
        """Wipes the report that has the form's `code`; RefusalError where none has it."""
        self.limit.take(request)
        if not self.reports.delete_by_code(form.get("code", "")):
            line = "No report has this code: it is mistyped, or its report was deleted before."
            raise RefusalError(404, "report_not_found", line)
        if "text/html" not in request.headers.get("accept", ""):
            return JSONResponse({"deleted": True})
        return self.pages.render("deletion.html", is_deleted=True)
