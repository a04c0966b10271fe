"""Asking: many requests in flight, every reply stored at once and judged in the order of the requests."""

from collections import Counter, deque
from collections.abc import Callable, Iterator

from pacos.core.errors import PacosError
from pacos.engines import Engine, Failure, Reply, Request
from pacos.engines.budget import Budget
from pacos.engines.taking import take_answers
from pacos.generate.barren import barren
from pacos.generate.ledger import Call, Ledger
from pacos.generate.plan import Plan
from pacos.generate.pool import Pool

# One request may be a poison of its own; so many in a row are the server's fault, or the recipe's.
GIVEN_UP_IN_A_ROW = 5
TRIES = 5


class Asking:
    """Fills the pool. `on_reply` is called for each reply judged.

    `fill` raises PacosError where the teacher fails for good, the budget is used up, or replies hold nothing to keep;
    the ledger then holds every reply that arrived, and the same plan goes on from there.
    """

    def __init__(
        self,
        engine: Engine,
        most_in_flight: int,
        is_batch: bool,
        plan: Plan,
        ledger: Ledger,
        budget: Budget,
        pool: Pool,
        on_reply: Callable[[Reply], None],
    ) -> None:
        self._engine, self._most_in_flight, self._is_batch = engine, most_in_flight, is_batch
        self._plan, self._ledger, self._budget, self._pool = plan, ledger, budget, pool
        self._on_reply = on_reply
        self._in_flight: dict[str, Call] = {}
        # Answers that wait for an earlier one; a Failure where the request was given up.
        self._arrived: dict[int, tuple[Call, Reply | Failure]] = {}
        self._again: deque[Call] = deque()
        self._tries: Counter[int] = Counter()
        self._next_to_ask = 0
        # Since the last reply.
        self._given_up: list[tuple[Call, Failure]] = []
        # Why to stop, said only when the replies under way are in.
        self._stop: PacosError | None = None

    def replay(self) -> None:
        """Judges the stored replies from the first on, until one is missing."""
        while self._goes_on and self._plan.ready(self._next_to_ask):
            call = self._plan.call(self._next_to_ask)
            answer = self._ledger.find(call)
            if answer is None:
                return
            self._next_to_ask += 1
            self._arrive(call, answer)

    async def fill(self) -> None:
        """Asks until the pool is full; after a failure or Ctrl-C the replies under way still reach the ledger."""
        try:
            while self._goes_on:
                await take_answers(self._engine, self._requests(), self._take)
        finally:
            self._store_unanswered()
            await self._engine.close()
        if self._stop and not self._pool.full:
            raise self._stop

    @property
    def _goes_on(self) -> bool:
        return self._stop is None and not self._pool.full

    def _requests(self) -> Iterator[Request]:
        """The next requests, one at a time as the engine has room; ends where more would hardly be needed."""
        while self._goes_on:
            if not self._again and not self._plan.ready(self._next_to_ask):
                return
            call = self._again[0] if self._again else self._plan.call(self._next_to_ask)
            stored = None if self._again else self._ledger.find(call)
            if stored is None:
                # One that was lost is needed for all that came after it.
                if self._full_house or not (self._again or self._more_needed):
                    return
                if not self._budget.reserve(call.request):
                    if not self._in_flight:
                        self._stop = self._budget.exhausted(call.request)
                    return
            if self._again:
                self._again.popleft()
            else:
                self._next_to_ask += 1
            if stored is not None:
                self._arrive(call, stored)
            else:
                self._in_flight[call.request.id] = call
                yield call.request

    @property
    def _full_house(self) -> bool:
        return len(self._in_flight) >= self._most_in_flight

    @property
    def _more_needed(self) -> bool:
        """Whether the replies under way will likely not fill the pool, judging by those before them."""
        pool = self._pool
        kept_per_reply = len(pool.kept) / pool.num_replies if pool.num_replies else float(self._plan.new_tasks)
        waiting = len(self._in_flight) + len(self._arrived)
        return waiting == 0 or waiting * kept_per_reply < pool.missing

    def _take(self, answer: Reply | Failure) -> bool:
        """Stores and judges one answer; False where no more is to be asked."""
        call = self._in_flight.pop(answer.id)
        if isinstance(answer, Reply):
            self._ledger.store(call, answer)
            self._budget.settle(answer)
            # The server answers others, so those were given up for reasons of their own.
            if self._stop is None:
                self._ledger.store_failures(self._given_up, given_up=True)
                self._given_up.clear()
            self._arrive(call, answer)
        else:
            self._budget.settle(answer)
            self._try_again_or_give_up(call, answer)
        return self._goes_on

    def _store_unanswered(self) -> None:
        """What a stop left under way may be billed all the same; a batch is not lost, the next run finds it."""
        abandoned = [] if self._is_batch else list(self._in_flight.values())
        failures = [
            Failure(
                call.request.id, "connection", "left at a stop", unseen_usd=self._budget.worst_case_usd(call.request)
            )
            for call in abandoned
        ]
        self._ledger.store_failures(zip(abandoned, failures, strict=True), given_up=False)
        # A pool that is full all the same went on without them.
        self._ledger.store_failures(self._given_up, given_up=self._pool.full)

    def _try_again_or_give_up(self, call: Call, failure: Failure) -> None:
        self._tries[call.number] += not failure.retry
        given_up = not failure.fatal and (failure.kind == "bad_request" or self._tries[call.number] >= TRIES)
        if given_up:
            self._given_up.append((call, failure))
        elif failure.unseen_usd:
            self._ledger.store_failures([(call, failure)], given_up=False)
        if failure.fatal or len(self._given_up) >= GIVEN_UP_IN_A_ROW:
            # What those in a row met is no fault of theirs: they are stored as not given up, to be asked again.
            self._stop = self._stop or PacosError(
                f"teacher: {failure.message} Every reply that arrived is in the ledger; the same command goes on "
                "from here."
            )
        elif given_up:
            self._arrive(call, failure)
        else:
            # The order of replies shapes the data, so a request that a bad network lost is asked once more.
            self._again.append(call)

    def _arrive(self, call: Call, answer: Reply | Failure) -> None:
        self._arrived[call.number] = (call, answer)
        while self._pool.num_judged in self._arrived and not self._pool.full:
            ready, next_answer = self._arrived.pop(self._pool.num_judged)
            if isinstance(next_answer, Failure):
                self._pool.skip()
            else:
                self._pool.take(ready, next_answer)
                self._on_reply(next_answer)
                self._stop = self._stop or barren(self._pool, next_answer)
