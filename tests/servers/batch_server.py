"""The loopback server with a Batch API: files, batches that take their time, and what goes wrong with them."""

import email
import json
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.servers.openai_server import Faults, Handler, OpenAIServer, no_faults


@dataclass
class StoredBatch:
    """A batch works on one request after another, from its creation on."""

    id: str
    input_file_id: str
    lines: list[dict[str, Any]]
    begun: float = field(default_factory=time.monotonic)
    cancelled_at: float | None = None
    output: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    done: int = 0


class BatchServer(OpenAIServer):
    """`seconds_a_request` is how fast batches are; `expire_after` requests a batch expires; `fail_with` refuses it.

    `call_faults(n)` disturbs the n-th call of files or batches, POST /batches only after it has been obeyed, so that
    the caller does not hear of it. `line_faults(n)` disturbs the n-th request of a batch: "400", "500", "filtered".
    """

    def __init__(
        self,
        seconds_a_request: float = 0.0,
        expire_after: int | None = None,
        fail_with: tuple[str, str] | None = None,
        cancel_seconds: float = 0.0,
        call_faults: Faults = no_faults,
        line_faults: Faults = no_faults,
        **more: Any,
    ) -> None:
        self.seconds_a_request, self.expire_after, self.fail_with = seconds_a_request, expire_after, fail_with
        self.cancel_seconds, self.call_faults, self.line_faults = cancel_seconds, call_faults, line_faults
        self.files: dict[str, str] = {}
        self.batches: dict[str, StoredBatch] = {}
        self.calls: list[str] = []
        # How often each prompt was answered, and so billed.
        self.billed: Counter[str] = Counter()
        super().__init__(**more)


