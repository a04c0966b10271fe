"""Filling the pool: which request comes next, and every reply judged in the order of the requests."""

from collections.abc import Callable

from pacos.asking import Call
from pacos.core.errors import PacosError
from pacos.engines import Failure, Reply
from pacos.generate.plan import Plan
from pacos.generate.pool import Pool

# A teacher whose last so many replies held nothing to keep is not going to get better by being paid more.
BARREN_REPLIES = 30


class Filling:
    """The source of the asking: the plan's calls, until the pool is full. `on_reply` is called for each reply judged.

    `take` raises PacosError where the replies hold nothing to keep.
    """

    def __init__(self, plan: Plan, pool: Pool, on_reply: Callable[[Reply], None]) -> None:
        self._plan, self._pool, self._on_reply = plan, pool, on_reply
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
        pool = self._pool
        self._arrived[call.number] = (call, answer)
        while pool.num_judged in self._arrived and not pool.full:
            ready, next_answer = self._arrived.pop(pool.num_judged)
            if isinstance(next_answer, Failure):
                pool.close_request()
            else:
                pool.take(ready, next_answer)
                self._on_reply(next_answer)
        if not pool.full and pool.replies_since_kept >= BARREN_REPLIES:
            raise self._barren()

    def _more_needed(self, num_in_flight: int) -> bool:
        """Whether the replies under way will likely not fill the pool, judging by those before them."""
        pool = self._pool
        kept_per_reply = len(pool.kept) / pool.num_replies if pool.num_replies else float(self._plan.new_tasks)
        waiting = num_in_flight + len(self._arrived)
        return waiting == 0 or waiting * kept_per_reply < pool.missing

    def _barren(self) -> PacosError:
        pool, kept = self._pool, len(self._pool.kept)
        rejections = ", ".join(f"{rule} {count:,}" for rule, count in pool.rejections.most_common(4))
        cut = pool.rejections.most_common(1)[0][0] == "truncated" if pool.rejections else False
        advice = "raise teacher.max_tokens, or " if cut else ""
        less = f", or finish with what is kept: the same command with generate.num_examples={kept}" if kept else ""
        return PacosError(
            f"teacher: nothing to keep in its last {BARREN_REPLIES} replies; {kept:,} of "
            f"{pool.num_asked:,} tasks asked for were kept (rejected: {rejections or 'no task could be read'}). "
            f"Look into rejected.jsonl; then {advice}change the teacher, its prompt, the seed tasks or "
            f"generate.similarity_threshold and give --run another folder{less}."
        )
