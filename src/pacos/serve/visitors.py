"""Who asks: the session in the cookie, whether it accepted the terms, and how often it may ask."""

import math
from dataclasses import dataclass, field
from secrets import token_urlsafe

from starlette.requests import Request
from starlette.responses import Response

from pacos.serve.answers import RefusalError
from pacos.serve.store import Store
from pacos.serve.terms import Terms
from pacos.web.guards import is_loopback
from pacos.web.limits import AddressKeys, TokenBuckets

COOKIE = "pacos_session"
COOKIE_SECONDS = 180 * 24 * 3600
SESSION_BURST, SESSION_PER_MINUTE = 20, 20
ADDRESS_BURST, ADDRESS_PER_MINUTE = 60, 60
REPORT_BURST, REPORT_PER_MINUTE = 5, 2
ADDRESS_REPORT_BURST, ADDRESS_REPORT_PER_MINUTE = 15, 6


@dataclass
class Visitors:
    """A session begins when the terms are accepted; before that no cookie is set."""

    store: Store
    terms: Terms
    _addresses: AddressKeys = field(default_factory=AddressKeys)
    _by_session: TokenBuckets = field(default_factory=lambda: TokenBuckets(SESSION_BURST, SESSION_PER_MINUTE))
    _by_address: TokenBuckets = field(default_factory=lambda: TokenBuckets(ADDRESS_BURST, ADDRESS_PER_MINUTE))
    _reports: TokenBuckets = field(default_factory=lambda: TokenBuckets(REPORT_BURST, REPORT_PER_MINUTE))
    _reports_by_address: TokenBuckets = field(
        default_factory=lambda: TokenBuckets(ADDRESS_REPORT_BURST, ADDRESS_REPORT_PER_MINUTE)
    )

    def has_accepted(self, request: Request) -> bool:
        """Whether this visitor accepted the terms as they are today."""
        return self.store.has_accepted(request.cookies.get(COOKIE), self.terms.version)

    def require_terms(self, request: Request) -> None:
        """Raises RefusalError 403 where the terms have not been accepted."""
        if not self.has_accepted(request):
            raise RefusalError(403, "terms_not_accepted", "Please reload the page and accept the terms of use first.")

    def accept(self, request: Request, response: Response) -> None:
        """Stores the acceptance and, for a new visitor, begins a session on `response`."""
        self.limit_api(request)
        session = request.cookies.get(COOKIE)
        if not session:
            session = token_urlsafe(32)
        self.store.accept(session, self.terms)
        # Lax, not Strict: a visitor who follows a link to the page keeps the session; posts from elsewhere do not.
        response.set_cookie(
            COOKIE,
            session,
            max_age=COOKIE_SECONDS,
            httponly=True,
            samesite="lax",
            secure=request.url.scheme == "https",
        )

    def limit_page(self, request: Request) -> None:
        """Takes one question from the session and the address; raises RefusalError 429 where none is left."""
        self._limit(self._by_session, "session", request.cookies.get(COOKIE, ""))
        self.limit_api(request)

    def limit_api(self, request: Request) -> None:
        """Takes one request from the address; programs on this machine are its owner's and are not counted."""
        self._limit_address(self._by_address, request)

    def limit_reports(self, request: Request) -> None:
        """Takes one report from the session and the address, since whoever floods may accept the terms anew."""
        self._limit(self._reports, "session", request.cookies.get(COOKIE, ""))
        self._limit_address(self._reports_by_address, request)

    def _limit_address(self, buckets: TokenBuckets, request: Request) -> None:
        # uvicorn has put a local proxy's X-Forwarded-For here, and nobody else's.
        address = request.client.host if request.client else ""
        if not is_loopback(address):
            self._limit(buckets, "address", address)

    def _limit(self, buckets: TokenBuckets, whose: str, key: str) -> None:
        seconds = buckets.take(self._addresses.key(key) if whose == "address" else key)
        if seconds:
            wait = math.ceil(seconds)
            raise RefusalError(
                429, "rate_limit_exceeded", f"Too many requests from this {whose}; try again in {wait} s.", wait
            )
