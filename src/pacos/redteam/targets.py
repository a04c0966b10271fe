"""What is attacked: a run's student, a checkpoint or a server; and how it is asked."""

import re
from dataclasses import dataclass, replace
from pathlib import Path

from pacos.core import models
from pacos.core.errors import PacosError
from pacos.core.models import resolve_model
from pacos.core.prompts import render_prompt
from pacos.core.recipe import EngineTable, Recipe
from pacos.core.run_folder import RunFolder
from pacos.engines import Message, Prompt, engine_table
from pacos.engines.local.tokenizer import load_tokenizer, prompt_ids

# The name under which a server that TARGET gives by its address finds model, prices and pace: engines.target.model=...
OWN_TABLE = "target"


@dataclass(frozen=True)
class Target:
    """`identity` is of the weights, or what a server calls itself; `table_name` is where a recipe has its prices.

    `has_turns` says that it takes a conversation; others get all that the user said as one instruction.
    """

    label: str
    table: EngineTable
    table_name: str
    identity: str
    has_turns: bool
    run: Path | None = None
    """The run folder whose student it is."""

    def prompt(self, turns: tuple[Message, ...]) -> Prompt:
        """What the engine is sent of a case; text alone goes on where a last turn of the assistant's has begun."""
        if self.has_turns:
            return turns
        asked = render_prompt("\n\n".join(turn.content for turn in turns if turn.role == "user"))
        return asked + (turns[-1].content if turns[-1].role == "assistant" else "")

    def begun_ids(self, turns: tuple[Message, ...]) -> tuple[int, ...]:
        """The tokens of a case whose last turn is the beginning of an answer, for a model on this machine to write on;
        () for any other case. As in training an answer's tokens are its own."""
        if self.table.engine != "local" or turns[-1].role != "assistant":
            return ()
        tokenizer = load_tokenizer(self.table.path)
        begun = tokenizer(turns[-1].content, add_special_tokens=False, split_special_tokens=True)["input_ids"]
        return (*prompt_ids(tokenizer, self.prompt(turns[:-1])), *begun)


def find_target(name: str, recipe: Recipe) -> Target:
    """The target that is a run folder, an [engines.NAME], an engine's spec such as http:URL, or a model.

    Raises PacosError where there is none, or the run has no student yet.
    """
    if (Path(name) / "resolved.json").is_file():
        student = RunFolder(Path(name), recipe).finished("train") / "model"
        return replace(_local("student", EngineTable("local", path=str(student)), "student"), run=Path(name))
    if name in recipe.engines:
        label, table, table_name = name, recipe.engines[name], f"engines.{name}"
    elif re.match(r"(https?|builtin|local):", name):
        own = recipe.engines.get(OWN_TABLE, EngineTable())
        named, _ = engine_table(name, {})
        label = re.sub(r"[^\w.-]+", "-", name).strip("-.")
        table = replace(own, engine=named.engine, base_url=named.base_url, path=named.path)
        table_name = f"engines.{OWN_TABLE}"
    else:
        label = re.sub(r"[^\w.-]+", "-", name).strip("-.")
        table, table_name = EngineTable("local", path=name), label
    if table.engine == "local":
        return _local(label, table, table_name)
    if table.batch:
        raise PacosError(f"{table_name}.batch is true, but an attack learns from every answer; leave it unset.")
    identity = f"{table.engine}:{table.model or table.base_url}"
    return Target(label, table, table_name, identity, has_turns=table.engine == "builtin" or table.api == "chat")


def _local(label: str, table: EngineTable, table_name: str) -> Target:
    table = replace(table, path=resolve_model(table.path), api="completions")
    folder = Path(table.path)
    identity = models.weights_sha256(folder) if folder.is_dir() else table.path
    # A student's template renders a single message as Alpaca's prompt.
    return Target(label, table, table_name, identity, has_turns=bool(load_tokenizer(table.path).chat_template))
