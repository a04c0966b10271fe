"""Filling the pool: which request comes next, and every reply judged in the order of the requests."""

from collections.abc import Callable

from pacos.asking import Call
from pacos.engines import Failure, Reply
from pacos.generate.barren import UNREADABLE_REPLIES, barren
from pacos.generate.plan import Plan
from pacos.generate.pool import Pool


class Filling:
    """The source of the asking: the plan's calls, until the pool is full. `on_reply` is called for each reply judged.

    Before anything was read, no more replies are asked for at once than it takes to see that nothing can be, but in a
    batch, which is one sending. `take` raises PacosError where the replies hold nothing to read, or to keep.
    """

    def __init__(self, plan: Plan, pool: Pool, on_reply: Callable[[Reply], None], in_batch: bool) -> None:
        self._plan, self._pool, self._on_reply, self._in_batch = plan, pool, on_reply, in_batch
        # Answers that wait for an earlier one; a Failure where the request was given up.
        self._arrived: dict[int, tuple[Call, Reply | Failure]] = {}
        self._next_to_ask = 0

    @property
    def full(self) -> bool:
        """Whether enough examples are kept."""
        return self._pool.full

    def next_call(self, num_in_flight: int) -> Call | None:
        """The next request of the plan; None where it depends on one that is not judged, or will hardly be needed."""
        if not self._plan.ready(self._next_to_ask) or not self._more_needed(num_in_flight):
            return None
        self._next_to_ask += 1
        return self._plan.call(self._next_to_ask - 1)

    def take(self, call: Call, answer: Reply | Failure) -> None:
        """Judges the answer, and those that waited for it, as soon as all before it are judged."""
        pool, problem = self._pool, None
        self._arrived[call.number] = (call, answer)
        while pool.num_judged in self._arrived and not pool.full:
            ready, next_answer = self._arrived.pop(pool.num_judged)
            if isinstance(next_answer, Failure):
                pool.close_request()
            else:
                pool.take(ready, next_answer)
                self._on_reply(next_answer)
                problem = problem or barren(pool, next_answer)
        if problem and not pool.full:
            raise problem

    def _more_needed(self, num_in_flight: int) -> bool:
        """Whether the replies under way will likely not fill the pool, judging by those before them."""
        pool = self._pool
        kept_per_reply = len(pool.kept) / pool.num_replies if pool.num_replies else float(pool.mode.new_tasks)
        waiting = num_in_flight + len(self._arrived)
        if pool.replies_since_read == pool.num_replies and not self._in_batch and waiting >= UNREADABLE_REPLIES:
            return False
        return waiting == 0 or waiting * kept_per_reply < pool.missing
