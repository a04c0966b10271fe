"""What every request and response passes: host, origin, size, and the headers that bind the browser.

Not covered: TLS (a proxy's work) and floods below HTTP.
"""

import re
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pacos.web.error_shape import error_response
from pacos.web.proxies import ip_of
from pacos.web.streams import ClientGoneError

MAX_BODY_BYTES = 1_000_000
_HOST = re.compile(
    r"(?:\[(?P<address>[0-9A-Fa-f:.]+)\]|(?P<name>[\w.~!$&'()*+,;=%-]*))(?::(?P<port>[0-9]{1,5}))?", re.ASCII
)
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


def is_loopback(address: str) -> bool:
    """Whether this is an IP address of the machine itself."""
    parsed = ip_of(address)
    return parsed is not None and parsed.is_loopback


def host_name(host: str) -> str | None:
    """The name or address in a Host header, without port and brackets; None where it is none (RFC 9110, RFC 3986)."""
    match = _HOST.fullmatch(host)
    if not match or int(match["port"] or 0) > 65535:
        return None
    address = match["address"]
    return match["name"] if address is None else address if ip_of(address) else None


def is_local_host(host: str) -> bool:
    """Whether a Host header names this machine: localhost or a loopback address, with any port."""
    name = host_name(host) or ""
    return name.lower() == "localhost" or is_loopback(name)


def is_own_origin(headers: Headers, scheme: str = "http") -> bool:
    """False where a browser says that another site's page sent this; programs send no Origin and pass.

    A proxy names the site's own host in X-Forwarded-Host, a header that no other site's page can send unasked. Another
    port of this host is another site, and so is its plain HTTP where `scheme` says that we are reached by HTTPS.
    """
    origin = headers.get("origin")
    if origin is None:
        return headers.get("sec-fetch-site", "none") in {"none", "same-origin"}
    own = {headers.get("host", "").lower(), headers.get("x-forwarded-host", "").lower()} - {""}
    try:
        sent_from = urlsplit(origin)
    except ValueError:
        return False
    return sent_from.netloc.lower() in own and not (scheme == "https" and sent_from.scheme != "https")


class RequestGuards:
    """ASGI middleware: refuses foreign hosts, other sites' posts and oversized bodies; sets the security headers."""

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
        reached_at = (scope.get("server") or ("",))[0]
        # A site whose name was pointed at 127.0.0.1 (DNS rebinding) is, to the browser, this server's own origin.
        if host_name(headers.get("host", "")) is None:
            line = "The Host header is no name or address with or without a port."
            await error_response(400, line, "invalid_request")(scope, receive, send_with_headers)
        elif is_loopback(reached_at) and not is_local_host(headers.get("host", "")):
            line = "This server answers to localhost only; a proxy in front of it must send Host: localhost."
            await error_response(403, line, "foreign_host")(scope, receive, send_with_headers)
        elif "content-length" in headers and "transfer-encoding" in headers:
            # A proxy may go by the other one, and take for the next request what is the end of this one.
            refusal = error_response(400, "Content-Length and Transfer-Encoding exclude each other.", "invalid_request")
            refusal.headers["Connection"] = "close"
            await refusal(scope, receive, send_with_headers)
        elif scope["method"] not in SAFE_METHODS and not is_own_origin(headers, scope["scheme"]):
            refusal = error_response(403, "Requests from another site's page are refused.", "cross_origin")
            await refusal(scope, receive, send_with_headers)
        else:
            try:
                body = await _read_body(headers, receive)
            except ClientGoneError:
                # What has come of it is no request.
                return
            if body is None:
                line = f"The request is larger than {MAX_BODY_BYTES:,} bytes."
                await error_response(413, line, "request_too_large")(scope, receive, send_with_headers)
            else:
                await self.app(scope, _replay(body, receive), send_with_headers)


async def _read_body(headers: Headers, receive: Receive) -> bytes | None:
    """The whole body, or None once it is seen to be too large; a chunked body states no length beforehand.

    Raises ClientGoneError where the client leaves before its end.
    """
    declared = headers.get("content-length", "0")
    if declared.isdigit() and int(declared) > MAX_BODY_BYTES:
        return None
    body, more = bytearray(), True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGoneError
        body += message.get("body", b"")
        more = message.get("more_body", False)
        if len(body) > MAX_BODY_BYTES:
            return None
    return bytes(body)


def _replay(body: bytes, receive: Receive) -> Receive:
    unread: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replay() -> Message:
        return unread.pop() if unread else await receive()

    return replay
