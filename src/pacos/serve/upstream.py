"""The model on a server of its own, such as vLLM, behind the same app."""

import asyncio
import sys
from collections.abc import Mapping
from dataclasses import replace

from pacos.core.errors import PacosError
from pacos.core.recipe import EngineTable
from pacos.engines import Request, RequestFailedError, Sampling
from pacos.engines.http import HttpEngine
from pacos.serve.model import ServedModel

RETRY_SECONDS = 2.0
# A server that is down or still loads its model; any other refusal stays.
_PASSES = ("connection", "timeout", "server", "rate_limit")


def server_table(name: str, engines: Mapping[str, EngineTable]) -> EngineTable:
    """The [engines.NAME] that `serve.engine` names; PacosError where it cannot serve."""
    table = engines.get(name)
    if table is None:
        known = ", ".join(engines) or "none; this recipe has no [engines.NAME]"
        raise PacosError(f"serve.engine is {name!r}; expected a name of [engines.NAME] ({known}), or empty for local.")
    if (table.engine, table.api, table.batch) != ("http", "completions", False):
        raise PacosError(
            f"engines.{name} has engine={table.engine!r}, api={table.api!r} and batch={str(table.batch).lower()}; "
            "serve.engine needs http, completions and false: prompts go out as token ids, so that a visitor's text "
            "never becomes a special token."
        )
    return table


async def reached(table: EngineTable, model: ServedModel) -> ServedModel:
    """Waits until the server answers; the model as that server holds it, which may be with a shorter context.

    Raises PacosError where the server refuses for good: a wrong key, no such model.
    """
    # On its own connections: those of one event loop are of no use to another's.
    engine, is_told = HttpEngine(table), False
    try:
        while True:
            try:
                async for _ in engine.stream(Request("warm-up", "Hello", Sampling(max_tokens=1))):
                    pass
                most = await engine.context_tokens()
                return replace(model, context_tokens=min(model.context_tokens, most or model.context_tokens))
            except RequestFailedError as error:
                if error.failure.fatal or error.failure.kind not in _PASSES:
                    raise
                if not is_told:
                    print(f"serve: waits for the engine. {error}", file=sys.stderr, flush=True)
                is_told = True
            await asyncio.sleep(RETRY_SECONDS)
    finally:
        await engine.close()
