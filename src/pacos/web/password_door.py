"""A page behind one password: attempts are throttled, and a signed cookie remembers who gave it."""

import hmac
import math
import time
from secrets import token_bytes, token_hex

from starlette.requests import Request
from starlette.responses import Response

from pacos.core.files import sha256_text
from pacos.web.error_shape import RefusalError
from pacos.web.limits import AddressKeys, TokenBuckets, client_address

COOKIE_SECONDS = 8 * 3600


class PasswordDoor:
    """Guards what lies under `path`; its cookies hold until they expire, somebody leaves or the process ends."""

    def __init__(self, password: str, path: str) -> None:
        self.path = path
        self._cookie = f"pacos{path.replace('/', '_')}"
        self._password = sha256_text(password)
        self._secret = token_bytes(32)
        # Of one address. A limit of all together would let anyone shut the door to the one who has the password.
        self._wrong = TokenBuckets(5, 5)
        self._hidden = AddressKeys()

    def is_open(self, request: Request) -> bool:
        """Whether this visitor gave the password."""
        expires, _, rest = request.cookies.get(self._cookie, "").partition(".")
        nonce, _, signature = rest.partition(".")
        if not hmac.compare_digest(signature.encode(), self._signature(expires, nonce).encode()):
            return False
        return time.time() < int(expires)

    def require(self, request: Request) -> None:
        """Raises RefusalError 401 for a visitor who did not."""
        if not self.is_open(request):
            raise RefusalError(401, "login_required", f"Please give the password at {self.path} first.")

    def enter(self, request: Request, password: str, response: Response) -> None:
        """Sets the cookie on `response`; RefusalError 401 at a wrong password, 429 after too many from this address."""
        address = self._hidden.key(client_address(request))
        # Taken before the password is looked at, since many may be sent at once.
        if wait := math.ceil(self._wrong.take(address)):
            raise RefusalError(429, "rate_limit_exceeded", f"Too many attempts; try again in {wait} s.", wait)
        # Digests are of one length, so that the time taken tells nothing of the password's.
        if not hmac.compare_digest(sha256_text(password), self._password):
            raise RefusalError(401, "wrong_password", "That is not the password.")
        self._wrong.take(address, -1)
        expires, nonce = str(int(time.time()) + COOKIE_SECONDS), token_hex(16)
        response.set_cookie(
            self._cookie,
            f"{expires}.{nonce}.{self._signature(expires, nonce)}",
            max_age=COOKIE_SECONDS,
            path=self.path,
            httponly=True,
            samesite="strict",
            secure=request.url.scheme == "https",
        )

    def leave(self, response: Response) -> None:
        """Ends every cookie that was given out, a stolen one included."""
        self._secret = token_bytes(32)
        response.delete_cookie(self._cookie, path=self.path)

    def _signature(self, expires: str, nonce: str) -> str:
        return hmac.digest(self._secret, f"{expires}.{nonce}".encode(), "sha256").hex()
