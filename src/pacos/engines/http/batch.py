"""BatchEngine: sends requests through an OpenAI-compatible server's Batch API, for half the price within a day."""

import asyncio
import hashlib
import json
import sys
import time
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

from pacos.core.errors import PacosError
from pacos.core.recipe import EngineTable
from pacos.engines.http import protocol
from pacos.engines.http.batch_api import Batch, BatchApi, GivenUpError, StoppedError, unless_stopped
from pacos.engines.http.batch_records import BatchRecords, Record
from pacos.engines.http.connection import Connection
from pacos.engines.http.errors import NotOpenAIError, Trouble, refused_by, status_trouble, trouble_of
from pacos.engines.types import Delta, Failure, Reply, Request, is_stopped

MOST_REQUESTS = 50_000
MOST_BYTES = 100_000_000
# A server ends a batch after a day; one that has not after two is waited for no longer.
PATIENCE_SECONDS = 2 * 86_400.0
CANCEL_SECONDS = 8.0
_UNFINISHED = ("batch_expired", "batch_cancelled")


class BatchEngine:
    """Any server with OpenAI's Batch API. Raises PacosError where the address or the key is missing.

    `folder` keeps what finds a batch again: a process killed at any moment, started again with the same requests, takes
    up the batch it had begun. `poll_seconds` are the shortest and the longest wait between two looks at it.
    """

    def __init__(
        self, table: EngineTable, folder: Path | None = None, poll_seconds: tuple[float, float] = (5.0, 60.0)
    ) -> None:
        self._connection = Connection(table)
        self.name = self._connection.name
        self._table = table
        self._api = BatchApi(self._connection)
        self._records = BatchRecords(folder, self._connection.shown_url)
        self._poll_seconds = poll_seconds
        self._refused: set[str] = set()
        # Records whose batches are over and read to the end; what is left of them goes when the engine closes.
        self._read_through: list[Record] = []
        self._broken_off = False

    async def complete(self, requests: Iterable[Request]) -> AsyncIterator[Reply | Failure]:
        """Answers every request once; takes all of them, up to a batch's size, before it sends the first.

        After a stop it cancels the batch and hands over what the server has answered by then.
        """
        source = iter(requests)
        waiting: deque[Request] = deque()

        def stopped() -> bool:
            return is_stopped(requests)

        try:
            while jobs := self._take(waiting, source):
                async with aclosing(self._answers(jobs, waiting, stopped)) as answers:  # type: ignore[type-var]
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

    def _take(self, waiting: deque[Request], source: Iterator[Request]) -> dict[str, Request]:
        """The requests of one batch by custom id; one that no longer fits is left in `waiting`."""
        jobs: dict[str, Request] = {}
        bodies: Counter[str] = Counter()
        size = 0
        while len(jobs) < MOST_REQUESTS:
            request = waiting.popleft() if waiting else next(source, None)
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
        body = self._connection.body(request, self._refused)
        line = {"custom_id": custom_id, "method": "POST", "url": self._api.endpoint, "body": body}
        return json.dumps(line).encode() + b"\n"

    async def _answers(
        self, jobs: dict[str, Request], again: deque[Request], stopped: Callable[[], bool]
    ) -> AsyncIterator[Reply | Failure]:
        """Answers to `jobs`, first from batches begun earlier; what needs one more batch is put into `again`."""
        for record in self._records.holding(jobs):
            of_record = {custom_id: jobs.pop(custom_id) for custom_id in record.custom_ids & jobs.keys()}
            async with aclosing(self._batch_answers(record, of_record, again, False, stopped)) as answers:  # type: ignore[type-var]
                async for answer in answers:
                    yield answer
        if not jobs:
            return
        try:
            if stopped():
                raise StoppedError
            file_id = await self._api.upload([self._line(*job) for job in jobs.items()])
        except GivenUpError as error:
            for request in jobs.values():
                yield self._given_up(request, error)
            return
        record = Record(self._connection.shown_url, file_id, frozenset(jobs), frozenset(self._refused))
        self._records.add(record)
        async with aclosing(self._batch_answers(record, jobs, again, True, stopped)) as answers:  # type: ignore[type-var]
            async for answer in answers:
                yield answer

    async def _batch_answers(
        self,
        record: Record,
        jobs: dict[str, Request],
        again: deque[Request],
        just_uploaded: bool,
        stopped: Callable[[], bool],
    ) -> AsyncIterator[Reply | Failure]:
        """Answers to `jobs`, which are in the record's batch."""
        settled = set[str]()
        try:
            batch = await self._api.find_or_create(record.input_file_id, just_uploaded, stopped)
            was_cancelled_before = batch.status in ("cancelled", "cancelling")
            batch, is_left = await self._ended(batch, len(record.custom_ids), stopped)
            async with aclosing(self._lines(batch)) as lines:  # type: ignore[type-var]
                async for line in lines:
                    custom_id, answer = self._read(line, jobs, set(record.refused), again)
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
            for request in jobs.values():
                yield self._given_up(request, error)
        finally:
            self._records.strike(record, settled)

    async def _lines(self, batch: Batch) -> AsyncIterator[str]:
        """The lines of a batch's files, where it is over."""
        for file_id in batch.files if batch.has_ended else ():
            async with aclosing(self._api.lines(file_id)) as lines:  # type: ignore[type-var]
                async for line in lines:
                    yield line

    async def _ended(self, batch: Batch, total: int, stopped: Callable[[], bool]) -> tuple[Batch, bool]:
        """The batch when it is over, and whether a stop ended it; says how far it is now and then."""
        start, (wait, longest), said = time.monotonic(), self._poll_seconds, -1
        while not batch.has_ended:
            if stopped():
                return await self._cancel(batch), True
            if batch.done != said:
                said = batch.done
                print(
                    f"{self.name}: batch {self._connection.masked(batch.id)}: {said:,} of {total:,} requests done",
                    file=sys.stderr,
                )
            if time.monotonic() - start > PATIENCE_SECONDS:
                raise GivenUpError(Trouble("timeout", f"batch {batch.id} is not over after two days", retry=True))
            if await unless_stopped(wait, stopped):
                wait = min(longest, 1.5 * wait)
                batch = await self._api.retrieve(batch, stopped)
        return batch, False

    async def _cancel(self, batch: Batch) -> Batch:
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

    def _tell(self, batch: Batch, what: str) -> None:
        print(f"{self.name}: batch {self._connection.masked(batch.id)}: {what}", file=sys.stderr)

    def _read(
        self, line: str, jobs: dict[str, Request], refused: set[str], again: deque[Request]
    ) -> tuple[str, Reply | Failure | None]:
        """One line of an output or error file: which request it settles, and the answer unless it is asked `again`."""
        try:
            value = json.loads(line)
            custom_id, response, error = value["custom_id"], value.get("response"), value.get("error")
            request = jobs[custom_id]
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            return "", None
        if not isinstance(response, dict):
            error = error if isinstance(error, dict) else {"message": "neither response nor error"}
            if error.get("code") in _UNFINISHED:
                return "", None
            message = f"{error.get('code')}: {error.get('message')}"
            return custom_id, self._failure(request, Trouble("server", message, retry=True))
        status, body = response.get("status_code"), response.get("body")
        sent = self._connection.body(request, refused)
        if not isinstance(status, int) or status < 400:
            try:
                return custom_id, self._connection.reply(body if isinstance(body, dict) else {}, request, sent, 0.0)
            except NotOpenAIError as not_openai:
                return custom_id, self._failure(request, trouble_of(not_openai))
        name = refused_by(status, body, "", [key for key in sent if key in protocol.REFUSABLE])
        if name is not None and self._connection.body(request, refused | {name}) != sent:
            # Free, and no trouble of the user's: the next batch leaves it out.
            if name not in self._refused:
                self._refused.add(name)
                self._connection.tell_refused(name)
            again.append(request)
            return custom_id, None
        trouble = status_trouble(status, body, "", {})
        if trouble.filtered:
            return custom_id, Reply(request.id, "", "content_filter")
        return custom_id, self._failure(request, trouble)

    def _failure(self, request: Request, trouble: Trouble) -> Failure:
        unseen_usd = self._connection.prices.worst_case_usd(request) if trouble.maybe_billed else 0.0
        line = self._connection.line(trouble)
        return Failure(request.id, trouble.kind, line, trouble.fatal, unseen_usd=unseen_usd)

    def _given_up(self, request: Request, error: GivenUpError) -> Failure:
        trouble = error.trouble
        advice = "If this server has no Batch API, set batch=false." if trouble.kind == "bad_request" else ""
        return Failure(
            request.id, trouble.kind, self._connection.line(trouble, advice), not isinstance(error, StoppedError)
        )


def _trouble_of_the_rest(batch: Batch) -> Trouble:
    """Why a batch that is over has no answer to some of its requests."""
    if batch.status == "expired":
        return Trouble("timeout", f"batch {batch.id} expired before this request was answered", retry=True)
    if batch.status == "completed":
        return Trouble("server", f"no answer in the files of batch {batch.id}", retry=True, maybe_billed=True)
    if batch.status == "cancelled":
        return Trouble("server", f"batch {batch.id} was cancelled on the server", fatal=True)
    said: Any = "; ".join(batch.errors[:3]) or "no reason given"
    kind = status_trouble(429, {"message": said, "code": said}, "", {}).kind
    return Trouble("quota" if kind == "quota" else "bad_request", f"batch {batch.id} failed ({said})", fatal=True)
