"""The Batch API's calls, each tried until it succeeds or there is no hope left."""

import asyncio
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from pacos.engines.http import protocol
from pacos.engines.http.connection import Connection
from pacos.engines.http.errors import ATTEMPT_ERRORS, LEFT_AT_A_STOP, NotOpenAIError, Trouble, text_of, trouble_of

PATIENCE_SECONDS = 900.0
LONGEST_WAIT_SECONDS = 60.0
ATTEMPTS_AT_FIRST_CONTACT = 3
PAGE, MOST_PAGES = 100, 1000
STOP_POLL_SECONDS = 0.5

_Result = TypeVar("_Result")


class GivenUpError(Exception):
    """A call that failed for good."""

    def __init__(self, trouble: Trouble) -> None:
        super().__init__(trouble.message)
        self.trouble = trouble


class StoppedError(GivenUpError):
    """A batch that was not begun, or not waited for, because nothing is to be sent any more."""

    def __init__(self) -> None:
        super().__init__(Trouble("connection", LEFT_AT_A_STOP, retry=True))


@dataclass(frozen=True, slots=True)
class Batch:
    """A batch as the server describes it; `done` counts requests answered or failed."""

    id: str
    status: str
    input_file_id: str
    files: tuple[str, ...]
    done: int
    errors: tuple[str, ...]

    @property
    def has_ended(self) -> bool:
        """Whether nothing more will come of it."""
        return self.status in ("completed", "failed", "expired", "cancelled")


class BatchApi:
    """Files and batches of one server. Every method raises GivenUpError."""

    def __init__(self, connection: Connection) -> None:
        self._client, self._masked = connection.client, connection.masked
        self._endpoint: Any = f"/v1/{'chat/' if connection.table.api == 'chat' else ''}completions"
        self._ever_answered = False

    @property
    def endpoint(self) -> str:
        """The path that each line of a batch asks."""
        return str(self._endpoint)

    async def upload(self, lines: list[bytes]) -> str:
        """Stores the requests on the server and returns the file's id."""
        file = ("requests.jsonl", b"".join(lines), "application/jsonl")

        async def call() -> str:
            response = await self._client.files.with_raw_response.create(file=file, purpose="batch")
            file_id = _id(protocol.read_json(text_of(response), "application/json"), "id")
            if self._masked(file_id) != file_id:
                raise NotOpenAIError("the server's file id holds the key; it is not kept")
            return file_id

        return await self._steadily(call)

    async def find_or_create(self, file_id: str, just_uploaded: bool, is_stopped: Callable[[], bool]) -> Batch:
        """The batch of this input file. It may exist though nobody here has heard so: then it is paid already.

        Raises StoppedError where it would have to be created after a stop.
        """
        may_exist = not just_uploaded

        async def call() -> Batch:
            nonlocal may_exist
            found = await self._find(file_id) if may_exist else None
            if found is not None:
                return found
            if is_stopped():
                raise StoppedError
            may_exist = True
            response = await self._client.batches.with_raw_response.create(
                input_file_id=file_id, endpoint=self._endpoint, completion_window="24h"
            )
            return _batch(protocol.read_json(text_of(response), "application/json"))

        return await self._steadily(call)

    async def retrieve(self, batch: Batch, is_stopped: Callable[[], bool] = lambda: False) -> Batch:
        """The batch as it is now; after a stop as it was, if the server does not say at once."""

        async def call() -> Batch:
            response = await self._client.batches.with_raw_response.retrieve(batch.id)
            return _batch(protocol.read_json(text_of(response), "application/json"))

        try:
            return await self._steadily(call, is_stopped)
        except StoppedError:
            return batch

    async def cancel(self, batch_id: str) -> None:
        """Asks the server to stop working on the batch."""

        async def call() -> None:
            await self._client.batches.with_raw_response.cancel(batch_id)

        await self._steadily(call)

    async def lines(self, file_id: str) -> AsyncIterator[str]:
        """The lines of an output file as they are read; after a broken connection it starts again from the first."""
        start, attempt = time.monotonic(), 0
        while True:
            try:
                async with self._client.files.with_streaming_response.content(file_id) as response:
                    rest = b""
                    # Only a newline ends a record: JSON may hold every other line break as it is.
                    async for piece in response.iter_bytes():
                        *whole, rest = (rest + piece).split(b"\n")
                        for line in whole:
                            handed_over = time.monotonic()
                            yield line.decode("utf-8-sig", "replace")
                            # The time that others take with a line is none of the server's.
                            start += time.monotonic() - handed_over
                if rest.strip():
                    yield rest.decode("utf-8-sig", "replace")
                return
            except ATTEMPT_ERRORS as error:
                attempt += 1
                await self._wait(trouble_of(error), attempt, start)

    async def _find(self, file_id: str) -> Batch | None:
        after: Any = {}
        for _ in range(MOST_PAGES):
            response = await self._client.batches.with_raw_response.list(limit=PAGE, **after)
            page = protocol.read_json(text_of(response), "application/json")
            listed = page.get("data")
            if not isinstance(listed, list):
                raise NotOpenAIError("not an OpenAI-compatible answer: no list of batches in it")
            # What is no batch here is none of ours.
            batches = [_batch(value) for value in listed if isinstance(value, dict)]
            for batch in batches:
                if batch.input_file_id == file_id:
                    return batch
            if not page.get("has_more") or not batches:
                return None
            after = {"after": batches[-1].id}
        return None

    async def _steadily(
        self, call: Callable[[], Awaitable[_Result]], is_stopped: Callable[[], bool] = lambda: False
    ) -> _Result:
        start, attempt = time.monotonic(), 0
        while True:
            try:
                result = await call()
            except ATTEMPT_ERRORS as error:
                attempt += 1
                await self._wait(trouble_of(error), attempt, start, is_stopped)
            else:
                self._ever_answered = True
                return result

    async def _wait(
        self, trouble: Trouble, attempt: int, start: float, is_stopped: Callable[[], bool] = lambda: False
    ) -> None:
        wait = min(LONGEST_WAIT_SECONDS, 0.25 * 2.0**attempt)
        if trouble.wait_seconds is not None:
            wait = trouble.wait_seconds
        too_long = time.monotonic() + wait - start > PATIENCE_SECONDS
        wrong_from_the_start = not self._ever_answered and attempt >= ATTEMPTS_AT_FIRST_CONTACT
        if not trouble.retry or too_long or (wrong_from_the_start and trouble.kind != "rate_limit"):
            raise GivenUpError(trouble)
        if not await unless_stopped(wait, is_stopped):
            raise StoppedError


