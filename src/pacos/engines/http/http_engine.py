"""HttpEngine: asks an OpenAI-compatible server, with its own retries, pace and accounts."""

import asyncio
import math
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from threading import Event
from typing import Any

from pacos.core.recipe import EngineTable
from pacos.engines.http.breaker import Breaker
from pacos.engines.http.connection import Connection
from pacos.engines.http.pace import Pace
from pacos.engines.http.reading import Reader
from pacos.engines.http.troubles import (
    ATTEMPT_ERRORS,
    ATTEMPTS_AT_FIRST_CONTACT,
    LEFT_AT_A_STOP,
    PATIENCE_SECONDS,
    STOP_POLL_SECONDS,
    Trouble,
    one_line,
)
from pacos.engines.http.waits import wait_seconds
from pacos.engines.types import Delta, Failure, Reply, Request, RequestFailedError

ATTEMPTS = 8
# A request that is too long is no fault but its own; so many with no reply between them are the recipe's.
TOO_LONG_IN_A_ROW = 50


@dataclass(slots=True, eq=False)
class HttpJob:
    """A request on its way to an answer; sent again not before `due`."""

    request: Request
    due: float = 0.0
    sent: int = 0
    # Of those sent, the ones that say something about the request: neither refused for their pace nor in an outage.
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


