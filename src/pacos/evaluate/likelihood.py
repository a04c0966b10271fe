"""How likely known texts are under a model: what multiple choice and perplexity are made of."""

import json
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Event
from typing import Literal

from transformers import PreTrainedTokenizerBase

from pacos.core.prompts import render_prompt
from pacos.engines import Delta, Engine, Failure, Message, Reply, Request, Sampling
from pacos.engines.local.tokenizer import load_tokenizer, prompt_ids, takes_conversation
from pacos.engines.types import UNKNOWN_TOKEN, TokenLogprob
from pacos.evaluate.answers import ask, takes_chat
from pacos.evaluate.candidates import Candidate

Form = Literal["chat", "alpaca", "raw"]
"""How a model is asked: by its own chat template, by Alpaca's prompt, or by plain text."""
LINE_END = "\n"
NO_PROBABILITIES = "published answers have no probabilities"


@dataclass(frozen=True)
class Passage:
    """A text, and the prompt before it; "" stands for nothing before it.

    Where `is_joined`, prompt and text are one text to the tokenizer, and what comes after the prompt's tokens is the
    text's, as in lm-eval; else its tokens are those that it has alone, as an answer's are in training.
    """

    id: str
    prompt: str | tuple[Message, ...]
    text: str
    is_joined: bool = False


@dataclass(frozen=True)
class Likelihood:
    """The sum of a text's natural log-probabilities, and of how many tokens."""

    logprob: float
    tokens: int


@dataclass(frozen=True)
class Likelihoods:
    """By passage id, those too long for the model left out; `absent` says why there are none at all."""

    of: Mapping[str, Likelihood]
    absent: str = ""


def form_of(candidate: Candidate) -> Form:
    """How a candidate is asked: as it was trained where that is known, and a base that was not by plain text."""
    if candidate.table.engine != "local":
        return "chat" if takes_chat(candidate.table) else "alpaca"
    tokenizer = load_tokenizer(candidate.table.path)
    if takes_conversation(tokenizer):
        return "chat"
    return "alpaca" if tokenizer.chat_template or candidate.label == "student" else "raw"


def answer_passage(candidate: Candidate, name: str, form: Form, question: str, text: str) -> Passage:
    """A text as the candidate's answer to a question."""
    if form == "raw":
        return Passage(name, f"Question: {question}\nAnswer:", f" {text}", is_joined=True)
    prompt = (Message("user", question),) if form == "chat" else render_prompt(question)
    return Passage(name, prompt, text, candidate.joins_answers)


def likelihoods(candidate: Candidate, passages: Sequence[Passage], folder: Path) -> Likelihoods:
    """How likely the candidate finds each passage; what the ledger in `folder` holds is not asked again.

    A server has to give log-probabilities of a prompt that it echoes, as OpenAI's legacy completions do. A text with
    nothing before it is read after the tokenizer's own begin-of-text, or without one its end-of-text, as in lm-eval; a
    server, whose tokenizer is not known, reads it after a line end.
    """
    table = candidate.table
    if not passages:
        return Likelihoods({})
    if candidate.published:
        return Likelihoods({}, NO_PROBABILITIES)
    if table.engine == "builtin" or (table.engine == "http" and table.api == "chat"):
        what = "a chat API" if table.engine == "http" else "the builtin engine"
        return Likelihoods({}, f'{what} gives no log-probabilities of a prompt; api = "completions" may')
    tokenizer = load_tokenizer(table.path) if table.engine == "local" else None
    requests = [_request(passage, tokenizer) for passage in passages]
    title = f"likelihoods of {candidate.label}"
    reading = lambda engine: _PassageReader(engine, passages)  # noqa: E731
    if tokenizer is None:
        # Of a server that cannot, one is asked in vain, and not all.
        first = ask(candidate, title, requests[:1], folder, "likelihood", reading=reading)[passages[0].id]
        if isinstance(first, Failure) or not first.text:
            told = first.message if isinstance(first, Failure) else "it sends none"
            return Likelihoods({}, f"the server gives no log-probabilities of a prompt ({told.rstrip('.')})")
    replies = ask(candidate, title, requests, folder, "likelihood", reading=reading)
    texts = {name: reply.text for name, reply in replies.items() if isinstance(reply, Reply) and reply.text}
    return Likelihoods({name: Likelihood(*json.loads(text)) for name, text in texts.items()})


def _request(passage: Passage, tokenizer: PreTrainedTokenizerBase | None) -> Request:
    if tokenizer is None:
        # Legacy completions take one text, and a chat was refused.
        shown = f"{passage.prompt or LINE_END}{passage.text}"
        return Request(passage.id, shown, Sampling(0, temperature=0.0), logprobs=1, echo=True)
    before, own = passage_ids(tokenizer, passage)
    asked = (Message("user", passage.prompt),) if isinstance(passage.prompt, str) else passage.prompt
    told = (*asked, Message("assistant", passage.text))
    return Request(
        passage.id, told, Sampling(0, temperature=0.0), (*before, *own), logprobs=0, echo=True, echo_from=len(before)
    )


def passage_ids(tokenizer: PreTrainedTokenizerBase, passage: Passage) -> tuple[list[int], list[int]]:
    """The tokens of the prompt, and those of the text."""
    own: list[int] = tokenizer(passage.text, add_special_tokens=False, split_special_tokens=True)["input_ids"]
    if not passage.prompt:
        begin = tokenizer.bos_token_id if tokenizer.bos_token_id is not None else tokenizer.eos_token_id
        return [begin], own
    before = prompt_ids(tokenizer, passage.prompt)
    if passage.is_joined and isinstance(passage.prompt, str):
        whole = prompt_ids(tokenizer, passage.prompt + passage.text)
        # The last token may be the prompt's and the text's at once.
        cut = min(len(before), len(whole) - 1)
        return whole[:cut], whole[cut:]
    return before, own


class _PassageReader:
    """An engine whose replies say how likely each passage is, so that the ledger keeps that and nothing else."""

    def __init__(self, engine: Engine, passages: Iterable[Passage]) -> None:
        self._engine, self.name = engine, engine.name
        self._texts = {passage.id: passage.text for passage in passages}

    @property
    def tokens_written(self) -> int:
        return self._engine.tokens_written

    async def complete(self, requests: Iterable[Request], stop: Event | None = None) -> AsyncIterator[Reply | Failure]:
        async for answer in self._engine.complete(requests, stop):
            yield replace(answer, text=self._told(answer), prompt_logprobs=()) if isinstance(answer, Reply) else answer

    def stream(self, request: Request) -> AsyncIterator[Delta]:
        return self._engine.stream(request)

    async def close(self) -> None:
        await self._engine.close()

    def _told(self, reply: Reply) -> str:
        """[log-probability, tokens] of the passage; "" where the server told no log-probabilities."""
        known = [each.logprob for each in _at_the_end(reply.prompt_logprobs, self._texts[reply.id])]
        return json.dumps([sum(known), len(known)]) if known and None not in known else ""


def _at_the_end(tokens: Sequence[TokenLogprob], text: str) -> Sequence[TokenLogprob]:
    """Of a server's tokens the last, as many as it takes to spell the text; a local engine tells no others."""
    if not tokens or tokens[0].id != UNKNOWN_TOKEN:
        return tokens
    left, first = len(text.encode()), len(tokens)
    while left > 0 and first > 0:
        first -= 1
        left -= len(tokens[first].text.encode(errors="surrogateescape"))
    return tokens[first:]
