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
MAX_WAITING_EACH = 32
RETRY_SECONDS = 5.0
Visitor = tuple[str, ...]


class FairQueue:
    """For one event loop. A slot is room for one answer; a visitor goes by the names of an API key, a session, an
    address, and is as busy as the busiest of them."""

    def __init__(self, at_once: int = AT_ONCE, most: int = MAX_WAITING, most_each: int = MAX_WAITING_EACH) -> None:
        self._at_once, self._most, self._most_each = at_once, most, most_each
        self.under_way = 0
        """Answers that have a slot now."""
        self._under_way: Counter[str] = Counter()
        # The number of each name's last slot, of those who wait or have one.
        self._last: dict[str, int] = {}
        self._granted = 0
        self._waiting: list[tuple[Visitor, asyncio.Future[None]]] = []

    @property
    def waiting(self) -> int:
        """Answers that wait for one."""
        return len(self._waiting)

    @asynccontextmanager
    async def slot(self, visitor: Visitor) -> AsyncIterator[None]:
        """Waits for a slot and holds it as long as the context lasts; RefusalError 429 where the queue is full."""
        names = Counter(name for other, _ in self._waiting for name in other)
        if len(self._waiting) >= self._most or any(names[name] >= self._most_each for name in visitor):
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
                self.under_way -= 1
                self._under_way -= Counter(visitor)  # forgets those at 0
            self._grant()
            for name in visitor:
                if name not in self._under_way and all(name not in other for other, _ in self._waiting):
                    self._last.pop(name, None)

    def _grant(self) -> None:
        while self._waiting and self.under_way < self._at_once:
            place = min(self._waiting, key=lambda each: self._busy(each[0]))
            self._waiting.remove(place)
            self.under_way += 1
            self._under_way.update(place[0])
            self._granted += 1
            self._last |= dict.fromkeys(place[0], self._granted)
            if not place[1].done():
                place[1].set_result(None)

    def _busy(self, visitor: Visitor) -> tuple[int, int]:
        under_way = max((self._under_way[name] for name in visitor), default=0)
        return under_way, max((self._last.get(name, 0) for name in visitor), default=0)
