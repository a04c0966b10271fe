"""A question that several answers share: it is read once and judged once."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from pacos.engines import Prompt
from pacos.web.error_shape import RefusalError

T = TypeVar("T")
Question = Prompt | tuple[int, ...]
"""What was asked: a raw text, a conversation, or a prompt's token ids."""


class Once(Generic[T]):
    """Work whose result several wait for and the first of them does; where it is refused, all of them are.

    Where the one at it is cancelled, the next begins anew.
    """

    def __init__(self, work: Callable[[], Awaitable[T]]) -> None:
        self._work, self._lock = work, asyncio.Lock()
        self._made: list[T] = []
        self._refusal: RefusalError | None = None

    async def result(self) -> T:
        """What the work gave; RefusalError where it was refused."""
        async with self._lock:
            if self._refusal:
                raise self._refusal
            if not self._made:
                try:
                    self._made.append(await self._work())
                except RefusalError as refusal:
                    self._refusal = refusal
                    raise
        return self._made[0]


@dataclass(frozen=True)
class ReadQuestion:
    """The texts that its author wrote, the model's prompt of them with its ids, and the beginning of the answer, which
    the last `num_begun` ids are."""

    said: tuple[str, ...]
    prompt: Prompt
    ids: tuple[int, ...]
    begun: str = ""
    num_begun: int = 0


@dataclass(frozen=True)
class SharedQuestion:
    """`reading` refuses what is too long or does not fit the model, `judging` what is flagged."""

    given: Question
    reading: Once[ReadQuestion]
    judging: Once[None]
