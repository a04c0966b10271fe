"""Money: what is spent, and what the requests in flight may cost at worst."""

from fractions import Fraction

from pacos.core.errors import PacosError
from pacos.core.recipe import EngineTable
from pacos.engines import Failure, Reply, Request
from pacos.engines.prices import Prices, is_loopback


class BudgetSpentError(PacosError):
    """The next request does not fit into `max_usd`; all before it is done."""


class Budget:
    """Never overshoots `max_usd`: a request's worst case is reserved before it is sent.

    `spent_usd` is what replies cost; `unseen_usd` the most that attempts without an answer may have cost. Both count.

    `name` is the recipe table's, such as "teacher" or "engines.judge". Raises PacosError where a limit is set and no
    price is known, so that nothing could be counted; a server on this machine costs nothing unless the recipe says so.
    """

    def __init__(self, name: str, table: EngineTable, spent_usd: float, unseen_usd: float = 0.0) -> None:
        self.spent_usd, self.unseen_usd = spent_usd, unseen_usd
        self._name = name
        self._max_usd = table.max_usd
        self._prices = Prices(table)
        self._reserved: dict[str, float] = {}
        # Of floats, but exact: what was added and taken out again leaves nothing behind.
        self._reserved_usd = Fraction(0)
        # How many times its worst case a reply has cost: some bill thoughts that max_tokens does not limit.
        self._excess = 1.0
        is_free = table.engine != "http" or is_loopback(table.base_url)
        if self._max_usd is not None and not is_free and not self._prices.known:
            raise PacosError(
                f"{name}.max_usd is {self._max_usd:g}, but no price of {table.model or 'this model'!r} is known; "
                f"set {name}.input_usd_per_mtok and {name}.output_usd_per_mtok, or leave {name}.max_usd unset."
            )

    def worst_case_usd(self, request: Request) -> float:
        """The most that one attempt at the request can cost."""
        return self._excess * self._prices.worst_case_usd(request)

    def reserve(self, request: Request) -> bool:
        """Sets the request's worst case aside; False where the limit leaves no room for it."""
        worst = self._prices.worst_case_usd(request)
        at_worst = self.spent_usd + self.unseen_usd + self._excess * (float(self._reserved_usd) + worst)
        if self._max_usd is not None and at_worst > self._max_usd:
            return False
        self._reserved_usd += Fraction(worst) - Fraction(self._reserved.get(request.id, 0.0))
        self._reserved[request.id] = worst
        return True

    def settle(self, answer: Reply | Failure) -> None:
        """The request is over: its reservation becomes what it really cost."""
        reserved = self._reserved.pop(answer.id)
        self._reserved_usd -= Fraction(reserved)
        if isinstance(answer, Reply) and reserved:
            self._excess = max(self._excess, answer.usd / reserved)
        self.spent_usd += answer.usd if isinstance(answer, Reply) else 0.0
        self.unseen_usd += answer.unseen_usd

    def exhausted(self, request: Request) -> BudgetSpentError:
        """The line that stops a run whose next request does not fit."""
        worst = self.worst_case_usd(request)
        unseen = (
            f", up to {self.unseen_usd:.4f} may have been billed for attempts that brought no answer,"
            if self.unseen_usd
            else ""
        )
        return BudgetSpentError(
            f"{self._name}.max_usd is {self._max_usd:g}: {self.spent_usd:.4f} is spent{unseen} and the next request "
            f"may cost up to {worst:.4f}. Raise {self._name}.max_usd and repeat the same command: it goes on from here."
        )
