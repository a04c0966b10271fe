"""The door to every moderation backend."""

from collections.abc import Mapping, Sequence
from functools import cache

from pacos.core.errors import PacosError
from pacos.core.recipe import EngineTable
from pacos.engines import engine_table
from pacos.guard.blocklist import Blocklist
from pacos.guard.chain import ModerationChain
from pacos.guard.families import FAMILIES
from pacos.guard.guard_model import GuardModel
from pacos.guard.moderation import Moderator
from pacos.guard.openai_moderation import OpenAiModeration

OFF = "off"
_blocklist = cache(Blocklist)


def open_moderation(names: str | Sequence[str], engines: Mapping[str, EngineTable] | None = None) -> ModerationChain:
    """The backends that a recipe's `serve.moderation` names, in that order; "off" alone for none.

    "blocklist", "openai", "openai:ENGINE", or a guard model by its family: "llama-guard:ENGINE", "qwen3guard:ENGINE",
    "shieldgemma:ENGINE". ENGINE is the NAME of an [engines.NAME], or "http:BASE_URL" or "local:CHECKPOINT". Raises
    PacosError where one cannot be opened.
    """
    listed = [names] if isinstance(names, str) else list(dict.fromkeys(names))
    if listed == [OFF]:
        return ModerationChain({})
    if not listed or OFF in listed:
        raise PacosError(f"serve.moderation is {listed!r}; expected backends, or 'off' alone.")
    return ModerationChain({name: _open(name, engines or {}) for name in listed})


def _open(name: str, engines: Mapping[str, EngineTable]) -> Moderator:
    kind, _, engine = name.partition(":")
    try:
        if name == "blocklist":
            return _blocklist()
        if name == "openai":
            return OpenAiModeration()
        if engine and kind == "openai":
            return OpenAiModeration(_server(engine, engines))
        if engine and kind in FAMILIES:
            return GuardModel(FAMILIES[kind], engine_table(engine, engines)[0])
    except PacosError as error:
        raise PacosError(f"moderation {name!r}: {error}") from None
    families = ", ".join(f"{family}:ENGINE" for family in FAMILIES)
    raise PacosError(f"moderation {name!r}: expected blocklist, openai, openai:ENGINE, {families}, or off alone.")


def _server(engine: str, engines: Mapping[str, EngineTable]) -> EngineTable:
    table = engine_table(engine, engines)[0]
    if table.engine != "http":
        raise PacosError(f"its engine is {table.engine!r}, and only a server has a moderations API; set engine='http'.")
    return table
