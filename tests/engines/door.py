"""The http engine's door for its tests: a table for a loopback server, requests, and all answers to them."""

from collections.abc import Iterator

from pacos.core.recipe import EngineTable
from pacos.engines import Failure, Reply, Request, Sampling, complete_all
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


def ask(
    server: OpenAIServer, count: int = 1, timeout_seconds: float = 5.0, **keys: object
) -> dict[str, Reply | Failure]:
    return complete_all(HttpEngine(table(server, **keys), timeout_seconds), requests(count))
