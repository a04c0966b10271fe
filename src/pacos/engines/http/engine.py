"""HttpEngine: asks an OpenAI-compatible server, with its own retries, pace and accounts."""

import asyncio
import math
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import httpx2

from pacos.core.errors import PacosError
from pacos.core.recipe import EngineTable
from pacos.engines.http import protocol
from pacos.engines.http.breaker import Breaker
from pacos.engines.http.connection import Connection
from pacos.engines.http.errors import ATTEMPT_ERRORS, LEFT_AT_A_STOP, Trouble, refused_parameter, text_of, trouble_of
from pacos.engines.http.limits import wait_seconds
from pacos.engines.http.pace import Pace
from pacos.engines.types import Delta, Failure, Reply, Request, is_stopped

ATTEMPTS = 8
ATTEMPTS_AT_FIRST_CONTACT = 3
# A request gives up when the server has made it wait this long in all.
PATIENCE_SECONDS = 900.0
CONNECT_SECONDS = 10.0
# How soon a stop is noticed while nothing is in flight.
STOP_POLL_SECONDS = 0.5


@dataclass(slots=True)
class _Job:
    """A request on its way to an answer; sent again not before `due`."""

    request: Request
    due: float = 0.0
    attempts: int = 0
    refusals_in_a_row: int = 0
    waited: float = 0.0
    unseen_usd: float = 0.0
    # How long its last attempt waited for an answer, twice as long after each time-out of its own.
    timeout_seconds: float = 0.0
    timeouts: int = 0
    is_probe: bool = False
    # Under a limit on money: what goes back to the caller when the job is due.
    lost: Failure | None = None


