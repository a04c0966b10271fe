"""Asking: many requests in flight, every reply stored at once and judged in the order of the requests."""

from collections import Counter, deque
from collections.abc import Callable, Iterator

from pacos.core.errors import PacosError
from pacos.engines import Engine, Failure, Reply, Request
from pacos.engines.budget import Budget
from pacos.engines.taking import take_answers
from pacos.generate.ledger import Call, Ledger
from pacos.generate.plan import Plan
from pacos.generate.pool import NEW_TASKS, Pool

# A teacher whose last so many replies held nothing to keep is not going to get better by being paid more.
BARREN_REPLIES = 30
REFUSALS_IN_A_ROW = 5
TRIES = 3


class Asking:
    """Fills the pool. `on_reply(number of examples kept)` is called for each reply judged.

    `fill` raises PacosError where the teacher fails for good, the budget is used up, or replies hold nothing to keep;
    the ledger then holds every reply that arrived, and the same plan goes on from there.
    """

    def __init__(
        self,
        engine: Engine,
        concurrency: int,
        plan: Plan,
        ledger: Ledger,
        budget: Budget,
        pool: Pool,
        on_reply: Callable[[int], None],
        on_failure: Callable[[Failure], None],
    ) -> None:
        self._engine, self._concurrency = engine, concurrency
        self._plan, self._ledger, self._budget, self._pool = plan, ledger, budget, pool
        self._on_reply, self._on_failure = on_reply, on_failure
        self._in_flight: dict[str, Call] = {}
        # Replies that wait for an earlier one; None where the server refused the request.
        self._arrived: dict[int, tuple[Call, Reply | None]] = {}
        self._again: deque[int] = deque()
        self._tries: Counter[int] = Counter()
        self._next_to_ask = 0
        self._next_to_judge = 0
        self._refusals_in_a_row = 0
        # Why to stop, said only when the replies under way are in.
        self._stop: PacosError | None = None

    def replay(self) -> None:
        """Judges the stored replies from the first on, until one is missing."""
        while self._goes_on:
            call = self._plan.call(self._next_to_ask)
            reply = self._ledger.find(call)
            if reply is None:
                return
            self._next_to_ask += 1
            self._arrive(call, reply)

    async def fill(self) -> None:
        """Asks until the pool is full; after a failure or Ctrl-C the replies under way still reach the ledger."""
        try:
            while self._goes_on:
                await take_answers(self._engine, self._requests(), self._take)
        finally:
            await self._engine.close()
        if self._stop and not self._pool.full:
            raise self._stop

    @property
    def _goes_on(self) -> bool:
        return self._stop is None and not self._pool.full

    def _requests(self) -> Iterator[Request]:
        """The next requests, one at a time as the engine has room; ends where more would hardly be needed."""
        while self._goes_on:
            number = self._again[0] if self._again else self._next_to_ask
            call = self._plan.call(number)
            stored = self._ledger.find(call)
            if stored is None:
                if self._enough_in_flight():
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

    def _enough_in_flight(self) -> bool:
        """Whether the replies under way will likely fill the pool, judging by those before them."""
        pool = self._pool
        kept_per_reply = len(pool.kept) / pool.num_replies if pool.num_replies else float(NEW_TASKS)
        waiting = len(self._in_flight) + len(self._arrived)
        full_house = len(self._in_flight) >= 2 * self._concurrency
        return full_house or (waiting > 0 and waiting * kept_per_reply >= pool.missing)

    def _take(self, answer: Reply | Failure) -> bool:
        """Stores and judges one answer; False where no more is to be asked."""
        call = self._in_flight.pop(answer.id)
        if isinstance(answer, Reply):
            self._ledger.store(call, answer)
            self._budget.settle(answer)
            self._refusals_in_a_row = 0
            self._arrive(call, answer)
        else:
            self._budget.settle(answer)
            self._on_failure(answer)
            self._give_up_or_go_on(call, answer)
        return self._stop is None

    def _give_up_or_go_on(self, call: Call, failure: Failure) -> None:
        self._tries[call.number] += 1
        refused = failure.kind == "bad_request"
        self._refusals_in_a_row += refused
        if failure.fatal or self._refusals_in_a_row >= REFUSALS_IN_A_ROW or self._tries[call.number] >= TRIES:
            self._stop = self._stop or PacosError(
                f"teacher: {failure.message} Every reply that arrived is in the ledger; the same command goes on "
                "from here."
            )
        elif refused:
            self._arrive(call, None)
        else:
            # The order of replies shapes the data, so a request that a bad network lost is asked once more.
            self._again.append(call.number)

    def _arrive(self, call: Call, reply: Reply | None) -> None:
        self._arrived[call.number] = (call, reply)
        while self._next_to_judge in self._arrived and not self._pool.full:
            ready, stored = self._arrived.pop(self._next_to_judge)
            self._next_to_judge += 1
            if stored is not None:
                self._on_reply(self._pool.take(ready, stored))
                self._stop_if_barren()

    def _stop_if_barren(self) -> None:
        pool = self._pool
        if self._stop or pool.full or pool.replies_since_kept < BARREN_REPLIES:
            return
        rejections = ", ".join(f"{rule} {count:,}" for rule, count in list(pool.rejections.items())[:4])
        self._stop = PacosError(
            f"teacher: nothing to keep in its last {BARREN_REPLIES} replies; {len(pool.kept):,} of "
            f"{pool.num_asked:,} tasks asked for were kept (rejected: {rejections or 'no task could be read'}). "
            "Look into rejected.jsonl; then change the teacher, the seed tasks or generate.similarity_threshold "
            "and give --run another folder."
        )
