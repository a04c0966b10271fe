"""The door to every engine."""

import asyncio
from collections.abc import Callable, Iterable
from pathlib import Path

from pacos.core.errors import PacosError
from pacos.core.recipe import EngineTable
from pacos.engines.types import Engine, Failure, Reply, Request


def open_engine(
    table: EngineTable | str, *, role: str = "teacher", seed: int = 0, folder: Path | None = None
) -> Engine:
    """Opens the engine a recipe's table names, or "builtin:teacher", "http:BASE_URL", "local:CHECKPOINT".

    `role` and `seed` matter to the builtin engine only: what it plays, and its random choices. `folder` is where an
    engine keeps what it must find again after a crash: the batches that the http engine has sent.
    Raises PacosError where a key, a checkpoint or an address is missing or cannot be used.
    """
    if isinstance(table, str):
        table, role = _parse(table, role)
    if table.batch and table.engine != "http":
        raise PacosError(
            f"batch is true and engine is {table.engine!r}, but only servers have a Batch API; "
            'set batch=false, or engine="http".'
        )
    for path in folder.glob("batch-*.json") if folder and not table.batch else ():
        raise PacosError(
            f"{path}: a batch of this run is at the server, and billed, but batch is false, so its requests would be "
            "asked and paid for again; set batch=true to take its answers, or remove the file to give them up."
        )
    # An engine is imported when it is opened, so that what needs no torch never loads it.
    if table.engine == "builtin":
        from pacos.engines.builtin import BuiltinEngine

        return BuiltinEngine(role, seed)
    if table.engine == "http":
        from pacos.engines.http import BatchEngine, HttpEngine

        return BatchEngine(table, folder) if table.batch else HttpEngine(table)
    from pacos.engines.local.engine import LocalEngine

    return LocalEngine(table.path)


def _parse(spec: str, role: str) -> tuple[EngineTable, str]:
    kind, _, rest = spec.partition(":")
    if kind == "builtin":
        return EngineTable(), rest or role
    if kind == "http" and rest:
        # "http:http://host/v1" and "http://host/v1" both name a server.
        url = spec if rest.startswith("//") else rest
        return EngineTable(engine="http", base_url=url), role
    if kind == "https":
        return EngineTable(engine="http", base_url=spec), role
    if kind == "local" and rest:
        return EngineTable(engine="local", path=rest), role
    raise PacosError(f"engine {spec!r}: expected builtin:teacher, builtin:judge, http:BASE_URL or local:CHECKPOINT.")


def complete_all(
    engine: Engine, requests: Iterable[Request], on_reply: Callable[[Reply | Failure], None] = lambda reply: None
) -> dict[str, Reply | Failure]:
    """Runs `engine.complete` to its end and returns answers by request id; `on_reply` sees each as it arrives."""

    async def collect() -> dict[str, Reply | Failure]:
        answers = {}
        async for answer in engine.complete(requests):
            answers[answer.id] = answer
            on_reply(answer)
        return answers

    return asyncio.run(collect())
