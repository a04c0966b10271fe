"""A list of calls asked to its end, with a progress bar: what a judge or a candidate is asked."""

import asyncio
from collections.abc import Mapping, Sequence

from pacos.asking.budget import Budget
from pacos.asking.ledger import Call, Ledger
from pacos.asking.loop import Asking
from pacos.core.progress import ProgressBar
from pacos.core.recipe import EngineTable
from pacos.engines import Engine, Failure, Reply


class _List:
    """The source of a known list, whose every answer is wanted."""

    def __init__(self, calls: Sequence[Call], bar: ProgressBar) -> None:
        self._calls, self._bar, self._next = calls, bar, 0
        self.answers: dict[str, Reply | Failure] = {}

    @property
    def full(self) -> bool:
        return len(self.answers) == len(self._calls)

    def next_call(self, num_in_flight: int) -> Call | None:
        if self._next == len(self._calls):
            return None
        self._next += 1
        return self._calls[self._next - 1]

    def take(self, call: Call, answer: Reply | Failure) -> None:
        self.answers[call.key] = answer
        self._bar.advance()


def ask_all(
    name: str, title: str, engine: Engine, table: EngineTable, calls: Sequence[Call], ledger: Ledger
) -> Mapping[str, Reply | Failure]:
    """The answer to every call by its key, asked for only where the ledger has none; closes the engine.

    A Failure is a request that was refused. Raises PacosError where the engine fails, for one request or for good, or
    `table.max_usd` is used up: what arrived is in the ledger, and the same call goes on from there. `name` is the
    recipe table's.
    """
    spent = ledger.totals()
    with ProgressBar(title, len(calls), "answers") as bar:
        source = _List(calls, bar)
        budget = Budget(name, table, spent.usd, spent.unseen_usd)
        asking = Asking(name, engine, table, ledger, budget, source, bar.tick, every_answer=True)
        asyncio.run(asking.ask())
    return source.answers
