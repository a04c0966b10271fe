"""BatchEngine: sends requests through an OpenAI-compatible server's Batch API, for half the price within a day."""

import asyncio
import hashlib
import json
import sys
import time
from collections import Counter, deque
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Iterator
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path
from threading import Event
from typing import Any

from pacos.core.errors import PacosError
from pacos.core.recipe import EngineTable
from pacos.engines.http.batch_api import BatchApi, BatchStatus, GivenUpError, StoppedError, unless_stopped
from pacos.engines.http.batch_records import BatchRecords, Record
from pacos.engines.http.connection import Connection
from pacos.engines.http.reading import Reader
from pacos.engines.http.troubles import NoReplyError, Trouble, status_trouble
from pacos.engines.types import Delta, Failure, Reply, Request

MOST_REQUESTS = 50_000
MOST_BYTES = 100_000_000
# A server ends a batch after a day; one that has not after two is waited for no longer.
LONGEST_BATCH_SECONDS = 2 * 86_400.0
CANCEL_SECONDS = 8.0
_UNFINISHED = ("batch_expired", "batch_cancelled")


class BatchEngine:
    """Any server with OpenAI's Batch API. Raises PacosError where the address or the key is missing.

    `folder` keeps what finds a batch again: a process killed at any moment, started again with the same requests, takes
    up the batch it had begun. `poll_seconds` are the shortest and the longest wait between two looks at it.
    """

    tokens_written = 0

    def __init__(
        self, table: EngineTable, folder: Path | None = None, poll_seconds: tuple[float, float] = (5.0, 60.0)
    ) -> None:
        self._connection = Connection(table)
        self.name = self._connection.name
        self._reader = Reader(table, self._connection)
        self._api = BatchApi(self._connection, self._reader)
        self._records = BatchRecords(folder, self._connection.shown_url)
        self._poll_seconds = poll_seconds
        # Records whose batches are over and read to the end; what is left of them goes when the engine closes.
        self._read_through: list[Record] = []
        self._broken_off = False

    async def complete(self, requests: Iterable[Request], stop: Event | None = None) -> AsyncIterator[Reply | Failure]:
        """Answers every request once; takes all of them, up to a batch's size, before it sends the first.

        After a stop it cancels the batch and hands over what the server has answered by then.
        """
        source, stop = iter(requests), stop or Event()
        waiting: deque[Request] = deque()
        try:
            while jobs := self._take(waiting, source, stop):
                # First from batches begun earlier.
                for record in (*self._records.holding(jobs), None):
                    here = record.custom_ids & jobs.keys() if record else list(jobs)
                    part = {custom_id: jobs.pop(custom_id) for custom_id in here}
                    async with aclosing(self._answers(record, part, waiting, stop)) as answers:
                        async for answer in answers:
                            yield answer
        except BaseException:
            self._broken_off = True
            raise

    async def stream(self, request: Request) -> AsyncIterator[Delta]:
        """Raises PacosError: a batch answers hours later."""
        raise PacosError(f"{self.name}: a batch cannot be streamed; set batch=false.")
        yield Delta("")

    async def close(self) -> None:
        """Closes the connections, and forgets batches that are over and read."""
        # What else was in them was taken by a process that was killed, before it could say so; who broke off may not
        # have asked for all of it yet.
        for record in () if self._broken_off else self._read_through:
            self._records.strike(record, record.custom_ids)
        await self._connection.client.close()

    def _take(self, waiting: deque[Request], source: Iterator[Request], stop: Event) -> dict[str, Request]:
        """The requests of one batch by custom id; one that no longer fits is left in `waiting`."""
        jobs: dict[str, Request] = {}
        bodies: Counter[str] = Counter()
        size = 0
        while len(jobs) < MOST_REQUESTS:
            request = waiting.popleft() if waiting else None if stop.is_set() else next(source, None)
            if request is None:
                break
            # What a server was found to refuse is left out of the id: after a restart it is not known yet.
            body = self._connection.body(request, set())
            digest = hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()[:40]
            custom_id = f"{digest}-{bodies[digest]}"
            size += len(self._line(custom_id, request))
            if jobs and size > MOST_BYTES:
                waiting.appendleft(request)
                break
            bodies[digest] += 1
            jobs[custom_id] = request
        return jobs

    def _line(self, custom_id: str, request: Request) -> bytes:
        body = self._connection.body(request, self._connection.refused)
        line = {"custom_id": custom_id, "method": "POST", "url": self._connection.path, "body": body}
        return json.dumps(line).encode() + b"\n"

    async def _answers(
        self, record: Record | None, jobs: dict[str, Request], again: deque[Request], stop: Event
    ) -> AsyncGenerator[Reply | Failure, None]:
        """Answers to `jobs`, which are in the record's batch, or in a new one; what needs one more goes to `again`."""
        if record is None and not jobs:
            return
        settled, is_new = set[str](), record is None
        try:
            record = record or await self._upload(jobs, stop)
            batch = await self._api.find_or_create(record.input_file_id, is_new, stop)
            was_cancelled_before = batch.status in ("cancelled", "cancelling")
            batch, is_left = await self._ended(batch, len(record.custom_ids), stop)
            for file_id in batch.files if batch.has_ended else ():
                async with aclosing(self._api.lines(file_id)) as lines:
                    async for line in lines:
                        custom_id, answer = self._read(line, jobs, record.refused, again)
                        if answer is not None:
                            yield answer
                        # Only now is the answer with whoever asked for it.
                        jobs.pop(custom_id, None)
                        settled.add(custom_id)
            if is_left:
                raise StoppedError
            settled.update(jobs)
            self._read_through.append(record)
            if was_cancelled_before:
                again.extend(jobs.values())
                return
            for request in jobs.values():
                yield self._failure(request, _trouble_of_the_rest(batch))
        except GivenUpError as error:
            # What the server refuses outright is tried anew by the next run; anything else may have begun.
            if error.trouble.kind == "bad_request" and not error.trouble.retry:
                settled.update(jobs)
            for answer in self._given_up(jobs, error):
                yield answer
        finally:
            if record is not None:
                self._records.strike(record, settled)

    async def _upload(self, jobs: dict[str, Request], stop: Event) -> Record:
        if stop.is_set():
            raise StoppedError
        file_id = await self._api.upload([self._line(*job) for job in jobs.items()])
        record = Record(self._connection.shown_url, file_id, frozenset(jobs), frozenset(self._connection.refused))
        self._records.add(record)
        return record

    async def _ended(self, batch: BatchStatus, total: int, stop: Event) -> tuple[BatchStatus, bool]:
        """The batch when it is over, and whether a stop ended it; says how far it is now and then."""
        start, (wait, longest), said = time.monotonic(), self._poll_seconds, -1
        while not batch.has_ended:
            if stop.is_set():
                return await self._cancel(batch), True
            if batch.done != said:
                said = batch.done
                self._tell(batch, f"{said:,} of {total:,} requests done")
            if time.monotonic() - start > LONGEST_BATCH_SECONDS:
                raise GivenUpError(Trouble("timeout", f"batch {batch.id} is not over after two days", retry=True))
            if await unless_stopped(wait, stop):
                wait = min(longest, 1.5 * wait)
                batch = await self._api.retrieve(batch, stop)
        return batch, False

    async def _cancel(self, batch: BatchStatus) -> BatchStatus:
        """Stops the batch, and waits a little for the answers that are there."""
        self._tell(batch, "cancelling")
        try:
            async with asyncio.timeout(CANCEL_SECONDS):
                await self._api.cancel(batch.id)
                while not batch.has_ended:
                    await asyncio.sleep(self._poll_seconds[0] / 5)
                    batch = await self._api.retrieve(batch)
        except (GivenUpError, TimeoutError):
            self._tell(batch, "not over yet; the same command finds it again")
        return batch

    def _tell(self, batch: BatchStatus, what: str) -> None:
        print(f"{self.name}: batch {batch.id}: {what}", file=sys.stderr)

    def _read(
        self, line: str, jobs: dict[str, Request], refused: frozenset[str], again: deque[Request]
    ) -> tuple[str, Reply | Failure | None]:
        """One line of an output or error file: which request it settles, and the answer unless it is asked `again`."""
        try:
            value = self._reader.json(line)
            custom_id, response, error = value["custom_id"], value.get("response"), value.get("error")
            request = jobs[custom_id]
        except (NoReplyError, KeyError, TypeError):
            return "", None
        if not isinstance(response, dict):
            error = error if isinstance(error, dict) else {"message": "neither response nor error"}
            if error.get("code") in _UNFINISHED:
                return "", None
            message = f"{error.get('code')}: {error.get('message')}"
            return custom_id, self._failure(request, Trouble("server", message, retry=True))
        status, body = response.get("status_code"), response.get("body")
        sent = self._connection.body(request, refused)
        try:
            if not isinstance(status, int) or status < 400:
                return custom_id, self._reader.reply(body if isinstance(body, dict) else {}, request, sent)
            trouble = status_trouble(status, body)
        except NoReplyError as no_reply:
            trouble = self._reader.trouble(no_reply)
        if (name := trouble.refused_of(sent)) and self._connection.body(request, refused | {name}) != sent:
            # Free, and no trouble of the user's: the next batch leaves it out.
            self._connection.leave_out(name)
            again.append(request)
            return custom_id, None
        if trouble.filtered:
            return custom_id, Reply(request.id, "", "content_filter")
        return custom_id, self._failure(request, trouble)

    def _failure(self, request: Request, trouble: Trouble, advice: str = "") -> Failure:
        unseen_usd = self._reader.prices.worst_case_usd(request) if trouble.maybe_billed else 0.0
        line = self._connection.line(trouble, advice)
        return Failure(request.id, trouble.kind, line, trouble.fatal, unseen_usd=unseen_usd)

    def _given_up(self, jobs: dict[str, Request], error: GivenUpError) -> list[Failure]:
        trouble = replace(error.trouble, fatal=not isinstance(error, StoppedError), maybe_billed=False)
        advice = "If this server has no Batch API, set batch=false." if trouble.kind == "bad_request" else ""
        return [self._failure(request, trouble, advice) for request in jobs.values()]


def _trouble_of_the_rest(batch: BatchStatus) -> Trouble:
    """Why a batch that is over has no answer to some of its requests."""
    if batch.status == "expired":
        return Trouble("timeout", f"batch {batch.id} expired before this request was answered", retry=True)
    if batch.status == "completed":
        return Trouble("server", f"no answer in the files of batch {batch.id}", retry=True, maybe_billed=True)
    if batch.status == "cancelled":
        return Trouble("server", f"batch {batch.id} was cancelled on the server", fatal=True)
    said: Any = "; ".join(batch.errors[:3]) or "no reason given"
    kind = status_trouble(429, {"message": said, "code": said}).kind
    return Trouble("quota" if kind == "quota" else "bad_request", f"batch {batch.id} failed ({said})", fatal=True)