async def unless_stopped(seconds: float, is_stopped: Callable[[], bool]) -> bool:
    """Waits so long; False, and no longer, after a stop."""
    until = time.monotonic() + seconds
    while not is_stopped():
        left = until - time.monotonic()
        if left <= 0:
            return True
        await asyncio.sleep(min(left, STOP_POLL_SECONDS))
    return False


def _batch(value: Any) -> Batch:
    if not isinstance(value, dict):
        raise NotOpenAIError("not an OpenAI-compatible answer: no batch in it")
    counts = value.get("request_counts")
    counts = counts if isinstance(counts, dict) else {}
    errors = value.get("errors")
    errors = errors.get("data") if isinstance(errors, dict) else None
    errors = errors if isinstance(errors, list) else []
    files = (value.get("output_file_id"), value.get("error_file_id"))
    return Batch(
        _id(value, "id"),
        _text(value, "status"),
        _id(value, "input_file_id"),
        tuple(file for file in files if isinstance(file, str) and file),
        sum(count for name in ("completed", "failed") if isinstance(count := counts.get(name), int)),
        tuple(f"{error.get('code')}: {error.get('message')}" for error in errors if isinstance(error, dict)),
    )


def _id(value: dict[str, Any], key: str) -> str:
    """It goes into addresses, files and lines on a terminal."""
    text = _text(value, key)
    if not re.fullmatch(r"[\w.:-]{1,128}", text):
        raise NotOpenAIError(f"not an OpenAI-compatible answer: its {key} is no name ({text!r})")
    return text


def _text(value: dict[str, Any], key: str) -> str:
    if not isinstance(value.get(key), str):
        raise NotOpenAIError(f"not an OpenAI-compatible answer: no {key} in it (keys {', '.join(value) or 'none'})")
    return str(value[key])
