"""A fair queue: so many answers at once; of the visitors who wait, the one with the fewest under way is next, or who
has had none for longest."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from pacos.web.error_shape import RefusalError

# As many as the local engine writes at once; more would stand in its own line, where nobody can be let past.
AT_ONCE = 32
MAX_WAITING = 256
MAX_WAITING_EACH = 128
RETRY_SECONDS = 5.0


class FairQueue:
    """For one event loop. A slot is room for one answer; a visitor is any key: an API key, a session, an address."""

    def __init__(self, at_once: int = AT_ONCE, most: int = MAX_WAITING, most_each: int = MAX_WAITING_EACH) -> None:
        self._at_once, self._most, self._most_each = at_once, most, most_each
        self._under_way: Counter[str] = Counter()
        # The number of each visitor's last slot, of those who wait or have one.
        self._last: dict[str, int] = {}
        self._granted = 0
        self._waiting: list[tuple[str, asyncio.Future[None]]] = []

    @property
    def under_way(self) -> int:
        """Answers that have a slot now."""
        return self._under_way.total()

    @property
    def waiting(self) -> int:
        """Answers that wait for one."""
        return len(self._waiting)

    @asynccontextmanager
    async def slot(self, visitor: str) -> AsyncIterator[None]:
        """Waits for a slot and holds it as long as the context lasts; RefusalError 429 where the queue is full."""
        own = sum(other == visitor for other, _ in self._waiting)
        if len(self._waiting) >= self._most or own >= self._most_each:
            line = "As many questions are waiting as this server takes; try again soon."
            raise RefusalError(429, "overloaded", line, RETRY_SECONDS)
        granted = asyncio.get_running_loop().create_future()
        place = (visitor, granted)
        self._waiting.append(place)
        self._grant()
        try:
            await granted
            yield
        finally:
            if place in self._waiting:
                self._waiting.remove(place)
            else:
                self._under_way[visitor] -= 1
                self._under_way += Counter()  # forgets those at 0
            self._grant()
            if visitor not in self._under_way and all(visitor != other for other, _ in self._waiting):
                self._last.pop(visitor, None)

    def _grant(self) -> None:
        while self._waiting and self.under_way < self._at_once:
            place = min(self._waiting, key=lambda each: (self._under_way[each[0]], self._last.get(each[0], 0)))
            self._waiting.remove(place)
            self._under_way[place[0]] += 1
            self._granted += 1
            self._last[place[0]] = self._granted
            if not place[1].done():
                place[1].set_result(None)
