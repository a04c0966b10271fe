"""The Batch API's calls, each tried until it succeeds or there is no hope left."""

import asyncio
import re
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass
from threading import Event
from typing import Any, TypeVar

from pacos.engines.http.connection import Connection
from pacos.engines.http.reading import Reader
from pacos.engines.http.troubles import (
    ATTEMPT_ERRORS,
    ATTEMPTS_AT_FIRST_CONTACT,
    LEFT_AT_A_STOP,
    PATIENCE_SECONDS,
    STOP_POLL_SECONDS,
    NoReplyError,
    Trouble,
)

LONGEST_WAIT_SECONDS = 60.0
PAGE, MOST_PAGES = 100, 1000

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
class BatchStatus:
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

    def __init__(self, connection: Connection, reader: Reader) -> None:
        self._client, self._path, self._reader = connection.client, connection.path, reader
        self._ever_answered = False

    async def upload(self, lines: list[bytes]) -> str:
        """Stores the requests on the server and returns the file's id."""
        file = ("requests.jsonl", b"".join(lines), "application/jsonl")

        async def call() -> str:
            response = await self._client.files.with_raw_response.create(file=file, purpose="batch")
            return _id(self._reader.body(response), "id")

        return await self._steadily(call)

    async def find_or_create(self, file_id: str, just_uploaded: bool, stop: Event) -> BatchStatus:
        """The batch of this input file. It may exist though nobody here has heard so: then it is paid already.

        Raises StoppedError where it would have to be created after a stop.
        """
        may_exist = not just_uploaded

        async def call() -> BatchStatus:
            nonlocal may_exist
            found = await self._find(file_id) if may_exist else None
            if found is not None:
                return found
            if stop.is_set():
                raise StoppedError
            may_exist = True
            response = await self._client.batches.with_raw_response.create(
                input_file_id=file_id, endpoint=self._path, completion_window="24h"
            )
            return _batch(self._reader.body(response))

        return await self._steadily(call)

    async def retrieve(self, batch: BatchStatus, stop: Event | None = None) -> BatchStatus:
        """The batch as it is now; after a stop as it was, if the server does not say at once."""

        async def call() -> BatchStatus:
            response = await self._client.batches.with_raw_response.retrieve(batch.id)
            return _batch(self._reader.body(response))

        try:
            return await self._steadily(call, stop)
        except StoppedError:
            return batch

    async def cancel(self, batch_id: str) -> None:
        """Asks the server to stop working on the batch."""
        await self._steadily(lambda: self._client.batches.with_raw_response.cancel(batch_id))

    async def lines(self, file_id: str) -> AsyncGenerator[str, None]:
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
                await self._wait(self._reader.trouble(error), attempt, start)

    async def _find(self, file_id: str) -> BatchStatus | None:
        after: Any = {}
        for _ in range(MOST_PAGES):
            page = self._reader.body(await self._client.batches.with_raw_response.list(limit=PAGE, **after))
            listed = page.get("data")
            if not isinstance(listed, list):
                raise NoReplyError("not an OpenAI-compatible answer: no list of batches in it")
            # What is no batch here is none of ours.
            batches = [_batch(value) for value in listed if isinstance(value, dict)]
            for batch in batches:
                if batch.input_file_id == file_id:
                    return batch
            if not page.get("has_more") or not batches:
                return None
            after = {"after": batches[-1].id}
        return None

    async def _steadily(self, call: Callable[[], Awaitable[_Result]], stop: Event | None = None) -> _Result:
        start, attempt = time.monotonic(), 0
        while True:
            try:
                result = await call()
            except ATTEMPT_ERRORS as error:
                attempt += 1
                await self._wait(self._reader.trouble(error), attempt, start, stop)
            else:
                self._ever_answered = True
                return result

    async def _wait(self, trouble: Trouble, attempt: int, start: float, stop: Event | None = None) -> None:
        asked = trouble.wait_seconds
        wait = min(LONGEST_WAIT_SECONDS, 0.25 * 2.0**attempt) if asked is None else asked
        too_long = time.monotonic() + wait - start > PATIENCE_SECONDS
        wrong_from_the_start = not self._ever_answered and attempt >= ATTEMPTS_AT_FIRST_CONTACT
        if not trouble.retry or too_long or (wrong_from_the_start and trouble.kind != "rate_limit"):
            raise GivenUpError(trouble)
        if not await unless_stopped(wait, stop):
            raise StoppedError


async def unless_stopped(seconds: float, stop: Event | None) -> bool:
    """Waits so long; False, and no longer, after a stop."""
    until = time.monotonic() + seconds
    while stop is None or not stop.is_set():
        left = until - time.monotonic()
        if left <= 0:
            return True
        await asyncio.sleep(min(left, STOP_POLL_SECONDS))
    return False


def _batch(value: Any) -> BatchStatus:
    if not isinstance(value, dict):
        raise NoReplyError("not an OpenAI-compatible answer: no batch in it")
    counts = value.get("request_counts")
    counts = counts if isinstance(counts, dict) else {}
    errors = value.get("errors")
    errors = errors.get("data") if isinstance(errors, dict) else None
    errors = errors if isinstance(errors, list) else []
    files = (value.get("output_file_id"), value.get("error_file_id"))
    return BatchStatus(
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
        raise NoReplyError(f"not an OpenAI-compatible answer: its {key} is no name ({text!r})")
    return text


def _text(value: dict[str, Any], key: str) -> str:
    if not isinstance(value.get(key), str):
        raise NoReplyError(f"not an OpenAI-compatible answer: no {key} in it (keys {', '.join(value) or 'none'})")
    return str(value[key])
