"""Each model's answers to all items, greedy; every reply is in the ledger before it is used."""

from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import asdict, replace
from pathlib import Path

from pacos.asking import Call, Ledger, ask_all, call_key
from pacos.core.files import write_json_lines
from pacos.core.prompts import render_prompt
from pacos.core.recipe import EngineTable
from pacos.engines import Engine, Failure, Message, Reply, Request, Sampling, open_engine
from pacos.engines.local.tokenizer import load_tokenizer, takes_conversation
from pacos.evaluate.answer_files import Answer
from pacos.evaluate.candidates import Candidate
from pacos.evaluate.items import Item
from pacos.evaluate.published_answers import question_key

# Room for an answer twice as long as any right one; open instructions without references get Alpaca's usual 512.
MIN_TOKENS, MAX_TOKENS, TOKENS_WITHOUT_REFERENCES = 32, 1024, 512


def answer_items(
    candidate: Candidate, items: Sequence[Item], folder: Path, max_tokens: int | None = None
) -> dict[str, Answer]:
    """The candidate's answer to every item by item id; published ones are taken as they are.

    Answers end at `max_tokens`; without it a checkpoint's at twice the longest reference, a server's at its own limit.
    Writes answers/LABEL.jsonl there when all are in. Raises PacosError where the engine fails or its money is spent.
    """
    table, weights = candidate.table, candidate.weights_sha256
    if candidate.published:
        texts = {item.id: candidate.published[question_key(item.instruction, item.input)] for item in items}
        answers = {item: Answer(item, weights, text, "published", 0, 0.0) for item, text in texts.items()}
    else:
        sampling = Sampling(max_tokens or answer_tokens(table, items), temperature=0.0)
        as_chat = takes_chat(table)
        requests = [Request(item.id, question(item.instruction, item.input, as_chat), sampling) for item in items]
        replies = ask(candidate, f"answers of {candidate.label}", requests, folder)
        answers = {item: _answer(item, reply, weights) for item, reply in replies.items()}
    write_json_lines(folder / f"answers/{candidate.label}.jsonl", map(asdict, answers.values()))
    return answers


def ask(
    candidate: Candidate,
    title: str,
    requests: Sequence[Request],
    folder: Path,
    *apart: str,
    reading: Callable[[Engine], Engine] = lambda engine: engine,
) -> dict[str, Reply | Failure]:
    """The candidate's reply to every request by its id, asked for only where the ledger in `folder` has none.

    `apart` tells requests apart beyond prompt and sampling; `reading` may read replies before they are stored.
    """
    table, weights = candidate.table, candidate.weights_sha256
    keys = {each.id: call_key(table, each, weights, *apart) for each in requests}
    # What is the same request is asked once.
    distinct = {keys[each.id]: each for each in reversed(requests)}
    calls = [Call(number, key, each) for number, (key, each) in enumerate(reversed(distinct.items()))]
    engine = reading(open_engine(opened_as(table), folder=folder))
    with closing(Ledger(folder / "ledger.sqlite", f"candidate {candidate.label}", engine.name)) as ledger:
        replies = ask_all(candidate.table_name, title, engine, table, calls, ledger)
    return {each.id: replies[keys[each.id]] for each in requests}


def opened_as(table: EngineTable) -> EngineTable:
    """The table to open an engine by: a checkpoint gets each prompt as it is built here, a chat or raw text."""
    return replace(table, api="completions") if table.engine == "local" else table


def takes_chat(table: EngineTable) -> bool:
    """A server's chat is sent messages, and so is a checkpoint with a chat template of its own, as `pacos serve` asks
    it: a student that was trained on conversations has its base's. Others, and legacy completions, get Alpaca's prompt.
    """
    if table.engine == "local":
        return takes_conversation(load_tokenizer(table.path))
    return table.engine == "http" and table.api == "chat"


def question(instruction: str, context: str, as_chat: bool) -> str | tuple[Message, ...]:
    """What a model is sent to have an instruction answered: a chat, or Alpaca's prompt."""
    if as_chat:
        return (Message("user", f"{instruction}\n\n{context}".strip()),)
    return render_prompt(instruction, context)


def _answer(item: str, reply: Reply | Failure, weights: str) -> Answer:
    if isinstance(reply, Failure):
        return Answer(item, weights, "", f"refused: {reply.message}", 0, 0.0)
    tokens = reply.usage.completion_tokens
    return Answer(item, weights, reply.text, reply.finish_reason, tokens, round(reply.seconds, 4))


def answer_tokens(table: EngineTable, items: Sequence[Item]) -> int:
    """Where a model's answers are cut unless the recipe says: a checkpoint's at twice the longest reference."""
    if table.engine != "local":
        return table.max_tokens
    references = [item.reference for item in items if item.reference]
    if not references:
        return TOKENS_WITHOUT_REFERENCES
    tokenizer = load_tokenizer(table.path)
    longest = max(len(ids) for ids in tokenizer(references, add_special_tokens=False)["input_ids"])
    return min(MAX_TOKENS, max(MIN_TOKENS, 2 * longest))
