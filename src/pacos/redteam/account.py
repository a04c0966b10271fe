"""Who is asked, target, proposer or judge: an open engine, and its ledger within one limit on money."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from pacos.asking import Asking, Budget, Call, Ledger, Totals, call_key
from pacos.core.progress import ProgressBar
from pacos.core.recipe import EngineTable
from pacos.engines import Failure, Reply, Request, open_engine
from pacos.judging.engine_judges import EngineJudge

# Who takes longer hangs.
TIMEOUT_SECONDS = 60.0

Taking = Callable[[Request, Reply | Failure], None]


class Account:
    """An engine that stays open from round to round. `name` is the recipe table's, `role` its own in its ledger.

    `apart` tells its requests from those of other campaigns and other weights. Raises PacosError where the engine
    cannot be opened.
    """

    def __init__(
        self, name: str, table: EngineTable, role: str, folder: Path, *apart: str, judge: EngineJudge | None = None
    ) -> None:
        self._name, self._table, self._folder, self._apart = name, table, folder, apart
        if judge:
            self._engine = judge.open(folder, TIMEOUT_SECONDS)
        else:
            self._engine = open_engine(table, folder=folder, timeout_seconds=TIMEOUT_SECONDS)
        # The same answer gets the same verdict, whichever campaign asks; and no verdict can be done without.
        self._key, self._needs_all = ((judge.identity,), True) if judge else (apart, False)
        self._ledger = Ledger(folder / f"{role}-ledger.sqlite", " ".join((role, *apart)), self._engine.name)
        self._at_end: Totals | None = None
        self._judges: list[Account] = []

    def for_judge(self, judge: EngineJudge) -> "Account":
        """The account of whoever judges what this one answers: of the same campaign, and closed with it."""
        apart = (judge.name, *self._apart)
        self._judges.append(Account(judge.table_name, judge.table, "judge", self._folder, *apart, judge=judge))
        return self._judges[-1]

    @property
    def totals(self) -> Totals:
        """What was paid so far, after the end, too."""
        return self._at_end or self._ledger.totals()

    async def ask(
        self, requests: Sequence[Request], max_usd: float | None, others_usd: float, bar: ProgressBar, taking: Taking
    ) -> None:
        """Has every request answered, by the ledger or the engine; `taking` is told of each answer.

        `max_usd` holds for this account and the `others_usd` that were spent beside it. Raises PacosError where the
        engine fails for good, BudgetSpentError where a request does not fit.
        """
        limits = [limit for limit in (max_usd, self._table.max_usd) if limit is not None]
        table = replace(self._table, max_usd=min(limits, default=None))
        calls = [Call(number, call_key(table, each, *self._key), each) for number, each in enumerate(requests)]
        spent = self._ledger.totals()
        budget = Budget(self._name, table, spent.usd + others_usd, spent.unseen_usd)
        source = _Round(calls, taking)
        await Asking(
            *(self._name, self._engine, table, self._ledger, budget, source, bar.tick),
            every_answer=self._needs_all,
            takes_refusals=True,
        ).ask_on()

    async def look(self, requests: Sequence[Request]) -> dict[str, Reply | Failure]:
        """What a model on this machine tells of itself, by request id; it costs nothing and is not kept."""
        return {answer.id: answer async for answer in self._engine.complete(requests)}

    async def close(self) -> None:
        """Closes engine and ledger, and those of its judges."""
        for judge in self._judges:
            await judge.close()
        await self._engine.close()
        self._at_end = self._ledger.totals()
        self._ledger.close()


class _Round:
    """The source of one round's requests."""

    def __init__(self, calls: Sequence[Call], taking: Taking) -> None:
        self._calls, self._taking, self._asked, self._answered = calls, taking, 0, 0

    @property
    def full(self) -> bool:
        return self._answered == len(self._calls)

    def next_call(self, num_in_flight: int) -> Call | None:
        if self._asked == len(self._calls):
            return None
        self._asked += 1
        return self._calls[self._asked - 1]

    def take(self, call: Call, answer: Reply | Failure) -> None:
        self._answered += 1
        self._taking(call.request, answer)
