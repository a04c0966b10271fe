"""What every request and response passes: size, origin, and the headers that bind the browser.

Not covered: TLS (a proxy's work), DNS rebinding of a loopback server, and floods below HTTP.
"""

from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MAX_BODY_BYTES = 1_000_000
SAFE_METHODS = {"GET", "HEAD", "OPTIONS"}
SECURITY_HEADERS = {
    # No inline script, no inline style, nothing from elsewhere, no framing.
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    # Not "no-referrer": browsers then send "Origin: null" with our own forms.
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}


def error_response(
    status: int, message: str, code: str, kind: str = "invalid_request_error", param: str | None = None
) -> JSONResponse:
    """An error in OpenAI's shape, which the pages read too; `param` names the field that is wrong."""
    error = {"message": message, "type": kind, "param": param, "code": code}
    return JSONResponse({"error": error}, status)


def is_own_origin(headers: Headers) -> bool:
    """False where a browser says that another site's page sent this; programs send no Origin and pass."""
    origin = headers.get("origin")
    if origin is None:
        return headers.get("sec-fetch-site", "none") in {"none", "same-origin"}
    return urlsplit(origin).netloc.lower() == headers.get("host", "").lower()


class RequestGuards:
    """ASGI middleware: refuses other sites' posts and oversized bodies, and sets the security headers."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in SECURITY_HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        headers = Headers(scope=scope)
        if scope["method"] not in SAFE_METHODS and not is_own_origin(headers):
            refusal = error_response(403, "Requests from another site's page are refused.", "cross_origin")
            await refusal(scope, receive, send_with_headers)
        elif (body := await _read_body(headers, receive)) is None:
            refusal = error_response(413, f"The request is larger than {MAX_BODY_BYTES:,} bytes.", "request_too_large")
            await refusal(scope, receive, send_with_headers)
        else:
            await self.app(scope, _replay(body, receive), send_with_headers)


async def _read_body(headers: Headers, receive: Receive) -> bytes | None:
    """The whole body, or None once it is seen to be too large; a chunked body states no length beforehand."""
    declared = headers.get("content-length", "0")
    if declared.isdigit() and int(declared) > MAX_BODY_BYTES:
        return None
    body, more = b"", True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message["type"] == "http.request" and message.get("more_body", False)
        if len(body) > MAX_BODY_BYTES:
            return None
    return body


def _replay(body: bytes, receive: Receive) -> Receive:
    sent = False

    async def replay() -> Message:
        nonlocal sent
        if not sent:
            sent = True
            return {"type": "http.request", "body": body, "more_body": False}
        return await receive()

    return replay
