"""What is no HTTP request gets an error in the shape of all others, on a connection that is then closed."""

import json
import socket
from collections.abc import Iterator

import pytest
from starlette.types import Receive, Scope, Send

from pacos.web.guards import RequestGuards
from tests.serve.conftest import running

HEAD = b"POST / HTTP/1.1\r\nHost: localhost\r\n"
MALFORMED = {
    "no host": b"GET / HTTP/1.1\r\n\r\n",
    "two hosts": b"GET / HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n",
    "two lengths": HEAD + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
    "two lengths in one": HEAD + b"Content-Length: 2, 3\r\n\r\n{}",
    "length is no number": HEAD + b"Content-Length: two\r\n\r\n{}",
    "negative length": HEAD + b"Content-Length: -1\r\n\r\n{}",
    "length with a sign": HEAD + b"Content-Length: +2\r\n\r\n{}",
    "unknown coding": HEAD + b"Transfer-Encoding: gzip\r\n\r\n",
    "coding twice": HEAD + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "words": b"hello there\r\n\r\n",
    "nothing but ends of lines": b"\r\n" * 40,
    "no version": b"GET /\r\n\r\n",
    "another protocol": b"GET / FTP/1.1\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(200)),
    "NULs": b"\0" * 300,
    "blank in the target": b"GET /a b HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "target is no ASCII": "GET /é HTTP/1.1\r\nHost: localhost\r\n\r\n".encode(),
    "target is no UTF-8": b"GET /\xff\xfe HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "method with a comma": b"GE,T / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "blank before the colon": HEAD + b"X-Name : value\r\n\r\n",
    "line without a colon": HEAD + b"X-Name\r\n\r\n",
    "empty name": HEAD + b": value\r\n\r\n",
    "folded first line": b"GET / HTTP/1.1\r\n Host: localhost\r\n\r\n",
    "NUL in a value": HEAD + b"X-Name: a\0b\r\n\r\n",
    "long head": HEAD + b"X-Name: " + b"a" * 200_000 + b"\r\n\r\n",
    "long target": b"GET /" + b"a" * 200_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "chunk of no size": HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n",
    "chunk longer than said": HEAD + b"Transfer-Encoding: chunked\r\n\r\n1\r\n{}\r\n0\r\n\r\n",
}


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers whatever can be read."""
    if scope["type"] == "lifespan":
        for ended in ("startup", "shutdown"):
            await receive()
            await send({"type": f"lifespan.{ended}.complete"})
        return
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with running(RequestGuards(app)) as url:
        yield int(url.rpartition(":")[2])


def told(port: int, sent: bytes) -> bytes:
    """All that comes until the server closes the connection; the test fails where it does not."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(sent)
        return b"".join(iter(lambda: connection.recv(65536), b""))


@pytest.mark.parametrize("name", MALFORMED)
def test_what_the_parser_refuses_has_the_shape_of_every_error(
    port: int, name: str, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    head, _, body = told(port, MALFORMED[name]).partition(b"\r\n\r\n")
    lines = head.decode().lower().split("\r\n")
    assert lines[0].startswith("http/1.1 4"), head
    assert {"connection: close", "content-type: application/json", "x-content-type-options: nosniff"} <= set(lines)
    error = json.loads(body)["error"]
    assert sorted(error) == ["code", "message", "param", "type"]
    assert (error["type"], error["code"]) == ("invalid_request_error", "invalid_request")
    assert "\n" not in error["message"]
    logged = "".join(record.exc_text or "" for record in caplog.records) + capfd.readouterr().err
    assert "Traceback" not in logged


@pytest.mark.parametrize("name", ["no host", "long head"])
def test_who_asked_rightly_before_is_answered_first(port: int, name: str) -> None:
    got = told(port, b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n" + MALFORMED[name])
    assert got.startswith(b"HTTP/1.1 200")
    assert json.loads(got.rpartition(b"\r\n\r\n")[2])["error"]["code"] == "invalid_request"


def test_a_body_that_breaks_off_after_the_answer_began_ends_the_connection(
    port: int, caplog: pytest.LogCaptureFixture
) -> None:
    # Too large, and refused before its end.
    head = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
    got = told(port, head + b"fffff\r\n" + b"a" * 0xFFFFF + b"\r\nzz\r\n")
    assert b"HTTP/1.1 4" in got
    assert not [record for record in caplog.records if record.exc_info]
