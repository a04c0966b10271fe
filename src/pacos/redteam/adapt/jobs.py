"""What the page has asked for and takes time: one job after the other, while the page goes on."""

import asyncio
import traceback
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from pacos.core.errors import PacosError
from pacos.core.progress import ProgressBar

Job = Callable[[ProgressBar], Awaitable[str]]
"""Does the work, tells the bar, and returns a line on what came of it."""


class Jobs:
    """One at a time, since a budget is one account: two that spend at once could both take its last cent.

    `said` is what came of the last one; `problem` is why the last one failed, "" where it did not.
    """

    def __init__(self) -> None:
        self.doing, self.said, self.problem = "", "", ""
        self.num_done = 0
        self.bar = ProgressBar("adapt", 0, "requests")
        self._waiting: deque[tuple[str, Job]] = deque()
        self._woken = asyncio.Event()

    @property
    def num_waiting(self) -> int:
        """Those that have not begun."""
        return len(self._waiting)

    def put(self, what: str, job: Job) -> None:
        """Has a job done when its turn comes."""
        self.problem = ""
        self._waiting.append((what, job))
        self._woken.set()

    @asynccontextmanager
    async def working(self) -> AsyncIterator[None]:
        """Works until the end; what is under way then is given up, and asked again by the next process."""
        task = asyncio.create_task(self._work())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _work(self) -> None:
        while True:
            await self._woken.wait()
            self._woken.clear()
            while self._waiting:
                self.doing, job = self._waiting.popleft()
                self.bar = ProgressBar("adapt", 0, "requests")
                try:
                    self.said = await job(self.bar)
                except PacosError as error:
                    self.said, self.problem = "", str(error)
                    # What waits would most likely meet the same.
                    self._waiting.clear()
                except Exception:
                    # A bug: its traceback is for the terminal, and the page says that there is one.
                    self.said, self.problem = "", f"{self.doing}: failed; the terminal has the traceback."
                    self._waiting.clear()
                    traceback.print_exc()
                finally:
                    self.doing = ""
                    self.num_done += 1
