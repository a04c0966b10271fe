"""The http engine's door for its tests: a table for a loopback server, requests, and all answers to them."""

import asyncio
from collections.abc import Callable, Iterable, Iterator
from threading import Event

from pacos.core.recipe import EngineTable
from pacos.engines import Engine, Failure, Reply, Request, Sampling
from pacos.engines.http import HttpEngine
from tests.servers.openai_server import OpenAIServer

KEY = "sk-secret-0123456789"
PRICED = {"input_usd_per_mtok": 1000.0, "output_usd_per_mtok": 2000.0}


def echo(prompt: str, seed: int | None) -> str:
    return f"You said: {prompt}"


def table(server: OpenAIServer, **keys: object) -> EngineTable:
    return EngineTable(engine="http", base_url=server.base_url, model="small", **keys)  # type: ignore[arg-type]


def requests(count: int, **sampling: object) -> Iterator[Request]:
    for number in range(count):
        yield Request(f"r{number}", f"prompt {number}", Sampling(max_tokens=100, **sampling))  # type: ignore[arg-type]


def complete_all(engine: Engine, asked: Iterable[Request]) -> dict[str, Reply | Failure]:
    """All answers by request id."""

    async def collect() -> dict[str, Reply | Failure]:
        return {answer.id: answer async for answer in engine.complete(asked)}

    return asyncio.run(collect())


async def take_until(engine: Engine, asked: Iterable[Request], take: Callable[[Reply | Failure], bool]) -> None:
    """Hands every answer to `take`, and stops the engine when that returns False."""
    stop = Event()
    async for answer in engine.complete(asked, stop):
        if not take(answer):
            stop.set()


def ask(
    server: OpenAIServer, count: int = 1, timeout_seconds: float = 5.0, **keys: object
) -> dict[str, Reply | Failure]:
    return complete_all(HttpEngine(table(server, **keys), timeout_seconds), requests(count))
