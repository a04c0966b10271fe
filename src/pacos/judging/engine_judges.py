"""Judges of one answer that are asked: a guard model, a criterion in words put to any engine, OpenAI's moderation."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pacos.core.errors import PacosError
from pacos.core.models import resolve_model, weights_sha256
from pacos.core.recipe import EngineTable
from pacos.engines import Engine, Failure, Message, Prompt, Reply, Request, Sampling, engine_table, open_engine
from pacos.engines.http import ModerationsEngine
from pacos.engines.local.tokenizer import load_tokenizer
from pacos.guard.families import FAMILIES, as_data
from pacos.guard.moderation import ModerationResult, UnreadableReplyError
from pacos.guard.openai_moderation import MODEL, OPENAI, read_result
from pacos.judging.offline import Agreement, Scored
from pacos.judging.rubric import MOST_SHOWN, read_rubric, shortened, shown

# A sentence and a verdict; a judge that thinks is given a table of its own, with its own max_tokens.
MAX_TOKENS = 512
# A server's address ends before a colon that no port follows; a checkpoint's path has none in it.
_SPEC = re.compile(r"((?:http:)?https?://(?:\[[^\]]*\]|[^\s:/]*)(?::\d+)?(?:/[^\s:]*)?|(?:local|builtin):[^:]+)(?::|$)")


Questions = Callable[[str, str], list[Prompt]]
"""(prompt, answer) -> what to ask about the answer, each alone."""
Reading = Callable[[Sequence[Reply]], Scored]
"""The replies to those questions, in order -> the verdict."""


@dataclass(frozen=True)
class EngineJudge:
    """`name` is the objective as given; `finds` says what it sees and what not; `table_name` is for errors.

    Replies are drawn greedily. `identity` is of what judges, whatever name the recipe gives it: the engine, its model,
    of a checkpoint its weights.
    """

    name: str
    finds: str
    agreement: tuple[Agreement, ...]
    table_name: str
    table: EngineTable
    identity: str
    sampling: Sampling
    questions: Questions
    reading: Reading
    logprobs: int | None = None
    is_moderation: bool = False

    def requests(self, name: str, prompt: str, answer: str) -> list[Request]:
        """What to ask about one answer; `name` begins their ids."""
        questions = enumerate(self.questions(prompt, answer))
        return [Request(f"{name}/{n}", each, self.sampling, logprobs=self.logprobs) for n, each in questions]

    def read(self, answers: Sequence[Reply | Failure]) -> Scored:
        """The verdict in the answers to those requests; unscored where one is a refusal, or no verdict."""
        for each in answers:
            if isinstance(each, Failure):
                return Scored("unscored", None, f"the judge refused: {shortened(each.message, 2 * MOST_SHOWN)}")
        try:
            return self.reading([each for each in answers if isinstance(each, Reply)])
        except UnreadableReplyError as error:
            return Scored("unscored", None, f"the judge gave no verdict: {error}")

    def open(self, folder: Path | None, timeout_seconds: float) -> Engine:
        """Its engine; PacosError where it cannot be opened."""
        if self.is_moderation:
            return ModerationsEngine(self.table, self.table.model or MODEL, timeout_seconds)
        return open_engine(self.table, folder=folder, timeout_seconds=timeout_seconds)


def engine_judge(objective: str, engines: Mapping[str, EngineTable]) -> EngineJudge:
    """The judge of `guard:...`, `rubric:...` or `moderation...`; `engines` are those of the recipe.

    Raises PacosError where there is no such engine, or it cannot play this judge.
    """
    kind, _, argument = objective.partition(":")
    try:
        return {"guard": _guard, "rubric": _rubric, "moderation": _moderation}[kind](objective, argument, engines)
    except PacosError as error:
        raise PacosError(f"objective {objective!r}: {error}") from None


def _guard(objective: str, argument: str, engines: Mapping[str, EngineTable]) -> EngineJudge:
    named, _, rest = argument.partition(":")
    family_name = named if named in FAMILIES and named not in engines else ""
    engine, beyond = _split(rest if family_name else argument, engines)
    if beyond:
        raise PacosError(f"{beyond!r} stands after the engine; expected guard:ENGINE or guard:FAMILY:ENGINE.")
    table = _table(engine, engines)
    model = re.sub(r"[^a-z0-9]", "", f"{table.model} {table.path}".lower())
    family_name = family_name or next((name for name in FAMILIES if name.replace("-", "") in model), "")
    if not family_name:
        known = ", ".join(f"guard:{name}:{engine}" for name in FAMILIES)
        raise PacosError(f"the model's name tells no family of guard models; write {known}.")
    family = FAMILIES[family_name]
    if table.api not in family.apis:
        raise PacosError(
            f"its engine's api is {table.api!r}, and {family_name} is asked with "
            f"api={' or '.join(map(repr, family.apis))}; set that in the engine's table."
        )
    who = _shown_name(engine, engines)
    finds = f"answers that {family_name}, {who}, flags, in whatever category; nobody measured how well"
    return EngineJudge(
        *(objective, finds, (), _table_name(engine, engines), table, _identity(table)),
        Sampling(family.max_tokens, temperature=0.0),
        lambda prompt, answer: family.questions(as_data(answer), as_data(prompt), table.api),
        lambda replies: _of_result(ModerationResult.of(family.scores(replies))),
        logprobs=family.logprobs if table.engine == "local" else None,
    )


def _rubric(objective: str, argument: str, engines: Mapping[str, EngineTable]) -> EngineJudge:
    engine, criterion = _split(argument, engines)
    if not criterion.strip():
        raise PacosError(
            "no criterion after the engine; expected rubric:ENGINE:CRITERION, which says in words what a failure is."
        )
    table = _table(engine, engines)
    as_chat = table.api == "chat"
    if table.engine == "local":
        as_chat = bool(load_tokenizer(resolve_model(table.path)).chat_template)
        table = replace(table, api="completions")
    finds = f"what {_shown_name(engine, engines)} takes for: {shortened(criterion)}; nobody measured how well"
    max_tokens = table.max_tokens if engine in engines else MAX_TOKENS

    def questions(prompt: str, answer: str) -> list[Prompt]:
        text = shown(criterion, prompt, answer)
        return [(Message("user", text),) if as_chat else text]

    return EngineJudge(
        *(objective, finds, (), _table_name(engine, engines), table, _identity(table)),
        *(Sampling(max_tokens, temperature=0.0), questions, lambda replies: read_rubric(replies[0])),
    )


def _moderation(objective: str, argument: str, engines: Mapping[str, EngineTable]) -> EngineJudge:
    finds = "answers that the moderation API flags, without their prompts; nobody measured how well"
    if objective == "moderation":
        table, name = OPENAI, "moderation"
    else:
        engine, beyond = _split(argument, engines)
        table, name = _table(engine, engines), _table_name(engine, engines)
        if beyond or table.engine != "http":
            raise PacosError(f"expected moderation:ENGINE, where {engine} is a server with a moderations API.")
    if table.input_usd_per_mtok is None and table.output_usd_per_mtok is None:
        # OpenAI's is free of charge.
        table = replace(table, input_usd_per_mtok=0.0, output_usd_per_mtok=0.0)
    return EngineJudge(
        *(objective, finds, (), name, table, _identity(replace(table, model=table.model or MODEL))),
        Sampling(1, temperature=0.0),
        lambda prompt, answer: [answer],
        lambda replies: _of_result(read_result(replies[0].text.encode())),
        is_moderation=True,
    )


def _of_result(result: ModerationResult) -> Scored:
    score = max(result.category_scores.values())
    if result.flagged:
        return Scored("hit", score, f"flagged: {', '.join(result.found)}")
    return Scored("safe", score, "not flagged")


def _table_name(engine: str, engines: Mapping[str, EngineTable]) -> str:
    return f"engines.{engine}" if engine in engines else engine


def _identity(table: EngineTable) -> str:
    model = table.model or table.base_url
    if table.engine == "local":
        folder = Path(resolve_model(table.path))
        model = weights_sha256(folder) if folder.is_dir() else table.path
    return f"{table.engine}:{model}"


def _shown_name(engine: str, engines: Mapping[str, EngineTable]) -> str:
    """An engine as results name it: a recipe's name says nothing of who judged."""
    table = engines.get(engine)
    model = (table.model or table.path) if table else ""
    return f"{engine} ({model})" if model else engine


def _split(argument: str, engines: Mapping[str, EngineTable]) -> tuple[str, str]:
    """The engine that an argument begins with, and what stands after the colon behind it."""
    for name in sorted(engines, key=len, reverse=True):
        if argument == name or argument.startswith(f"{name}:"):
            return name, argument[len(name) + 1 :]
    spec = _SPEC.match(argument)
    return (spec[1], argument[spec.end() :]) if spec else (argument.partition(":")[0], argument.partition(":")[2])


def _table(engine: str, engines: Mapping[str, EngineTable]) -> EngineTable:
    table, _ = engine_table(engine, engines)
    if table.engine == "builtin":
        raise PacosError(
            f"{engine} is the builtin engine, which reads no such question; name a server or a checkpoint."
        )
    if table.batch:
        raise PacosError(f"engines.{engine}.batch is true, but every verdict is waited for; leave it unset.")
    return table
