"""The door to every engine."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from pacos.core.errors import PacosError
from pacos.core.recipe import EngineTable
from pacos.engines.types import Engine, LogitsHook


def open_engine(
    table: EngineTable | str,
    *,
    role: str = "teacher",
    seed: int = 0,
    folder: Path | None = None,
    logits_hook: LogitsHook | None = None,
    timeout_seconds: float = 600.0,
) -> Engine:
    """Opens the engine a recipe's table names, or "builtin:teacher", "http:BASE_URL", "local:CHECKPOINT".

    `role` and `seed` matter to the builtin engine only: what it plays, and its random choices. `folder` is where an
    engine keeps what it must find again after a crash: the batches that the http engine has sent. `logits_hook` is
    the local engine's: (input_ids [B, T], logits [B, V]) -> logits [B, V] at every decoding step. `timeout_seconds` is
    the longest wait for one answer of a server.
    Raises PacosError where a key, a checkpoint or an address is missing or cannot be used.
    """
    if isinstance(table, str):
        table, role = engine_table(table, {}, role)
    if logits_hook is not None and table.engine != "local":
        raise PacosError(f"engine is {table.engine!r}, but only a local one gives its logits; set engine to local.")
    if table.batch and table.engine != "http":
        raise PacosError(
            f"batch is true and engine is {table.engine!r}, but only servers have a Batch API; "
            'set batch=false, or engine="http".'
        )
    if table.weights != "auto" and table.engine != "local":
        raise PacosError(
            f"weights is {table.weights!r} and engine is {table.engine!r}, but only a local engine holds weights; "
            'set weights="auto", or engine="local".'
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

        return BatchEngine(table, folder) if table.batch else HttpEngine(table, timeout_seconds)
    from pacos.engines.local.engine import LocalEngine

    return LocalEngine(table.path, chat=table.api == "chat", logits_hook=logits_hook, precision=table.weights)


def prompt_lengths(table: EngineTable, prompts: Sequence[str]) -> tuple[list[int], int] | None:
    """Each prompt's tokens, and the most that prompt and reply may have together; None where nobody here can tell.

    Raises PacosError where a local table asks for a chat template that its checkpoint has not.
    """
    if table.engine != "local":
        return None
    from pacos.engines.local import checkpoint

    return checkpoint.prompt_lengths(table.path, prompts, as_chat=table.api == "chat")


def engine_table(name: str, engines: Mapping[str, EngineTable], role: str = "teacher") -> tuple[EngineTable, str]:
    """The table and the role of an engine by its name in the recipe's [engines.NAME], or by open_engine's spec."""
    if name in engines:
        return engines[name], role
    kind, _, rest = name.partition(":")
    if kind == "builtin":
        return EngineTable(), rest or role
    if kind == "http" and rest:
        # "http:http://host/v1" and "http://host/v1" both name a server.
        url = name if rest.startswith("//") else rest
        return EngineTable(engine="http", base_url=url), role
    if kind == "https":
        return EngineTable(engine="http", base_url=name), role
    if kind == "local" and rest:
        return EngineTable(engine="local", path=rest, api="completions"), role
    known = f"a name of [engines.NAME] ({', '.join(engines)}), " if engines else ""
    raise PacosError(
        f"engine {name!r}: expected {known}builtin:teacher, builtin:judge, http:BASE_URL or local:CHECKPOINT."
    )
