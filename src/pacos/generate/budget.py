"""Money: what is spent, and what the requests in flight may cost at worst."""

from pacos.core.errors import PacosError
from pacos.core.recipe import EngineTable
from pacos.engines import Reply, Request
from pacos.engines.prices import Prices


class Budget:
    """Never overshoots `max_usd`: a request's worst case is reserved before it is sent.

    Raises PacosError where a limit is set and no price is known, so that nothing could be counted.
    """

    def __init__(self, teacher: EngineTable, spent_usd: float) -> None:
        self.spent_usd = spent_usd
        self.max_usd = teacher.max_usd
        self._prices = Prices(teacher)
        self._reserved: dict[str, float] = {}
        if teacher.engine == "http" and self.max_usd is not None and not self._prices.known:
            raise PacosError(
                f"teacher.max_usd is {self.max_usd:g}, but no price of {teacher.model or 'this model'!r} is known; "
                "set teacher.input_usd_per_mtok and teacher.output_usd_per_mtok."
            )

    def reserve(self, request: Request) -> bool:
        """Sets the request's worst case aside; False where the limit leaves no room for it."""
        worst = self._prices.worst_case_usd(request)
        if self.max_usd is not None and self.spent_usd + sum(self._reserved.values()) + worst > self.max_usd:
            return False
        self._reserved[request.id] = worst
        return True

    def settle(self, request_id: str, reply: Reply | None) -> None:
        """The request is over: its reservation becomes what it really cost."""
        self._reserved.pop(request_id)
        self.spent_usd += reply.usd if reply else 0.0

    def exhausted(self, request: Request) -> PacosError:
        """The line that stops a run whose next request does not fit."""
        worst = self._prices.worst_case_usd(request)
        return PacosError(
            f"teacher.max_usd is {self.max_usd:g}: {self.spent_usd:.4f} is spent and the next request may cost up to "
            f"{worst:.4f}. Raise teacher.max_usd and repeat the same command: it goes on from here."
        )
