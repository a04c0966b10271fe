"""Who asks: the session in the cookie, the terms it accepted, and how often it may ask.

Stored are the hash of each session with the terms it accepted and when; no address.
"""

import math
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from secrets import token_urlsafe

from sqlalchemy import Column, DateTime, ForeignKey, MetaData, String, Table, Text, select
from starlette.requests import Request
from starlette.responses import Response

from pacos.core.errors import PacosError
from pacos.core.files import read_text
from pacos.store.database import Database, Schema, insert_missing
from pacos.web.buckets import AddressKeys, TokenBuckets
from pacos.web.error_shape import RefusalError
from pacos.web.guards import is_loopback
from pacos.web.markdown import render_markdown

COOKIE = "pacos_session"
COOKIE_SECONDS = 180 * 24 * 3600
# A page shows that the database is locked sooner than a job gives up a paid reply.
PATIENCE_SECONDS = 5.0

_TABLES = MetaData()
# Each text that was ever accepted, so that a version can be read again.
_TERMS = Table(
    "people_terms",
    _TABLES,
    Column("version", String(12), primary_key=True),
    Column("text", Text, nullable=False),
    Column("first_accepted_at", DateTime(timezone=True), nullable=False),
)
_ACCEPTANCES = Table(
    "people_acceptances",
    _TABLES,
    Column("session_sha256", String(64), primary_key=True),
    Column("version", ForeignKey("people_terms.version"), primary_key=True),
    Column("accepted_at", DateTime(timezone=True), nullable=False),
)
SCHEMA = Schema("people", _TABLES)


@dataclass(frozen=True)
class Terms:
    """`version` changes with every change of the text, so nobody has to remember to count it up."""

    text: str
    version: str
    html: str


def load_terms(path: Path) -> Terms:
    """Reads terms of use in Markdown; PacosError where the file is missing or blank."""
    text = read_text(path, "terms of use").strip()
    if not text:
        raise PacosError(f"{path}: the terms of use are empty; expected Markdown text.")
    return Terms(text, sha256(text.encode()).hexdigest()[:12], render_markdown(text))


class People:
    """Sessions in the database at `where`; one begins when the terms are accepted, and before that no cookie is set.

    Raises PacosError where the database cannot be opened.
    """

    def __init__(self, where: Path | str, terms: Terms) -> None:
        self.terms = terms
        self._database = Database(where, SCHEMA, PATIENCE_SECONDS)

    def has_accepted(self, request: Request) -> bool:
        """Whether this visitor accepted the terms as they are today."""
        own = _ACCEPTANCES.c.session_sha256 == _hashed(request.cookies.get(COOKIE, ""))
        with self._database.reading() as connection:
            accepted = select(_ACCEPTANCES).where(own, _ACCEPTANCES.c.version == self.terms.version)
            return connection.execute(accepted).first() is not None

    def require_terms(self, request: Request) -> None:
        """Raises RefusalError 403 where the terms have not been accepted."""
        if not self.has_accepted(request):
            raise RefusalError(403, "terms_not_accepted", "Please reload the page and accept the terms of use first.")

    def record_acceptance(self, request: Request, response: Response) -> None:
        """Stores that the visitor accepts the terms, and sets the cookie on `response`: a new visitor's session."""
        session = request.cookies.get(COOKIE) or token_urlsafe(32)
        version, now = self.terms.version, datetime.now(UTC)
        text = {"version": version, "text": self.terms.text, "first_accepted_at": now}
        acceptance = {"session_sha256": _hashed(session), "version": version, "accepted_at": now}
        with self._database.transaction() as connection:
            insert_missing(connection, _TERMS, [text])
            insert_missing(connection, _ACCEPTANCES, [acceptance])
        # Lax, not Strict: a visitor who follows a link to the page keeps the session; posts from elsewhere do not.
        response.set_cookie(
            COOKIE,
            session,
            max_age=COOKIE_SECONDS,
            httponly=True,
            samesite="lax",
            secure=request.url.scheme == "https",
        )

    def close(self) -> None:
        """Closes the connections."""
        self._database.close()


def visitor_of(request: Request) -> str:
    """Whose turn a question takes: an address's, and behind an own proxy that names none a session's."""
    address = request.client.host if request.client else ""
    # A cookie is anyone's to invent, so that elsewhere it would be a way to many turns.
    return request.cookies.get(COOKIE, address) if is_loopback(address) else address


def _hashed(session: str) -> str:
    # Who reads the database must not be able to use the cookies.
    return sha256(session.encode()).hexdigest()


class Limit:
    """How often one session and one address may do something; each is (at once, a minute in the long run)."""

    def __init__(self, session: tuple[int, float], address: tuple[int, float]) -> None:
        self._sessions, self._addresses = TokenBuckets(*session), TokenBuckets(*address)
        self._keys = AddressKeys()

    def take(self, request: Request) -> None:
        """Counts one request of the session, and of the address, since whoever floods may begin a session anew.

        Raises RefusalError 429 where none is left.
        """
        _take(self._sessions, request.cookies.get(COOKIE, ""), "session")
        self.take_from_address(request)

    def take_from_address(self, request: Request) -> None:
        """Counts one request of the address; programs on this machine are its owner's and are not counted."""
        # uvicorn has put a local proxy's X-Forwarded-For here, and nobody else's.
        address = request.client.host if request.client else ""
        if not is_loopback(address):
            _take(self._addresses, self._keys.key(address), "address")


def _take(buckets: TokenBuckets, key: str, whose: str) -> None:
    if wait := math.ceil(buckets.take(key)):
        line = f"Too many requests from this {whose}; try again in {wait} s."
        raise RefusalError(429, "rate_limit_exceeded", line, wait)
