"""Each model's answers to all items: greedy, from the Alpaca prompt, kept line by line as they come."""

import json
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO

from pacos.core.errors import PacosError
from pacos.core.files import read_json_lines, write_error
from pacos.core.prompts import render_prompt
from pacos.core.recipe import EngineTable
from pacos.engines import Failure, Reply, Request, Sampling, open_engine
from pacos.engines.budget import Budget
from pacos.engines.local.tokenizer import load_tokenizer
from pacos.evaluate.asking import ask_all
from pacos.evaluate.candidates import Candidate, weights_sha256
from pacos.evaluate.items import Item

# Room for an answer twice as long as any right one; open instructions without references get Alpaca's usual 512.
MIN_TOKENS, MAX_TOKENS, TOKENS_WITHOUT_REFERENCES = 32, 1024, 512


@dataclass(frozen=True)
class Answer:
    """One model's answer to one item, as it came; `model_sha256` ties it to the weights that gave it."""

    item: str
    model_sha256: str
    text: str
    finish_reason: str
    completion_tokens: int
    seconds: float


def answer_items(candidate: Candidate, items: Sequence[Item], path: Path) -> dict[str, Answer]:
    """The candidate's answer to every item by item id, asking only for those not in `path` yet.

    Lines of other weights under the same label are left in the file and not used.
    """
    weights = weights_sha256(candidate.path)
    answers = {answer.item: answer for answer in _kept(path) if answer.model_sha256 == weights}
    missing = [item for item in items if item.id not in answers]
    if missing:
        sampling = Sampling(max_tokens=_max_tokens(candidate.path, items), temperature=0.0)
        requests = [Request(item.id, render_prompt(item.instruction, item.input), sampling) for item in missing]
        with _appending(path) as file:

            def keep(reply: Reply | Failure) -> None:
                answer = _answer(reply, weights)
                file.write(json.dumps(asdict(answer), ensure_ascii=False) + "\n")
                file.flush()
                answers[answer.item] = answer

            engine, free = open_engine(f"local:{candidate.path}"), Budget(candidate.label, EngineTable("local"), 0.0)
            ask_all(engine, requests, keep, f"answers of {candidate.label}", free)
    return {item.id: answers[item.id] for item in items}


def _answer(reply: Reply | Failure, weights: str) -> Answer:
    if isinstance(reply, Failure):
        return Answer(reply.id, weights, "", f"refused: {reply.message}", 0, 0.0)
    tokens = reply.usage.completion_tokens
    return Answer(reply.id, weights, reply.text, reply.finish_reason, tokens, round(reply.seconds, 4))


def _kept(path: Path) -> Iterable[Answer]:
    if not path.exists():
        return
    _drop_cut_line(path)
    for number, value in read_json_lines(path, "answers"):
        try:
            yield Answer(**value)
        except TypeError:
            raise PacosError(
                f"{path}:{number}: not an answer as pacos writes it. Remove that line to ask again."
            ) from None


def _drop_cut_line(path: Path) -> None:
    # A process killed while it wrote leaves a last line without its end; that answer is simply asked again.
    content = path.read_bytes()
    if content and not content.endswith(b"\n"):
        os.truncate(path, content.rfind(b"\n") + 1)


@contextmanager
def _appending(path: Path) -> Iterator[IO[str]]:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(path, "a", encoding="utf-8") as file:
            yield file
    except OSError as error:
        raise write_error(path, error) from error


def _max_tokens(model: str, items: Sequence[Item]) -> int:
    references = [item.reference for item in items if item.reference]
    if not references:
        return TOKENS_WITHOUT_REFERENCES
    tokenizer = load_tokenizer(model)
    longest = max(len(ids) for ids in tokenizer(references, add_special_tokens=False)["input_ids"])
    return min(MAX_TOKENS, max(MIN_TOKENS, 2 * longest))
