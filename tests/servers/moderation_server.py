"""A server of POST /v1/moderations on a real loopback socket, in the shape of OpenAI's answers."""

import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from typing import Any, Self

from pacos.guard import CATEGORIES
from tests.servers.openai_server import QuietServer


def omni_result(flagged: bool = False, **scores: float) -> dict[str, Any]:
    """As omni-moderation-latest answers; a category is named with "__" for "/" and "_" for "-"."""
    named = {name.replace("__", "/").replace("_", "-"): score for name, score in scores.items()}
    every = dict.fromkeys(CATEGORIES, 1.1e-05) | named
    return {
        "flagged": flagged,
        "categories": {name: flagged and name in named for name in every},
        "category_scores": every,
        "category_applied_input_types": {name: ["text"] for name in every},
    }


def reply_of(*results: Any) -> dict[str, Any]:
    """The whole reply."""
    return {"id": "modr-970d409ef3bef3b70c73d8232df86e7d", "model": "omni-moderation-latest", "results": list(results)}


class ModerationServer:
    """`answer(text)` gives the JSON to send, or (status, body) for any other reply, or None to say nothing at all."""

    def __init__(self, answer: Callable[[str], Any]) -> None:
        self.bodies: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.closing = threading.Event()
        owner = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: object) -> None:
                pass

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                owner.bodies.append({"path": self.path, **body})
                owner.headers.append({name.lower(): value for name, value in self.headers.items()})
                said = answer(body["input"])
                if said is None:
                    self.close_connection = True
                    owner.closing.wait(30)
                    return
                status, data = said if isinstance(said, tuple) else (200, json.dumps(said).encode())
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

        self._http = QuietServer(("127.0.0.1", 0), Handler)
        self.base_url = f"http://127.0.0.1:{self._http.server_port}/v1"

    def __enter__(self) -> Self:
        threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.closing.set()
        self._http.shutdown()
        self._http.server_close()