@dataclass(slots=True)
class _Jobs:
    """The jobs of one call: those to come, those to be sent again or handed back when due, and those in flight."""

    source: Iterator[Request]
    stop: Event
    waiting: list[HttpJob] = field(default_factory=list)
    in_flight: dict[asyncio.Task[Reply | Trouble], HttpJob] = field(default_factory=dict)

    def next(self) -> HttpJob | None:
        """A new one; None after the last, and after a stop."""
        request = None if self.stop.is_set() else next(self.source, None)
        return None if request is None else HttpJob(request)

    def are_left(self) -> bool:
        """Whether there is anything to do; takes a new one where nothing else is."""
        if not self.in_flight and not self.waiting and (job := self.next()):
            self.waiting.append(job)
        return bool(self.in_flight or self.waiting)

    async def outcomes(self, seconds: float | None) -> list[tuple[HttpJob, Reply | Trouble | BaseException]]:
        """The attempts that have ended; waits for the first of them, or so many seconds.

        What nobody foresaw comes last, so that the replies beside it are not lost.
        """
        if not self.in_flight:
            await asyncio.sleep(STOP_POLL_SECONDS if seconds is None else min(STOP_POLL_SECONDS, seconds))
            return []
        done, _ = await asyncio.wait(self.in_flight, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        in_order = sorted(done, key=lambda task: task.exception() is not None)
        return [(self.in_flight.pop(task), task.exception() or task.result()) for task in in_order]


class HttpEngine:
    """Any OpenAI-compatible server. Raises PacosError where the address or the key is missing.

    `timeout_seconds` is the longest wait for one answer. The wait shrinks from there to a multiple of what the server
    really takes, but not below `shortest_timeout_seconds`, and grows again while none comes in time.
    """

    tokens_written = 0

    def __init__(
        self, table: EngineTable, timeout_seconds: float = 600.0, shortest_timeout_seconds: float = 30.0
    ) -> None:
        self._connection = Connection(table)
        self.name = self._connection.name
        self._reader = Reader(table, self._connection)
        self._is_limited = table.max_usd is not None
        self._timeout_seconds = timeout_seconds
        self._pace = Pace(table.concurrency, timeout_seconds, shortest_timeout_seconds)
        self._breaker = Breaker(self.name)
        # How often each request went back to the caller since it was last answered, outages aside.
        self._losses: Counter[str] = Counter()
        self._too_long_in_a_row = 0

    async def complete(self, requests: Iterable[Request], stop: Event | None = None) -> AsyncIterator[Reply | Failure]:
        """Answers every request once, as answers arrive; takes the next request only when one may be sent."""
        jobs = _Jobs(iter(requests), stop or Event())
        self._breaker.begin()
        try:
            while jobs.are_left():
                for failure in self._handed_back(jobs):
                    yield failure
                if self._is_over(jobs) and not jobs.in_flight:
                    continue
                self._send(jobs)
                for job, outcome in await jobs.outcomes(self._idle_seconds(jobs)):
                    answer = self._answer(job, outcome)
                    if answer is None:
                        jobs.waiting.append(job)
                    else:
                        yield answer
        finally:
            await self._break_off(jobs)

    async def stream(self, request: Request) -> AsyncIterator[Delta]:
        """Answers one request piece by piece; RequestFailedError where the server fails or refuses."""
        connection = self._connection
        if request.logprobs is not None:
            vain = Failure(request.id, "bad_request", "logprobs: only a local engine has them in a stream")
            raise RequestFailedError(self.name, vain)
        while True:
            options = {} if "stream_options" in connection.refused else {"stream_options": {"include_usage": True}}
            body: dict[str, Any] = {}
            try:
                body = connection.body(request, connection.refused)
                async with (
                    aclosing(connection.stream(body | options)) as events,
                    aclosing(self._reader.deltas(events, request, body)) as deltas,
                ):
                    async for delta in deltas:
                        yield delta
                return
            except ATTEMPT_ERRORS as error:
                trouble = self._reader.trouble(error)
            # A refusal comes before the first piece.
            refused = trouble.refused_of(body | options)
            if refused is None or refused in connection.refused:
                failure = Failure(request.id, trouble.kind, one_line(trouble.message), trouble.fatal)
                raise RequestFailedError(self.name, failure, connection.line(trouble))
            connection.leave_out(refused)

    async def context_tokens(self) -> int | None:
        """The most tokens of prompt and reply together, as vLLM and pacos tell it; None where nobody does."""
        try:
            cards = (await self._connection.client.models.list()).data
        except ATTEMPT_ERRORS:
            return None
        of_name = {card.id: getattr(card, "max_model_len", None) for card in cards}
        most = of_name.get(self._connection.model)
        return most if type(most) is int and most > 0 else None

    async def close(self) -> None:
        """Closes the connections."""
        await self._connection.client.close()

    def _is_over(self, jobs: _Jobs) -> bool:
        """Whether nothing more is to be sent."""
        return jobs.stop.is_set() or (self._breaker.is_hopeless and not jobs.in_flight)

    def _handed_back(self, jobs: _Jobs) -> list[Failure]:
        """What goes back to the caller now: what was lost and is due, or, where nothing more is sent, all that wait."""
        trouble = Trouble("connection", LEFT_AT_A_STOP)
        if self._breaker.is_hopeless and not jobs.in_flight:
            trouble = Trouble("server", "out of service for longer than a run can wait", fatal=True)
        is_over, now = self._is_over(jobs), time.monotonic()
        back = [job for job in jobs.waiting if is_over or (job.lost and job.due <= now)]
        jobs.waiting = [job for job in jobs.waiting if job not in back]
        return [job.lost if job.lost and not trouble.fatal else self._failure(job, trouble) for job in back]

    def _send(self, jobs: _Jobs) -> None:
        """Sends what may be sent now."""
        while self._send_at(jobs) <= time.monotonic():
            job = None if jobs.stop.is_set() else self._next_job(jobs)
            if job is None:
                return
            self._pace.sent()
            job.is_probe = self._breaker.sent()
            job.timeout_seconds = min(self._timeout_seconds, self._pace.timeout_seconds * 2.0 ** min(job.timeouts, 16))
            jobs.in_flight[asyncio.create_task(self._attempt(job, jobs.stop))] = job

    def _next_job(self, jobs: _Jobs) -> HttpJob | None:
        """What to send next: what has waited, or what is new; while the server is out of service the other way round.

        A probe has to be a request that has not failed yet: several that the server cannot digest are no outage.
        """
        is_open, limit = self._breaker.is_open, self._pace.limit
        first = min((job for job in jobs.waiting if job.lost is None), key=lambda job: job.due, default=None)
        is_due = first is not None and not is_open and first.due <= time.monotonic()
        # A request that waits for its next attempt leaves its place to another, but not to ever more.
        has_room = is_open or len(jobs.in_flight) + len(jobs.waiting) < limit + max(1, limit // 2)
        if not is_due and has_room and (job := jobs.next()):
            return job
        if first is None or not (is_due or is_open):
            return None
        jobs.waiting.remove(first)
        return first

    def _send_at(self, jobs: _Jobs) -> float:
        has_room = len(jobs.in_flight) < self._pace.limit
        return max(self._pace.send_at(), self._breaker.send_at()) if has_room else math.inf

    def _idle_seconds(self, jobs: _Jobs) -> float | None:
        """How long to wait for answers before something else can be done; None for as long as they take."""
        now, send_at = time.monotonic(), self._send_at(jobs)
        # What goes back to the caller waits for nothing but its time.
        soonest = min((job.due if job.lost else max(job.due, send_at) for job in jobs.waiting), default=math.inf)
        if jobs.waiting:
            # A stop hands them back, and is not heard of while all wait for an answer.
            soonest = min(soonest, now + STOP_POLL_SECONDS)
        if send_at > now:
            soonest = min(soonest, send_at)
        return None if math.isinf(soonest) else max(0.0, soonest - now)

    async def _attempt(self, job: HttpJob, stop: Event) -> Reply | Trouble:
        """Asks once, or again at once without what the server does not take."""
        connection = self._connection
        while True:
            body: dict[str, Any] = {}
            try:
                body = connection.body(job.request, connection.refused)
                job.sent += 1
                return await self._ask(job, body)
            except ATTEMPT_ERRORS as error:
                trouble = self._reader.trouble(error)
            if (refused := trouble.refused_of(body)) is None:
                return trouble
            connection.leave_out(refused)
            if stop.is_set():
                return Trouble("connection", LEFT_AT_A_STOP, retry=True)
            if body == connection.body(job.request, connection.refused):
                return trouble

    async def _ask(self, job: HttpJob, body: dict[str, Any]) -> Reply:
        start = time.monotonic()
        # The client's time-outs are for each piece; who sends a byte now and then would be waited for without end.
        async with asyncio.timeout(self._timeout_seconds):
            response = await self._connection.send(body, job.timeout_seconds)
        reply = self._reader.reply(self._reader.body(response), job.request, body, time.monotonic() - start)
        self._pause(wait_seconds(response.headers))
        return reply

    def _pause(self, seconds: float | None) -> None:
        # Beyond all patience the server's refusal is needed to tell the user what is the matter.
        if seconds is not None and seconds <= PATIENCE_SECONDS:
            self._pace.pause(seconds)

    def _answer(self, job: HttpJob, outcome: Reply | Trouble | BaseException) -> Reply | Failure | None:
        """The answer to a request after one more attempt; None where it has to be sent again or handed back later."""
        if isinstance(outcome, BaseException):
            raise outcome
        if job.is_probe:
            self._breaker.probe_over()
        if isinstance(outcome, Reply):
            self._breaker.good()
            self._losses.pop(job.request.id, None)
            self._too_long_in_a_row = 0
            self._pace.answered(outcome.seconds)
            return replace(outcome, unseen_usd=job.unseen_usd, attempts=job.sent)
        if outcome.kind == "rate_limit":
            return self._refusal(job, outcome)
        job.refusals_in_a_row = 0
        if outcome.kind == "context_length":
            self._too_long_in_a_row += 1
            if self._too_long_in_a_row >= TOO_LONG_IN_A_ROW:
                outcome = replace(outcome, kind="bad_request")
        if outcome.retry:
            return self._after_trouble(job, outcome)
        if not outcome.fatal:
            # A server that refuses one request with reason is well.
            self._breaker.good()
        if outcome.filtered:
            return Reply(job.request.id, "", "content_filter", unseen_usd=job.unseen_usd, attempts=job.sent)
        return self._failure(job, outcome)

    def _refusal(self, job: HttpJob, trouble: Trouble) -> Failure | None:
        job.refusals_in_a_row += 1
        self._pace.refused(job.refusals_in_a_row, trouble.wait_seconds or 0.0)
        self._pause(trouble.wait_seconds)
        if (trouble.wait_seconds or 0.0) > PATIENCE_SECONDS:
            message = f"{trouble.message}: it asks to wait for {trouble.wait_seconds:.0f} s"
            return self._failure(job, replace(trouble, message=message, fatal=True))
        return self._again(job, trouble, job.refusals_in_a_row)

    def _after_trouble(self, job: HttpJob, trouble: Trouble) -> Failure | None:
        breaker = self._breaker
        breaker.trouble(job.request.id, trouble.message)
        if trouble.kind == "timeout" and trouble.maybe_billed:
            self._pace.timed_out(job.timeout_seconds)
            job.timeouts += 1
        # While the server is out of service an attempt says nothing about the request.
        job.attempts += not breaker.is_open
        lost_usd = self._reader.prices.worst_case_usd(job.request) if trouble.maybe_billed else 0.0
        job.unseen_usd += lost_usd
        # What was lost on the way may have used up all that was reserved for this request, so under a limit another
        # attempt needs a reservation of its own. The caller holds the money: it gets the request back and asks anew.
        needs_reservation = lost_usd > 0 and self._is_limited
        if not breaker.ever_answered:
            # A server that never answered these will not answer the others either.
            fatal = breaker.troubles_in_a_row > max(ATTEMPTS_AT_FIRST_CONTACT, self._pace.limit)
            if needs_reservation or job.attempts >= ATTEMPTS_AT_FIRST_CONTACT:
                return self._given_back(job, trouble, fatal or not needs_reservation)
        elif breaker.is_hopeless or needs_reservation:
            return self._given_back(job, trouble, breaker.is_hopeless)
        elif job.attempts >= ATTEMPTS:
            return self._failure(job, trouble)
        return self._again(job, trouble, job.attempts)

    def _given_back(self, job: HttpJob, trouble: Trouble, fatal: bool) -> Failure | None:
        """The failure, at once where it is fatal; else the caller gets it only when the request may be sent again."""
        failure = self._failure(job, replace(trouble, fatal=fatal))
        if fatal:
            return failure
        self._losses[job.request.id] += not self._breaker.is_open
        losses = self._losses[job.request.id]
        job.lost = replace(failure, retry=losses % ATTEMPTS != 0 or self._breaker.is_open)
        job.due = time.monotonic() + self._pace.backoff_seconds(max(1, losses))
        return None

    def _again(self, job: HttpJob, trouble: Trouble, times: int) -> Failure | None:
        backoff = self._pace.backoff_seconds(max(1, times))
        # The jitter comes on top of what the server asks, so that not all come back in one instant.
        asked = trouble.wait_seconds
        wait = backoff if asked is None else asked + min(backoff, 1.0) * 0.1
        # How long an outage may last is the breaker's to say.
        if not self._breaker.is_open:
            if job.waited + wait > PATIENCE_SECONDS:
                # A server that refuses for so long will not do otherwise for the others.
                return self._failure(job, replace(trouble, fatal=trouble.kind == "rate_limit"))
            job.waited += wait
        job.due = time.monotonic() + wait
        return None

    def _failure(self, job: HttpJob, trouble: Trouble) -> Failure:
        failure = Failure(job.request.id, trouble.kind, self._connection.line(trouble), trouble.fatal)
        return replace(failure, unseen_usd=job.unseen_usd, attempts=job.sent)

    async def _break_off(self, jobs: _Jobs) -> None:
        """Cancels what is in flight, where the caller takes no more answers."""
        for task, job in jobs.in_flight.items():
            task.cancel()
            if job.is_probe:
                self._breaker.probe_over()
        await asyncio.gather(*jobs.in_flight, return_exceptions=True)
