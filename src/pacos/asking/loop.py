"""The loop: many requests in flight, every reply stored before it is used, what was lost asked again."""

import sys
from collections import Counter, deque
from collections.abc import Callable, Iterator
from typing import Protocol

from pacos.asking.budget import Budget
from pacos.asking.ledger import Call, Ledger
from pacos.asking.taking import take_answers
from pacos.core.errors import PacosError
from pacos.core.recipe import EngineTable
from pacos.engines import Engine, Failure, Reply, Request

# One request may be a poison of its own; so many in a row are the server's fault, or the recipe's.
GIVEN_UP_IN_A_ROW = 5
TRIES = 5


class Source(Protocol):
    """What is asked, and who gets the answers."""

    @property
    def full(self) -> bool:
        """Whether no more answers are wanted."""
        ...

    def next_call(self, num_in_flight: int) -> Call | None:
        """The next call; None where, with so many under way, none is to be asked for now."""
        ...

    def take(self, call: Call, answer: Reply | Failure) -> None:
        """The answer to a call, stored before or new; a Failure is a request that was given up.

        A PacosError raised here ends the asking; the replies under way are still stored.
        """
        ...


class Asking:
    """Asks what `source` names until it is full. `name` is the recipe table's, for errors.

    `on_tick` is called now and then with the tokens that the engine has written; never while a batch is away, a day.

    `most_in_flight` bounds what is under way, None leaves it to the engine. A request that stays without an answer is
    given up, and the job goes on without it; with `every_answer` it is left for the next run to ask again. With
    `takes_refusals` a request that the engine refuses is answered by that, however many there are in a row.
    """

    def __init__(
        self,
        name: str,
        engine: Engine,
        table: EngineTable,
        ledger: Ledger,
        budget: Budget,
        source: Source,
        on_tick: Callable[[int], None],
        most_in_flight: int | None = None,
        every_answer: bool = False,
        takes_refusals: bool = False,
    ) -> None:
        self._name, self._engine, self._ledger, self._budget, self._source = name, engine, ledger, budget, source
        self._is_batch, self._is_local, self._on_tick = table.batch, table.engine == "local", on_tick
        self._is_context_told = False
        self._most_in_flight, self._every_answer = most_in_flight, every_answer
        # Of a list of questions some may be too long, however many in a row; where any will do, all are alike, and so
        # many in a row mean that the model cannot take such prompts.
        self._refusals = {"context_length"} if every_answer or takes_refusals else set()
        self._refusals |= {"bad_request"} if takes_refusals else set()
        self._in_flight: dict[str, Call] = {}
        self._again: deque[Call] = deque()
        self._tries: Counter[str] = Counter()
        # Since the last reply.
        self._given_up: list[tuple[Call, Failure]] = []
        self._lost: list[Failure] = []
        # Why to stop, said only when the replies under way are in.
        self._stop: PacosError | None = None

    def replay(self) -> None:
        """Hands the stored answers to the source, from the first on, until one is missing."""
        while self._goes_on and (call := self._source.next_call(0)):
            answer = self._ledger.find(call)
            if answer is None:
                self._again.append(call)
                return
            self._hand_over(call, answer)

    async def ask(self) -> None:
        """Asks until the source is full, and closes the engine; else as `ask_on`."""
        try:
            await self.ask_on()
        finally:
            await self._engine.close()

    async def ask_on(self) -> None:
        """Asks until the source is full; after a failure or Ctrl-C what is under way is stored.

        Raises PacosError where the engine fails for good or the budget is used up.
        """
        try:
            while self._goes_on:
                await take_answers(self._engine, self._requests(), self._take, self._tick)
                if self._goes_on and self._in_flight:
                    raise RuntimeError(f"engine {self._engine.name} left {len(self._in_flight)} requests unanswered")
                if self._lost and not self._again:
                    self._stop = self._stop or self._stopped(
                        f"{len(self._lost)} requests failed: {self._lost[0].message}"
                    )
        finally:
            self._store_unanswered()
        if self._stop and not self._source.full:
            raise self._stop

    @property
    def _goes_on(self) -> bool:
        return self._stop is None and not self._source.full

    def _requests(self) -> Iterator[Request]:
        """The next requests, one at a time as the engine has room."""
        while self._goes_on:
            if self._most_in_flight is not None and len(self._in_flight) >= self._most_in_flight:
                return
            # What was lost is needed for all that came after it.
            call = self._again.popleft() if self._again else self._source.next_call(len(self._in_flight))
            if call is None:
                return
            stored = self._ledger.find(call)
            if stored is not None:
                self._hand_over(call, stored)
            elif self._budget.reserve(call.request):
                self._in_flight[call.request.id] = call
                yield call.request
            else:
                self._again.appendleft(call)
                # What is under way is reserved at its worst case, so there may be room again when it is settled.
                if not self._in_flight:
                    self._stop = self._budget.exhausted(call.request)
                return

    def _tick(self, tokens_written: int) -> None:
        if not self._is_batch:
            self._on_tick(tokens_written)

    def _take(self, answer: Reply | Failure) -> bool:
        """Stores one answer and hands it over; False where no more is to be asked."""
        call = self._in_flight.pop(answer.id)
        if isinstance(answer, Reply):
            self._ledger.store(call, answer)
            self._tell_of_context(call, answer)
            self._budget.settle(answer)
            # The server answers others, so those were given up for reasons of their own.
            if self._stop is None:
                self._ledger.store_failures(self._given_up, given_up=True)
                self._given_up.clear()
            self._hand_over(call, answer)
        else:
            self._budget.settle(answer)
            self._try_again_or_give_up(call, answer)
        return self._goes_on

    def _tell_of_context(self, call: Call, reply: Reply) -> None:
        """Says once that max_tokens is more than a checkpoint's context leaves beside such prompts."""
        written, asked = reply.usage.completion_tokens, call.request.sampling.max_tokens
        if self._is_local and reply.finish_reason == "length" and written < asked and not self._is_context_told:
            self._is_context_told = True
            print(
                f"{self._name}: a reply ended after {written:,} of max_tokens {asked:,}: with its prompt of "
                f"{reply.usage.prompt_tokens:,} tokens the checkpoint's context is full.",
                file=sys.stderr,
            )

    def _try_again_or_give_up(self, call: Call, failure: Failure) -> None:
        if failure.kind in self._refusals and not failure.fatal:
            self._ledger.store_failures([(call, failure)], given_up=True)
            self._hand_over(call, failure)
            return
        self._tries[call.key] += not failure.retry
        is_refused = failure.kind in ("bad_request", "context_length") and not failure.fatal
        is_over = is_refused or self._tries[call.key] >= TRIES
        if is_over and not failure.fatal and (is_refused or not self._every_answer):
            self._given_up.append((call, failure))
        elif failure.unseen_usd:
            self._ledger.store_failures([(call, failure)], given_up=False)
        if is_over and not is_refused and self._every_answer:
            self._lost.append(failure)
        if failure.fatal or len(self._given_up) + len(self._lost) >= GIVEN_UP_IN_A_ROW:
            # What those in a row met is no fault of theirs: they are stored as not given up, to be asked again.
            self._stop = self._stop or self._stopped(failure.message)
        elif not is_over:
            self._again.append(call)
        elif is_refused or not self._every_answer:
            self._hand_over(call, failure)

    def _stopped(self, why: str) -> PacosError:
        return PacosError(
            f"{self._name}: {why} Every reply that arrived is in the ledger; the same command goes on from here."
        )

    def _hand_over(self, call: Call, answer: Reply | Failure) -> None:
        try:
            self._source.take(call, answer)
        except PacosError as error:
            self._stop = self._stop or error

    def _store_unanswered(self) -> None:
        """What a stop left under way may be billed all the same; a batch is not lost, the next run finds it."""
        abandoned = [] if self._is_batch else list(self._in_flight.values())
        for call in abandoned:
            usd = self._budget.worst_case_usd(call.request)
            left = Failure(call.request.id, "connection", "left at a stop", unseen_usd=usd)
            self._ledger.store_failures([(call, left)] if usd else [], given_up=False)
        # A source that is full all the same went on without them.
        self._ledger.store_failures(self._given_up, given_up=self._source.full)
