"""The page at `/keys`: a visitor who accepted the terms gets keys for the API and ends them there."""

from fastapi import APIRouter, Request
from starlette.responses import RedirectResponse, Response

from pacos.serve.limits import Limits
from pacos.web.forms import FormFields
from pacos.web.pages import Pages
from pacos.web.people import People


class KeysPage:
    """The routes of the page."""

    def __init__(self, people: People, limits: Limits, pages: Pages) -> None:
        self.people, self.limits, self.pages = people, limits, pages

    def router(self) -> APIRouter:
        """The routes."""
        router = APIRouter()
        # Plain functions run in threads, since they ask the database.
        router.add_api_route("/keys", self.show, methods=["GET"])
        router.add_api_route("/keys", self.issue, methods=["POST"])
        router.add_api_route("/keys/terms", self.accept_terms, methods=["POST"])
        router.add_api_route("/keys/revoke", self.revoke, methods=["POST"])
        return router

    def show(self, request: Request) -> Response:
        """The session's keys, or the terms where they have not been accepted."""
        if not self.people.has_accepted(request):
            terms = self.people.terms
            return self.pages.render("terms.html", terms=terms, accepted=False, action="/keys/terms")
        return self._page(request)

    def accept_terms(self, request: Request) -> Response:
        """Takes the acceptance and goes on to the keys."""
        response = RedirectResponse("/keys", 303)
        self.limits.keys.take_from_address(request)
        self.people.record_acceptance(request, response)
        return response

    def issue(self, request: Request) -> Response:
        """Shows a new key, this once."""
        self.people.require_terms(request)
        self.limits.keys.take(request)
        return self._page(request, self.people.issue_key(request))

    def revoke(self, request: Request, form: FormFields) -> Response:
        """Ends a key of this session's."""
        self.people.revoke_key(request, form.get("label", ""))
        return RedirectResponse("/keys", 303)

    def _page(self, request: Request, new_key: str = "") -> Response:
        return self.pages.render(
            "keys.html",
            keys=self.people.keys(request),
            new_key=new_key,
            is_required=self.people.requires_key,
        )
