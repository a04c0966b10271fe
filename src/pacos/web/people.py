"""Who asks: the session in the cookie or the API key, and the terms it accepted.

Stored are the hashes of each session and key, so that who reads the database cannot use them, with the terms that
were accepted and when; no address.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from secrets import token_urlsafe

from sqlalchemy import Column, Connection, DateTime, ForeignKey, MetaData, String, Table, Text, func, select
from starlette.requests import Request
from starlette.responses import Response

from pacos.core.errors import PacosError
from pacos.core.files import read_text, sha256_text
from pacos.store.database import Database, Schema, in_database_thread, insert_missing
from pacos.web.error_shape import RefusalError
from pacos.web.guards import SAFE_METHODS
from pacos.web.markdown import render_markdown

COOKIE = "pacos_session"
COOKIE_SECONDS = 180 * 24 * 3600
# Told apart from the made-up keys that clients send to servers without keys, which are not looked up.
KEY_PREFIX = "pacos-"
MAX_KEYS = 10
BROWSER_HEADERS = ("origin", "sec-fetch-site")
LABEL_DIGITS = 12
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
_KEYS = Table(
    "people_keys",
    _TABLES,
    Column("key_sha256", String(64), primary_key=True),
    Column("session_sha256", String(64), nullable=False, index=True),
    # The terms that the holder's session accepted last.
    Column("version", ForeignKey("people_terms.version"), nullable=False),
    Column("issued_at", DateTime(timezone=True), nullable=False),
    Column("revoked_at", DateTime(timezone=True)),
)


def _add_keys(connection: Connection) -> None:
    time = DateTime(timezone=True).compile(connection.dialect)
    connection.exec_driver_sql(
        "CREATE TABLE people_keys (key_sha256 VARCHAR(64) NOT NULL PRIMARY KEY, session_sha256 VARCHAR(64) NOT NULL, "
        f"version VARCHAR(12) NOT NULL REFERENCES people_terms (version), issued_at {time} NOT NULL, revoked_at {time})"
    )
    connection.exec_driver_sql("CREATE INDEX ix_people_keys_session_sha256 ON people_keys (session_sha256)")


SCHEMA = Schema("people", _TABLES, (_add_keys,))


@dataclass(frozen=True)
class ApiKey:
    """A key as its holder's page lists it; `label`, the beginning of its hash, names it and lets nobody use it."""

    label: str
    issued_at: datetime
    is_todays: bool


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
    return Terms(text, sha256_text(text)[:12], render_markdown(text))


