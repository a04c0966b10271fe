"""Judges: the engines that judge, under the names that their votes carry."""

from dataclasses import dataclass

from pacos.core.recipe import EngineTable, Recipe
from pacos.engines import Sampling, engine_table

# A reason of one sentence and a verdict; a judge that thinks is given a table of its own, with its own max_tokens.
MAX_TOKENS = 512


@dataclass(frozen=True)
class Judge:
    """An engine that judges. `table_name` is where the recipe has its prices and limits, for errors."""

    name: str
    table_name: str
    table: EngineTable
    sampling: Sampling


def judges_of(recipe: Recipe) -> list[Judge]:
    """The engines of `evaluate.judges`, or, where it is empty, the [judge] table as it is written.

    One that is named by a spec, such as "builtin:judge", is asked greedily; a table says itself how it is asked.
    """
    if not recipe.evaluate.judges:
        table = recipe.judge
        return [_judge(f"{table.engine}:{table.model or table.path or 'judge'}", "judge", table, recipe)]
    return [_named(name, recipe) for name in dict.fromkeys(recipe.evaluate.judges)]


def _named(name: str, recipe: Recipe) -> Judge:
    table, _ = engine_table(name, recipe.engines)
    if name in recipe.engines:
        return _judge(name, f"engines.{name}", table, recipe)
    return Judge(name, name, table, Sampling(MAX_TOKENS, temperature=0.0, seed=recipe.evaluate.seed))


def _judge(name: str, table_name: str, table: EngineTable, recipe: Recipe) -> Judge:
    sampling = Sampling(table.max_tokens, table.temperature, table.top_p, seed=recipe.evaluate.seed)
    return Judge(name, table_name, table, sampling)
