"""The plan: request number k, always the same for the same recipe, seed tasks and replies before it."""

import random
from collections.abc import Sequence

from pacos.asking import Call, call_key
from pacos.core.recipe import EngineTable
from pacos.core.records import SeedTask
from pacos.engines import Request, Sampling
from pacos.generate.modes import Mode
from pacos.generate.pool import Pool
from pacos.generate.prompts import build_prompt

# A request that shows kept tasks waits until all requests but the last so many before it are judged: enough to keep
# as many in flight.
LAG = 256
FIRST_CALLS = 5


class Plan:
    """`plan.call(k)`: demonstrations drawn by seed and k, from the seed tasks and, in some modes, from the pool.

    What request k may see of the pool depends on k alone, never on what happens to be judged when it is sent: the same
    replies make the same requests, at any concurrency and after any stop.
    """

    def __init__(
        self, mode: Mode, head: str, seed_tasks: Sequence[SeedTask], teacher: EngineTable, seed: int, pool: Pool
    ) -> None:
        self._mode = mode
        self._head = head
        self._seed_tasks = seed_tasks
        self._teacher = teacher
        self._seed = seed
        self._pool = pool

    def ready(self, number: int) -> bool:
        """Whether all requests that `number` depends on are judged."""
        return self._pool.num_judged >= self._num_seen(number)

    def demonstrations(self, number: int) -> list[SeedTask]:
        """The tasks that request `number` shows, shuffled; seed tasks stand in while the pool has too few."""
        rng = random.Random(f"{self._seed}/{number}")
        kept = self._pool.tasks_after(self._num_seen(number))
        from_pool = rng.sample(kept, min(self._mode.num_from_pool, len(kept)))
        shown = rng.sample(self._seed_tasks, min(self._mode.num_shown - len(from_pool), len(self._seed_tasks)))
        if from_pool:
            shown += from_pool
            rng.shuffle(shown)
        return shown

    def call(self, number: int) -> Call:
        """Request `number`, with its ledger key."""
        sampling = Sampling(
            max_tokens=self._teacher.max_tokens,
            temperature=self._teacher.temperature,
            top_p=self._teacher.top_p,
            stop=self._mode.stop,
            # Tells apart two requests that happen to show the same tasks, for the ledger and for the teacher.
            seed=(self._seed * 1_000_003 + number) % 2**31,
        )
        prompt = build_prompt(self._head, self._mode.demonstration, self.demonstrations(number))
        request = Request(f"generate-{number}", prompt, sampling)
        return Call(number, call_key(self._teacher, request), request)

    def first_calls(self) -> list[Call]:
        """Calls that need no reply to an earlier one: enough to see what prompts are like."""
        return [self.call(number) for number in range(FIRST_CALLS) if self._num_seen(number) == 0]

    def _num_seen(self, number: int) -> int:
        """How many requests before `number` shape it: half of them at first, so that the first ones need not wait."""
        return max(number // 2, number - LAG) if self._mode.num_from_pool else 0
