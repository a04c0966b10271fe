"""The rule-based stand-in for a teacher and a judge. It is no language model, and its replies say nothing about one.

It answers the very prompts that a language model would get, in the very format and with a language model's kinds of
faults, so that everything downstream does real work on a machine with no network, key or GPU.
"""

import asyncio
import hashlib
import random
from collections.abc import AsyncIterator, Callable, Iterable
from threading import Event

from pacos.core.errors import PacosError
from pacos.engines.builtin.judge import judge_reply
from pacos.engines.builtin.teacher import teacher_reply
from pacos.engines.types import Delta, FinishReason, Reply, Request, Usage

ROLES: dict[str, Callable[[str, random.Random], tuple[str, FinishReason]]] = {
    "teacher": teacher_reply,
    "judge": judge_reply,
}


class BuiltinEngine:
    """`BuiltinEngine("teacher", seed)` or `("judge", seed)`; the same prompt and seed always get the same reply."""

    tokens_written = 0

    def __init__(self, role: str, seed: int = 0) -> None:
        if role not in ROLES:
            raise PacosError(f"engine builtin:{role}: no such role; expected builtin:teacher or builtin:judge.")
        self.name = f"builtin:{role}"
        self._answer = ROLES[role]
        self._seed = seed

    async def complete(self, requests: Iterable[Request], stop: Event | None = None) -> AsyncIterator[Reply]:
        """Answers in order, at once."""
        source = iter(requests)
        while not (stop and stop.is_set()) and (request := next(source, None)):
            yield self._reply(request)
            await asyncio.sleep(0)

    async def stream(self, request: Request) -> AsyncIterator[Delta]:
        """Answers line by line."""
        reply = self._reply(request)
        for line in reply.text.splitlines(keepends=True):
            yield Delta(line)
            await asyncio.sleep(0)
        yield Delta("", reply)

    async def close(self) -> None:
        """Nothing is held."""

    def _reply(self, request: Request) -> Reply:
        prompt = request.prompt if isinstance(request.prompt, str) else request.prompt[-1].content
        digest = hashlib.sha256(f"{self._seed}\n{prompt}".encode()).digest()
        text, finish_reason = self._answer(prompt, random.Random(digest))
        text, finish_reason = _cut(text, finish_reason, request)
        return Reply(request.id, text, finish_reason, Usage(len(prompt.split()), len(text.split())))


def _cut(text: str, finish_reason: FinishReason, request: Request) -> tuple[str, FinishReason]:
    """Obeys stop strings and the length limit, as a server does; a token is a word here."""
    for stop in request.sampling.stop:
        if stop in text:
            text, finish_reason = text[: text.index(stop)], "stop"
    words = text.split(" ")
    if len(words) > request.sampling.max_tokens:
        return " ".join(words[: request.sampling.max_tokens]), "length"
    return text, finish_reason