class HttpEngine:
    """Any OpenAI-compatible server. Raises PacosError where the address or the key is missing.

    `timeout_seconds` is the longest wait for one answer. The wait shrinks from there to a multiple of what the server
    really takes, but not below `shortest_timeout_seconds`, and grows again while none comes in time.
    """

    def __init__(
        self, table: EngineTable, timeout_seconds: float = 600.0, shortest_timeout_seconds: float = 30.0
    ) -> None:
        self._connection = Connection(table)
        self.name = self._connection.name
        self._table = table
        self._timeout_seconds = timeout_seconds
        self._pace = Pace(table.concurrency, timeout_seconds, shortest_timeout_seconds)
        self._breaker = Breaker(self.name)
        self._refused: set[str] = set()
        # How often each request went back to the caller since it was last answered, outages aside.
        self._losses: Counter[str] = Counter()

    async def complete(self, requests: Iterable[Request]) -> AsyncIterator[Reply | Failure]:
        """Answers every request once, as answers arrive; takes the next request only when one may be sent."""
        source = iter(requests)
        # Those to be sent again, and those to be handed back, each when it is due.
        waiting: list[_Job] = []
        in_flight: dict[asyncio.Task[Reply | Trouble], _Job] = {}
        self._breaker.begin()
        try:
            while True:
                if not in_flight and not waiting:
                    request = next(source, None)
                    if request is None:
                        return
                    waiting.append(_Job(request))
                if self._breaker.is_hopeless and not in_flight:
                    while waiting:
                        yield self._hopeless(waiting.pop())
                    continue
                for lost in _take_due(waiting, all_of_them=is_stopped(requests)):
                    yield lost
                if is_stopped(requests):
                    while waiting:
                        yield self._left(waiting.pop())
                    if not in_flight:
                        return
                else:
                    self._send(source, waiting, in_flight, lambda: is_stopped(requests))
                for job, outcome in await _next_outcomes(in_flight, self._idle_seconds(waiting, len(in_flight))):
                    if isinstance(outcome, BaseException):
                        raise outcome
                    answer = self._answer(job, outcome)
                    if answer is None:
                        waiting.append(job)
                    else:
                        yield answer
        finally:
            for task, job in in_flight.items():
                task.cancel()
                if job.is_probe:
                    self._breaker.probe_over()
            await asyncio.gather(*in_flight, return_exceptions=True)

    async def stream(self, request: Request) -> AsyncIterator[Delta]:
        """Answers one request piece by piece; PacosError where the server fails."""
        start = time.monotonic()
        text, reason, usage = "", None, None
        try:
            async for event in await self._open_stream(request):
                usage = event.get("usage") or usage
                for choice in event.get("choices") or ():
                    reason = choice.get("finish_reason") or reason
                    piece = protocol.plain_text((choice.get("delta") or {}).get("content") or choice.get("text"))
                    if piece:
                        text += piece
                        yield Delta(piece)
        except ATTEMPT_ERRORS as error:
            raise PacosError(self._connection.line(trouble_of(error))) from None
        yield Delta("", self._connection.reply_of(request, text, reason, usage, time.monotonic() - start))

    async def close(self) -> None:
        """Closes the connections."""
        await self._connection.client.close()

    def _send(
        self,
        source: Iterator[Request],
        waiting: list[_Job],
        in_flight: dict[asyncio.Task[Reply | Trouble], _Job],
        stopped: Callable[[], bool],
    ) -> None:
        """Sends what may be sent now."""
        while len(in_flight) < self._pace.limit and self._send_at() <= time.monotonic():
            job = self._next_job(source, waiting, len(in_flight))
            if job is None:
                return
            self._pace.sent()
            job.is_probe = self._breaker.sent()
            job.timeout_seconds = min(self._timeout_seconds, self._pace.timeout_seconds * 2.0 ** min(job.timeouts, 16))
            in_flight[asyncio.create_task(self._attempt(job.request, job.timeout_seconds, stopped))] = job

    def _next_job(self, source: Iterator[Request], waiting: list[_Job], num_in_flight: int) -> _Job | None:
        """What to send next: what has waited, or what is new; while the server is out of service the other way round.

        A probe has to be a request that has not failed yet: several that the server cannot digest are no outage.
        """
        is_open = self._breaker.is_open
        job = min((job for job in waiting if job.lost is None), key=lambda job: job.due, default=None)
        if job is not None and not is_open and job.due <= time.monotonic():
            waiting.remove(job)
            return job
        # A request that waits for its next attempt leaves its place to another, but not to ever more.
        if is_open or num_in_flight + len(waiting) < self._pace.limit + max(1, self._pace.limit // 2):
            request = next(source, None)
            if request is not None:
                return _Job(request)
        if job is not None and is_open:
            waiting.remove(job)
            return job
        return None

    def _send_at(self) -> float:
        return max(self._pace.send_at(), self._breaker.send_at())

    def _idle_seconds(self, waiting: list[_Job], num_in_flight: int) -> float | None:
        """How long to wait for answers before something else can be done; None for as long as they take."""
        now, send_at = time.monotonic(), self._send_at() if num_in_flight < self._pace.limit else math.inf
        # What goes back to the caller waits for nothing but its time.
        soonest = min((job.due if job.lost else max(job.due, send_at) for job in waiting), default=math.inf)
        if waiting:
            # A stop hands them back, and is not heard of while all wait for an answer.
            soonest = min(soonest, now + STOP_POLL_SECONDS)
        if send_at > now:
            soonest = min(soonest, send_at)
        return None if math.isinf(soonest) else max(0.0, soonest - now)

    async def _attempt(self, request: Request, seconds: float, stopped: Callable[[], bool]) -> Reply | Trouble:
        while True:
            body = self._connection.body(request, self._refused)
            try:
                return await self._ask(request, body, seconds)
            except ATTEMPT_ERRORS as error:
                refused = refused_parameter(error, [key for key in body if key in protocol.REFUSABLE])
                if refused is None:
                    return trouble_of(error)
                if refused not in self._refused:
                    self._refused.add(refused)
                    self._connection.tell_refused(refused)
                if stopped():
                    return Trouble("connection", LEFT_AT_A_STOP, retry=True)
                if body == self._connection.body(request, self._refused):
                    return trouble_of(error)

    async def _ask(self, request: Request, body: dict[str, Any], seconds: float) -> Reply:
        start = time.monotonic()
        client = self._connection.client
        endpoint = client.chat.completions if self._table.api == "chat" else client.completions
        timeout = httpx2.Timeout(seconds, connect=CONNECT_SECONDS)
        # The client's time-outs are for each piece; who sends a byte now and then would be waited for without end.
        async with asyncio.timeout(self._timeout_seconds):
            # The raw response: whatever a server sends is read here, not by a library that trusts it.
            response = await endpoint.with_raw_response.create(**body, timeout=timeout)
        answer = protocol.read_json(text_of(response), response.headers.get("content-type", ""))
        reply = self._connection.reply(answer, request, body, time.monotonic() - start)
        self._pause(wait_seconds(response.headers))
        return reply

    def _pause(self, seconds: float | None) -> None:
        # Beyond all patience the server's refusal is needed to tell the user what is the matter.
        if seconds is not None and seconds <= PATIENCE_SECONDS:
            self._pace.pause(seconds)

    def _answer(self, job: _Job, outcome: Reply | Trouble) -> Reply | Failure | None:
        """The answer to a request after one more attempt; None where it has to be sent again."""
        if job.is_probe:
            self._breaker.probe_over()
        if isinstance(outcome, Reply):
            self._breaker.good()
            self._losses.pop(job.request.id, None)
            self._pace.answered(outcome.seconds)
            return replace(outcome, unseen_usd=job.unseen_usd)
        if outcome.kind == "rate_limit":
            return self._refusal(job, outcome)
        job.refusals_in_a_row = 0
        if outcome.retry:
            return self._after_trouble(job, outcome)
        if not outcome.fatal:
            # A server that refuses one request with reason is well.
            self._breaker.good()
        if outcome.filtered:
            return Reply(job.request.id, "", "content_filter", unseen_usd=job.unseen_usd)
        return self._failure(job, outcome, outcome.fatal)

    def _refusal(self, job: _Job, trouble: Trouble) -> Failure | None:
        job.refusals_in_a_row += 1
        self._pace.refused(job.refusals_in_a_row, trouble.wait_seconds or 0.0)
        self._pause(trouble.wait_seconds)
        if (trouble.wait_seconds or 0.0) > PATIENCE_SECONDS:
            message = f"{trouble.message}: it asks to wait for {trouble.wait_seconds:.0f} s"
            return self._failure(job, replace(trouble, message=message), fatal=True)
        return self._again(job, trouble, job.refusals_in_a_row)

    def _after_trouble(self, job: _Job, trouble: Trouble) -> Failure | None:
        breaker = self._breaker
        breaker.trouble(job.request.id, self._connection.masked(trouble.message))
        if trouble.kind == "timeout" and trouble.maybe_billed:
            self._pace.timed_out(job.timeout_seconds)
            job.timeouts += 1
        # While the server is out of service an attempt says nothing about the request.
        job.attempts += not breaker.is_open
        lost_usd = self._connection.prices.worst_case_usd(job.request) if trouble.maybe_billed else 0.0
        job.unseen_usd += lost_usd
        # What was lost on the way may have used up all that was reserved for this request, so under a limit another
        # attempt needs a reservation of its own. The caller holds the money: it gets the request back and asks anew.
        needs_reservation = lost_usd > 0 and self._table.max_usd is not None
        if not breaker.ever_answered:
            # A server that never answered these will not answer the others either.
            fatal = breaker.troubles_in_a_row > max(ATTEMPTS_AT_FIRST_CONTACT, self._pace.limit)
            if needs_reservation or job.attempts >= ATTEMPTS_AT_FIRST_CONTACT:
                return self._given_back(job, trouble, fatal or not needs_reservation)
        elif breaker.is_hopeless or needs_reservation:
            return self._given_back(job, trouble, breaker.is_hopeless)
        elif job.attempts >= ATTEMPTS:
            return self._failure(job, trouble, fatal=False)
        return self._again(job, trouble, job.attempts)

    def _given_back(self, job: _Job, trouble: Trouble, fatal: bool) -> Failure | None:
        """The failure, at once where it is fatal; else the caller gets it only when the request may be sent again."""
        failure = self._failure(job, trouble, fatal)
        if fatal:
            return failure
        self._losses[job.request.id] += not self._breaker.is_open
        losses = self._losses[job.request.id]
        job.lost = replace(failure, retry=losses % ATTEMPTS != 0 or self._breaker.is_open)
        job.due = time.monotonic() + self._pace.backoff_seconds(max(1, losses))
        return None

    def _again(self, job: _Job, trouble: Trouble, times: int) -> Failure | None:
        backoff = self._pace.backoff_seconds(max(1, times))
        # The jitter comes on top of what the server asks, so that not all come back in one instant.
        asked = trouble.wait_seconds
        wait = backoff if asked is None else asked + min(backoff, 1.0) * 0.1
        # How long an outage may last is the breaker's to say.
        if not self._breaker.is_open:
            if job.waited + wait > PATIENCE_SECONDS:
                # A server that refuses for so long will not do otherwise for the others.
                return self._failure(job, trouble, fatal=trouble.kind == "rate_limit")
            job.waited += wait
        job.due = time.monotonic() + wait
        return None

    def _left(self, job: _Job) -> Failure:
        return self._failure(job, Trouble("connection", LEFT_AT_A_STOP), fatal=False)

    def _hopeless(self, job: _Job) -> Failure:
        trouble = Trouble("server", "out of service for longer than a run can wait")
        return self._failure(job, trouble, fatal=True)

    def _failure(self, job: _Job, trouble: Trouble, fatal: bool) -> Failure:
        line = self._connection.line(trouble)
        return Failure(job.request.id, trouble.kind, line, fatal, unseen_usd=job.unseen_usd)

    async def _open_stream(self, request: Request) -> AsyncIterator[dict[str, Any]]:
        body = self._connection.body(request, self._refused)
        client = self._connection.client
        endpoint = client.chat.completions if self._table.api == "chat" else client.completions
        events = await endpoint.create(**body, stream=True, stream_options={"include_usage": True})
        return (event.model_dump() async for event in events)


def _take_due(waiting: list[_Job], all_of_them: bool) -> list[Failure]:
    """Takes out what now goes back to the caller."""
    now = time.monotonic()
    due = [job for job in waiting if job.lost and (all_of_them or job.due <= now)]
    for job in due:
        waiting.remove(job)
    return [job.lost for job in due if job.lost]


async def _next_outcomes(
    in_flight: dict[asyncio.Task[Reply | Trouble], _Job], seconds: float | None
) -> list[tuple[_Job, Reply | Trouble | BaseException]]:
    """The attempts that have ended, taken out of `in_flight`; waits for the first of them, or so many seconds.

    What nobody foresaw comes last, so that the replies beside it are not lost.
    """
    if not in_flight:
        await asyncio.sleep(STOP_POLL_SECONDS if seconds is None else min(STOP_POLL_SECONDS, seconds))
        return []
    done, _ = await asyncio.wait(in_flight, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    in_order = sorted(done, key=lambda task: task.exception() is not None)
    return [(in_flight.pop(task), task.exception() or task.result()) for task in in_order]