class People:
    """Sessions and keys in the database at `where`.

    A session begins when the terms are accepted, and before that no cookie is set. With `requires_key` the API answers
    to keys alone. Raises PacosError where the database cannot be opened.
    """

    def __init__(self, where: Path | str, terms: Terms, requires_key: bool = False) -> None:
        self.terms, self.requires_key = terms, requires_key
        self._database = Database(where, SCHEMA, PATIENCE_SECONDS)

    def has_accepted(self, request: Request) -> bool:
        """Whether this visitor accepted the terms as they are today."""
        own = _ACCEPTANCES.c.session_sha256 == _own(request)
        with self._database.reading() as connection:
            accepted = select(_ACCEPTANCES).where(own, _ACCEPTANCES.c.version == self.terms.version)
            return connection.execute(accepted).first() is not None

    def require_terms(self, request: Request) -> None:
        """Raises RefusalError 403 where the terms have not been accepted."""
        if not self.has_accepted(request):
            raise RefusalError(403, "terms_not_accepted", "Please reload the page and accept the terms of use first.")

    async def admit(self, request: Request) -> None:
        """Raises RefusalError where an API request's key is wrong or missing, or its reader has not accepted the terms.

        Every route of the API depends on it. A browser names the page that asks, and its reader has to have accepted
        the terms before a question; a program has none to show.
        """
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        key = token.strip() if scheme.lower() == "bearer" else ""
        if key.startswith(KEY_PREFIX) and await in_database_thread(self._admits_key, key):
            # The limits count by it.
            request.state.key_sha256 = sha256_text(key)
        elif self.requires_key or key.startswith(KEY_PREFIX):
            what = "This API key is wrong or was revoked" if key else "This server answers to API keys only"
            raise RefusalError(401, "invalid_api_key", f"{what}; get one at /keys.")
        elif request.method not in SAFE_METHODS and any(name in request.headers for name in BROWSER_HEADERS):
            await in_database_thread(self.require_terms, request)

    def _admits_key(self, key: str) -> bool:
        """Whether it is a key of this server's; RefusalError where its holder has not accepted today's terms."""
        with self._database.reading() as connection:
            valid = select(_KEYS.c.version).where(_KEYS.c.key_sha256 == sha256_text(key), _KEYS.c.revoked_at.is_(None))
            version = connection.scalar(valid)
        if version not in (None, self.terms.version):
            line = (
                "The terms of use have changed since this API key was issued. Accept them at /keys, in the browser that"
            )
            raise RefusalError(
                403, "terms_not_accepted", f"{line} got this key, and it works again; or get a new key there."
            )
        return version is not None

    def issue_key(self, request: Request) -> str:
        """A new key of this session, which has accepted the terms; only its hash is kept.

        Raises RefusalError where the terms have not been accepted or the session has as many keys as it may.
        """
        self.require_terms(request)
        if len(self.keys(request)) >= MAX_KEYS:
            raise RefusalError(409, "too_many_keys", f"You have {MAX_KEYS} keys; revoke one before you get another.")
        key = KEY_PREFIX + token_urlsafe(32)
        new = {"key_sha256": sha256_text(key), "version": self.terms.version, "issued_at": datetime.now(UTC)}
        with self._database.transaction() as connection:
            connection.execute(_KEYS.insert().values(session_sha256=_own(request), **new))
        return key

    def keys(self, request: Request) -> list[ApiKey]:
        """This session's keys that are not revoked, the newest first."""
        own = _KEYS.c.session_sha256 == _own(request), _KEYS.c.revoked_at.is_(None)
        with self._database.reading() as connection:
            rows = connection.execute(select(_KEYS).where(*own).order_by(_KEYS.c.issued_at.desc())).all()
        return [ApiKey(row.key_sha256[:LABEL_DIGITS], row.issued_at, row.version == self.terms.version) for row in rows]

    def revoke_key(self, request: Request, label: str) -> None:
        """Ends a key of this session's; nothing happens where it has no key of that label."""
        own = _KEYS.c.session_sha256 == _own(request), _KEYS.c.revoked_at.is_(None)
        with self._database.transaction() as connection:
            named = func.substr(_KEYS.c.key_sha256, 1, LABEL_DIGITS) == label
            connection.execute(_KEYS.update().where(*own, named).values(revoked_at=datetime.now(UTC)))

    def record_acceptance(self, request: Request, response: Response) -> None:
        """Stores that the visitor accepts the terms, and sets the cookie on `response`.

        A session that this server has not given out is not taken up. The session's keys go by the new terms, too.
        """
        session = request.cookies[COOKIE] if self._is_known(request) else token_urlsafe(32)
        version, now = self.terms.version, datetime.now(UTC)
        text = {"version": version, "text": self.terms.text, "first_accepted_at": now}
        acceptance = {"session_sha256": sha256_text(session), "version": version, "accepted_at": now}
        with self._database.transaction() as connection:
            insert_missing(connection, _TERMS, [text])
            insert_missing(connection, _ACCEPTANCES, [acceptance])
            connection.execute(
                _KEYS.update().where(_KEYS.c.session_sha256 == sha256_text(session)).values(version=version)
            )
        # Lax, not Strict: a visitor who follows a link to the page keeps the session; posts from elsewhere do not.
        response.set_cookie(
            COOKIE,
            session,
            max_age=COOKIE_SECONDS,
            httponly=True,
            samesite="lax",
            secure=request.url.scheme == "https",
        )

    def _is_known(self, request: Request) -> bool:
        with self._database.reading() as connection:
            own = select(_ACCEPTANCES).where(_ACCEPTANCES.c.session_sha256 == _own(request))
            return connection.execute(own).first() is not None

    def close(self) -> None:
        """Closes the connections."""
        self._database.close()


def _own(request: Request) -> str:
    return sha256_text(request.cookies.get(COOKIE, ""))
