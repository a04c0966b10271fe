"""Judges: the engines that judge, under the names that their votes carry."""

import json
from dataclasses import dataclass, replace
from pathlib import Path

from pacos.core.files import sha256_text
from pacos.core.models import resolve_model, weights_sha256
from pacos.core.recipe import EngineTable, Recipe
from pacos.engines import Sampling, engine_table
from pacos.judging.judge_prompts import DEFAULT, FILES, FOLDERS, JudgePrompt, load_prompt, prompt_folder

# A reason of one sentence and a verdict; a judge that thinks is given a table of its own, with its own max_tokens.
MAX_TOKENS = 512
# No reply of the builtin judge is longer, so that a higher limit changes none.
MOST_WORDS = 32


@dataclass(frozen=True)
class Judge:
    """An engine that judges by a prompt. `table_name` is where the recipe has its prices and limits, for errors."""

    name: str
    table_name: str
    table: EngineTable
    sampling: Sampling
    prompt: JudgePrompt

    @property
    def model(self) -> str:
        """Who judges: a server's model, a checkpoint as the recipe names it, or the builtin judge."""
        return self.table.model or self.table.path or (self.table.base_url if self.table.engine == "http" else "judge")

    def identity(self) -> str:
        """A hash of all that shapes a vote, beside the seed: engine, model or weights, prompt and sampling.

        Where a server stands is not in it unless nothing else names its model, and the builtin judge, which draws
        nothing and writes little, is the same however it is asked.
        """
        table, sampling = self.table, self.sampling
        model = self.model
        if table.engine == "local":
            folder = Path(resolve_model(table.path))
            model = weights_sha256(folder) if folder.is_dir() else table.path
        drawn: tuple[float, ...] = sampling.max_tokens, sampling.temperature, sampling.top_p
        if table.engine == "builtin":
            drawn = (min(sampling.max_tokens, MOST_WORDS),)
        content = [table.engine, model, table.api, table.weights, self.prompt.sha256, *drawn]
        return sha256_text(json.dumps(content))


def judges_of(recipe: Recipe) -> list[Judge]:
    """The engines of `evaluate.judges`, or, where it is empty, the [judge] table as it is written.

    One that is named by a spec, such as "builtin:judge", is asked greedily; a table says itself how it is asked.
    """
    if not recipe.evaluate.judges:
        return [_of_judge_table(recipe, None)]
    return [judge_named(name, recipe) for name in dict.fromkeys(recipe.evaluate.judges)]


def prompt_files(recipe: Recipe) -> list[Path]:
    """The files of the prompts that judges of the recipe are given by path: inputs, as any file of the user's."""
    tables = [recipe.engines[name] for name in recipe.evaluate.judges if name in recipe.engines]
    given = [table.prompt for table in (tables or [recipe.judge]) if table.prompt]
    folders = [prompt_folder(name) for name in given]
    return [folder / file for folder in folders if folder.parent != FOLDERS for file in FILES]


def judge_named(name: str, recipe: Recipe, prompt: str | None = None) -> Judge:
    """The judge of [engines.NAME], of the [judge] table for "judge", or of an engine's spec.

    `prompt` stands in for the table's. Raises PacosError where there is none of that name, or its prompt is no good.
    """
    if name == "judge" and name not in recipe.engines:
        return _of_judge_table(recipe, prompt)
    table, _ = engine_table(name, recipe.engines)
    if name in recipe.engines:
        return _judge(name, f"engines.{name}", table, _drawn(table, recipe), prompt)
    greedy = Sampling(MAX_TOKENS, temperature=0.0, seed=recipe.evaluate.seed)
    return _judge(name, name, table, greedy, prompt)


def _of_judge_table(recipe: Recipe, prompt: str | None) -> Judge:
    table = recipe.judge
    name = f"{table.engine}:{table.model or table.path or 'judge'}"
    return _judge(name, "judge", table, _drawn(table, recipe), prompt)


def _drawn(table: EngineTable, recipe: Recipe) -> Sampling:
    return Sampling(table.max_tokens, table.temperature, table.top_p, seed=recipe.evaluate.seed)


def _judge(name: str, table_name: str, table: EngineTable, sampling: Sampling, prompt: str | None) -> Judge:
    loaded = load_prompt(prompt or table.prompt or DEFAULT)
    if loaded.keys.max_tokens is not None:
        sampling = replace(sampling, max_tokens=loaded.keys.max_tokens)
    return Judge(name, table_name, table, sampling, loaded)
