"""A small OpenAI-compatible server on a real loopback socket, with the faults of real ones.

`with OpenAIServer(faults=seeded_faults(0.3)) as server:` answers chat and legacy completions at `server.base_url`;
`python -m tests.servers.openai_server` runs it in a process of its own and prints the address.
"""

import email.utils
import gzip
import json
import random
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

from tests.servers.scripted_teacher import teacher_text

Faults = Callable[[int], str | None]
RETRIED = ("429-seconds", "429-date", "429-bare", "500", "503", "stall", "reset", "truncated")
CUT = ("length", "content_filter")
ENDLESS = ("endless", "endless-500", "drip")


def no_faults(number: int) -> str | None:
    return None


def answer(status: int, body: Any, **headers: str) -> str:
    """The fault that answers in just these words: JSON, or a page where `body` is a text."""
    return f"answer {json.dumps([status, body, headers])}"


def seeded_faults(share: float, kinds: tuple[str, ...] = RETRIED + CUT, seed: int = 0) -> Faults:
    """Request number n, counted from 0, fails in the same way in every run."""

    def fault(number: int) -> str | None:
        rng = random.Random(f"{seed}/{number}")
        return rng.choice(kinds) if rng.random() < share else None

    return fault


def scripted_faults(*kinds: str | None) -> Faults:
    """The first requests fail in this order, the rest succeed."""
    return lambda number: kinds[number] if number < len(kinds) else None


def always(kind: str) -> Faults:
    return lambda number: kind


class TokenBucket:
    """A limit on requests: `capacity` at once, refilled at `per_second`."""

    def __init__(self, per_second: float, capacity: float) -> None:
        self.per_second, self.capacity, self.tokens = per_second, capacity, capacity
        self.filled_at = time.monotonic()
        self.lock = threading.Lock()

    def take(self) -> float:
        """0.0 where a token was there and is taken, else the seconds until there is one."""
        with self.lock:
            now = time.monotonic()
            self.tokens = min(self.capacity, self.tokens + (now - self.filled_at) * self.per_second)
            self.filled_at = now
            if self.tokens < 1:
                return (1 - self.tokens) / self.per_second
            self.tokens -= 1
            return 0.0


class OpenAIServer:
    """`text_of(prompt, seed)` writes the replies; `key` is required of clients where it is set.

    `rewrite(answer)` may change an answer's JSON, or an event's of a stream, before it is sent, as servers with habits
    of their own do;
    `reply_headers(number)` adds headers to good answers. With a `bucket`, requests beyond its limit are refused with
    429 and `bucket_says` ("seconds", "ms" or "nothing") about when to come back.
    """

    handler: type["Handler"]

    def __init__(
        self,
        faults: Faults = no_faults,
        text_of: Callable[[str, int | None], str] = teacher_text,
        key: str = "",
        latency_seconds: Callable[[int], float] = lambda number: 0.0,
        stall_seconds: float = 30.0,
        retry_after_seconds: int = 1,
        refused_parameters: tuple[str, ...] = (),
        usage: bool = True,
        rewrite: Callable[[dict[str, Any]], object] = lambda answer: None,
        reply_headers: Callable[[int], dict[str, str]] = lambda number: {},
        bucket: TokenBucket | None = None,
        bucket_says: str = "seconds",
        port: int = 0,
    ) -> None:
        self.faults, self.text_of, self.key = faults, text_of, key
        self.latency_seconds, self.stall_seconds = latency_seconds, stall_seconds
        self.retry_after_seconds, self.refused_parameters, self.usage = retry_after_seconds, refused_parameters, usage
        self.rewrite, self.reply_headers = rewrite, reply_headers
        self.bucket, self.bucket_says = bucket, bucket_says
        self.bodies: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.arrivals: list[float] = []
        self.faults_made: Counter[str] = Counter()
        self.in_flight = self.most_in_flight = self.completion_tokens = 0
        self.lock = threading.Lock()
        self.closing = threading.Event()
        server = self

        class BoundHandler(self.handler):  # type: ignore[name-defined,misc]
            owner = server

        self._http = QuietServer(("127.0.0.1", port), BoundHandler)
        self.port = self._http.server_port
        self.base_url = f"http://127.0.0.1:{self._http.server_port}/v1"

    def __enter__(self) -> Self:
        threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.closing.set()
        self._http.shutdown()
        self._http.server_close()