class BatchHandler(Handler):
    owner: BatchServer

    def do_GET(self) -> None:  # noqa: N802
        self.call()

    def do_POST(self) -> None:  # noqa: N802
        path = urlsplit(self.path).path
        if path.startswith(("/v1/files", "/v1/batches")):
            self.call(self.rfile.read(int(self.headers.get("Content-Length", 0))))
        else:
            super().do_POST()

    def call(self, data: bytes = b"") -> None:
        owner, url = self.owner, urlsplit(self.path)
        parts = url.path.removeprefix("/v1/").split("/")
        with owner.lock:
            number = len(owner.calls)
            owner.calls.append(f"{self.command} {'/'.join(parts)}")
        if owner.key and self.headers.get("Authorization") != f"Bearer {owner.key}":
            return self.error(401, "Incorrect API key provided.", "invalid_api_key")
        fault = owner.call_faults(number)
        creates = self.command == "POST" and parts == ["batches"]
        if fault and not creates:
            return self.fail(fault)
        with owner.lock:
            answer = self.obey(parts, data, parse_qs(url.query))
        if fault:
            return self.fail(fault)
        if isinstance(answer, str):
            return self.send(200, answer.encode(), "application/octet-stream")
        if answer is None:
            return self.error(404, f"No such thing: {self.path}", "not_found")
        self.send_json(200, answer)

    def obey(self, parts: list[str], data: bytes, query: dict[str, list[str]]) -> dict[str, Any] | str | None:
        owner = self.owner
        if self.command == "POST" and parts == ["files"]:
            file_id = f"file-{len(owner.files)}"
            owner.files[file_id] = self.uploaded(data)
            return {"id": file_id, "object": "file", "bytes": len(data), "purpose": "batch"}
        if parts[0] == "files":
            return owner.files.get(parts[1])
        if self.command == "POST" and len(parts) == 1:
            file_id = json.loads(data)["input_file_id"]
            if file_id not in owner.files:
                return None
            lines = [json.loads(line) for line in owner.files[file_id].splitlines()]
            batch = StoredBatch(f"batch_{len(owner.batches)}", file_id, lines)
            owner.batches[batch.id] = batch
            return self.shown(batch)
        if len(parts) == 1:
            return self.page(query)
        batch = owner.batches[parts[1]]
        if parts[-1] == "cancel" and batch.cancelled_at is None:
            self.work(batch)
            batch.cancelled_at = time.monotonic()
        return self.shown(batch)

    def page(self, query: dict[str, list[str]]) -> dict[str, Any]:
        newest_first = list(reversed(self.owner.batches.values()))
        after = query.get("after", [""])[0]
        start = next((n + 1 for n, batch in enumerate(newest_first) if batch.id == after), 0)
        # Small pages, so that whoever looks for a batch has to turn them.
        page = newest_first[start : start + 2]
        more = start + 2 < len(newest_first)
        return {"object": "list", "data": [self.shown(batch) for batch in page], "has_more": more}

    def uploaded(self, data: bytes) -> str:
        message = email.message_from_bytes(b"Content-Type: " + self.headers["Content-Type"].encode() + b"\n\n" + data)
        fields = {part.get_param("name", header="content-disposition"): part for part in message.get_payload()}
        assert fields["purpose"].get_payload() == "batch"
        return fields["file"].get_payload(decode=True).decode()

    def work(self, batch: StoredBatch) -> None:
        """Answers what time has allowed since the batch began."""
        owner = self.owner
        if owner.fail_with or batch.cancelled_at is not None:
            return
        limit = len(batch.lines) if owner.expire_after is None else min(owner.expire_after, len(batch.lines))
        pace = owner.seconds_a_request
        due = limit if pace == 0 else min(limit, int((time.monotonic() - batch.begun) / pace))
        for number in range(batch.done, due):
            self.answer_line(batch, number)
        batch.done = due

    def answer_line(self, batch: StoredBatch, number: int) -> None:
        owner, line = self.owner, batch.lines[number]
        body, fault = line["body"], owner.line_faults(number)
        refused = next((name for name in owner.refused_parameters if name in body), None)
        if refused:
            error = {
                "message": f"Unsupported parameter: '{refused}'",
                "code": "unsupported_parameter",
                "param": refused,
            }
            return self.note(batch.errors, line, 400, {"error": error})
        if fault == "filtered":
            error = {"message": "The prompt was filtered.", "code": "content_filter"}
            return self.note(batch.errors, line, 400, {"error": error})
        if fault == "lost":
            owner.billed[self.prompt_of(body)] += 1
            return None
        if fault:
            return self.note(batch.errors, line, int(fault), {"error": {"message": "No.", "code": "some_error"}})
        text = owner.text_of(self.prompt_of(body), body.get("seed"))
        owner.billed[self.prompt_of(body)] += 1
        return self.note(batch.output, line, 200, self.completion(text, "stop", body))

    def prompt_of(self, body: dict[str, Any]) -> str:
        return body["prompt"] if "prompt" in body else body["messages"][-1]["content"]

    def note(self, file: list[str], line: dict[str, Any], status: int, body: dict[str, Any]) -> None:
        response = {"status_code": status, "request_id": "r", "body": body}
        file.append(
            json.dumps(
                {"id": "b", "custom_id": line["custom_id"], "response": response, "error": None}, ensure_ascii=False
            )
        )

    def shown(self, batch: StoredBatch) -> dict[str, Any]:
        owner = self.owner
        self.work(batch)
        status = self.status_of(batch)
        value: dict[str, Any] = {
            "id": batch.id,
            "object": "batch",
            "endpoint": batch.lines[0]["url"],
            "completion_window": "24h",
            "created_at": 0,
            "input_file_id": batch.input_file_id,
            "status": status,
            "request_counts": {"total": len(batch.lines), "completed": batch.done, "failed": 0},
        }
        if status == "failed" and owner.fail_with:
            code, message = owner.fail_with
            value["errors"] = {"object": "list", "data": [{"code": code, "message": message, "line": 1}]}
        if status in ("completed", "expired", "cancelled"):
            unfinished = [
                json.dumps({"custom_id": line["custom_id"], "response": None, "error": {"code": f"batch_{status}"}})
                for line in batch.lines[batch.done :]
            ]
            for name, lines in (("output", batch.output), ("error", batch.errors + unfinished)):
                if lines:
                    owner.files[f"{batch.id}-{name}"] = "\n".join(lines) + "\n"
                    value[f"{name}_file_id"] = f"{batch.id}-{name}"
        return value

    def status_of(self, batch: StoredBatch) -> str:
        owner = self.owner
        if owner.fail_with:
            return "failed"
        if batch.cancelled_at is not None:
            return "cancelled" if time.monotonic() - batch.cancelled_at >= owner.cancel_seconds else "cancelling"
        if owner.expire_after is not None and owner.expire_after < len(batch.lines):
            return "expired" if batch.done >= owner.expire_after else "in_progress"
        return "completed" if batch.done == len(batch.lines) else "in_progress"


BatchServer.handler = BatchHandler
