"""The plan: request number k, always the same for the same recipe and seed tasks."""

import random
from collections.abc import Sequence

from pacos.core.recipe import EngineTable
from pacos.core.records import SeedTask
from pacos.engines import Request, Sampling
from pacos.generate.ledger import Call, call_key
from pacos.generate.modes import Mode
from pacos.generate.prompts import NUM_DEMONSTRATIONS


class Plan:
    """`plan.call(k)`: three seed tasks drawn by seed and k, so that no request depends on another's reply."""

    def __init__(self, mode: Mode, seed_tasks: Sequence[SeedTask], teacher: EngineTable, seed: int) -> None:
        self._mode = mode
        self._seed_tasks = seed_tasks
        self._teacher = teacher
        self._seed = seed

    def demonstrations(self, number: int) -> list[SeedTask]:
        """The seed tasks that request `number` shows."""
        return self._random(number).sample(self._seed_tasks, NUM_DEMONSTRATIONS)

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
        request = Request(f"generate-{number}", self._mode.prompt(self.demonstrations(number)), sampling)
        return Call(number, call_key(self._teacher, request), request)

    def _random(self, number: int) -> random.Random:
        return random.Random(f"{self._seed}/{number}")