class QuietServer(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that hang up are part of the tests."""


class Handler(BaseHTTPRequestHandler):
    owner: OpenAIServer
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, *_: object) -> None:
        pass

    def do_POST(self) -> None:
        data = self.rfile.read(int(self.headers["Content-Length"]))
        if not self.path.partition("?")[0].endswith("/completions"):
            return self.error(404, f"Unknown address: {self.path}", "not_found")
        body, owner = json.loads(data), self.owner
        if owner.closing.is_set():
            # A server that has gone away does not go on talking to those it knows.
            self.close_connection = True
            return
        with owner.lock:
            number = len(owner.bodies)
            owner.bodies.append(body)
            owner.headers.append({name.lower(): value for name, value in self.headers.items()})
            owner.arrivals.append(time.monotonic())
            owner.in_flight += 1
            owner.most_in_flight = max(owner.most_in_flight, owner.in_flight)
        try:
            self.answer(number, body)
        finally:
            with owner.lock:
                owner.in_flight -= 1

    def answer(self, number: int, body: dict[str, Any]) -> None:
        owner = self.owner
        if owner.key and self.headers.get("Authorization") != f"Bearer {owner.key}":
            given = self.headers.get("Authorization", "").removeprefix("Bearer ")
            return self.error(401, f"Incorrect API key provided: {given}.", "invalid_api_key")
        for name in owner.refused_parameters:
            if name in body:
                message = f"Unsupported parameter: '{name}' is not supported with this model."
                return self.error(400, message, "unsupported_parameter", param=name)
        if owner.bucket is not None and (wait := owner.bucket.take()) > 0:
            return self.refuse_for(wait)
        fault = owner.faults(number)
        if fault:
            with owner.lock:
                owner.faults_made[fault] += 1
        owner.closing.wait(owner.latency_seconds(number))
        if fault and fault not in (*CUT, "truncated"):
            return self.fail(fault)
        text, reason = self.written(body, fault)
        if body.get("stream"):
            self.stream(text, reason, body)
        else:
            headers = owner.reply_headers(number)
            self.send_json(200, self.completion(text, reason, body), headers, cut=fault == "truncated")
            self.delivered(number, body, text, fault)

    def refuse_for(self, seconds: float) -> None:
        with self.owner.lock:
            self.owner.faults_made["bucket"] += 1
        says = {
            "seconds": {"Retry-After": str(int(seconds) + 1)},
            "ms": {"retry-after-ms": str(int(1000 * seconds) + 1)},
        }
        self.error(429, "Rate limit reached.", "rate_limit_exceeded", says.get(self.owner.bucket_says))

    def delivered(self, number: int, body: dict[str, Any], text: str, fault: str | None) -> None:
        """A reply has been sent, whole or cut; for those who keep books."""

    def written(self, body: dict[str, Any], fault: str | None) -> tuple[str, str]:
        prompt = body["prompt"] if "prompt" in body else body["messages"][-1]["content"]
        text, reason = self.owner.text_of(prompt, body.get("seed")), "stop"
        ends = [at for stop in body.get("stop") or () if (at := text.find(stop)) >= 0]
        text = text[: min(ends)] if ends else text
        limit = 4 * (body.get("max_tokens") or body.get("max_completion_tokens") or 10**9)
        if fault in CUT:
            text, reason = text[: len(text) * 2 // 3], fault
        if len(text) > limit:
            text, reason = text[:limit], "length"
        with self.owner.lock:
            self.owner.completion_tokens += len(text) // 4
        return text, reason

    def completion(self, text: str, reason: str, body: dict[str, Any]) -> dict[str, Any]:
        chat = "messages" in body
        choice = {"message": {"role": "assistant", "content": text}} if chat else {"text": text}
        answer = {
            "id": "c-1",
            "object": "chat.completion" if chat else "text_completion",
            "created": 0,
            "model": body["model"],
            "choices": [{"index": 0, "finish_reason": reason, "logprobs": None, **choice}],
        }
        if self.owner.usage:
            answer["usage"] = self.usage_of(text, body)
        self.owner.rewrite(answer)
        return answer

    def usage_of(self, text: str, body: dict[str, Any]) -> dict[str, int]:
        prompt = len(json.dumps(body.get("prompt") or body["messages"])) // 4
        return {
            "prompt_tokens": prompt,
            "completion_tokens": len(text) // 4,
            "total_tokens": prompt + len(text) // 4,
        }

    def stream(self, text: str, reason: str, body: dict[str, Any]) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        chat = "messages" in body
        kind = "chat.completion.chunk" if chat else "text_completion"

        def send(choices: list[dict[str, Any]], **more: Any) -> None:
            event = {"id": "c-1", "object": kind, "created": 0, "model": body["model"], "choices": choices, **more}
            self.owner.rewrite(event)
            self.wfile.write(f"data: {json.dumps(event)}\n\n".encode())
            self.wfile.flush()

        for at in range(0, len(text), 7):
            piece = {"delta": {"content": text[at : at + 7]}} if chat else {"text": text[at : at + 7]}
            send([{"index": 0, "finish_reason": None, **piece}])
        send([{"index": 0, "finish_reason": reason, **({"delta": {}} if chat else {"text": ""})}])
        send([], usage=self.usage_of(text, body))
        self.wfile.write(b"data: [DONE]\n\n")
        self.close_connection = True

    def fail(self, fault: str) -> None:
        wait = self.owner.retry_after_seconds
        if fault == "429-seconds":
            return self.error(429, "Rate limit reached.", "rate_limit_exceeded", {"Retry-After": str(wait)})
        if fault == "429-date":
            # Whole seconds, rounded up: a date cannot say less.
            date = email.utils.formatdate(int(time.time()) + 1 + wait, usegmt=True)
            return self.error(429, "Rate limit reached.", "rate_limit_exceeded", {"Retry-After": date})
        if fault == "429-bare":
            return self.error(429, "Too many requests.", "rate_limit_exceeded")
        if fault in ("429-bill", "429-bill-typed"):
            message = "Rate limit reached: 3 a minute. To raise it, add a payment method at https://x.example/billing."
            if fault == "429-bill":
                return self.error(429, message, "limited", {"Retry-After": str(wait)})
            return self.error(429, message, "rate_limit_exceeded")
        if fault == "quota":
            return self.error(429, "You exceeded your current quota.", "insufficient_quota")
        if fault == "402":
            return self.error(402, "Insufficient Balance", "unknown_error")
        if fault.startswith("answer "):
            status, body, headers = json.loads(fault.removeprefix("answer "))
            headers = {name.replace("_", "-"): value for name, value in headers.items()}
            kind = "text/plain" if isinstance(body, str) else "application/json"
            return self.send(status, (body if isinstance(body, str) else json.dumps(body)).encode(), kind, headers)
        if fault.startswith("400 "):
            return self.error(400, fault.removeprefix("400 "), "bad_words")
        if fault == "echo-key":
            message = f"Bad header Authorization:\n{self.headers.get('Authorization')} at {self.path}" + " " * 200 + "!"
            return self.error(400, message, "bad_header")
        if fault == "404":
            return self.error(404, "The model does not exist.", "model_not_found")
        if fault == "400":
            return self.error(400, "This model's maximum context length is 10 tokens.", "context_length_exceeded")
        if fault in ENDLESS:
            return self.send_for_ever(fault)
        if fault == "bomb":
            # Some kilobytes, which unpack to a hundred megabytes.
            bomb = gzip.compress(bytes(100_000_000), 1)
            return self.send(200, bomb, "application/json", {"Content-Encoding": "gzip"})
        if fault in ("500", "503"):
            return self.error(int(fault), "The server had an error.", "server_error")
        if fault == "html":
            return self.send(200, b"<!doctype html><title>Welcome</title>", "text/html")
        if fault == "html-404":
            return self.send(404, b"<!doctype html><title>Not here</title>", "text/html")
        if fault == "no-choices":
            return self.send_json(200, {"hello": "world"})
        pages = {"json-list": b"[1, 2]", "text": b"It works!\n", "empty": b"", "json-text": b'"hello"'}
        if fault in pages:
            return self.send(200, pages[fault], "application/json" if "json" in fault else "text/plain")
        self.close_connection = True
        if fault == "stall":
            self.owner.closing.wait(self.owner.stall_seconds)
        elif fault == "reset":
            linger = struct.pack("ii", 1, 0)
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            self.connection.close()

    def send_for_ever(self, fault: str) -> None:
        """A body without an end: as fast as it goes, or a byte now and then."""
        self.send_response(500 if fault == "endless-500" else 200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Connection", "close")
        self.end_headers()
        self.close_connection = True
        piece = b" " if fault == "drip" else b'{"choices": [' + b"1, " * 20_000
        while not self.owner.closing.wait(0.05 if fault == "drip" else 0.0):
            self.wfile.write(piece)

    def error(
        self, status: int, message: str, code: str, headers: dict[str, str] | None = None, param: str | None = None
    ) -> None:
        error = {"message": message, "type": code, "code": code, "param": param}
        self.send_json(status, {"error": error}, headers)

    def send_json(
        self, status: int, value: dict[str, Any], headers: dict[str, str] | None = None, cut: bool = False
    ) -> None:
        self.send(status, json.dumps(value).encode(), "application/json", headers, cut)

    def send(
        self, status: int, data: bytes, content_type: str, headers: dict[str, str] | None = None, cut: bool = False
    ) -> None:
        # Who says what time it is there says so once.
        (self.send_response_only if "Date" in (headers or {}) else self.send_response)(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(data)))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data[: len(data) // 2] if cut else data)
        self.close_connection = self.close_connection or cut


OpenAIServer.handler = Handler

if __name__ == "__main__":
    with OpenAIServer() as running:
        print(running.base_url, flush=True)
        threading.Event().wait()
