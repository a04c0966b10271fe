"""Memorisation: how much of the training data does a model repeat word for word?"""

import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from pathlib import Path
from typing import Literal

from transformers import PreTrainedTokenizerBase

from pacos.core.records import Example
from pacos.engines import Message, Reply, Request, Sampling
from pacos.engines.local.tokenizer import load_tokenizer, prompt_ids
from pacos.evaluate.answers import ask, question, takes_chat
from pacos.evaluate.candidates import Candidate
from pacos.evaluate.measurement import mean_of
from pacos.evaluate.report import Memorisation
from pacos.evaluate.training_data import TrainingSplit

# Beyond the true output's own tokens, so that a last word that is spelt otherwise is whole all the same.
ROOM = 4
# A server's tokenizer is not known; fewer characters a token than this are rare.
FEWEST_CHARACTERS_A_TOKEN = 2


@dataclass(frozen=True)
class Recall:
    """A known output to be written on: `begun` is shown, `rest` is what the data has after it."""

    id: str
    examples: Literal["trained", "held-out"]
    prompt: Literal["instruction", "half output"]
    example: Example
    begun: str
    rest: str


def recalls(split: TrainingSplit, count: int, seed: int) -> list[Recall]:
    """Of `count` trained examples, and as many held-out ones where there are so many, each by its instruction alone,
    and where the output has two words or more by its first half, too. A seed draws them."""
    generator = random.Random(seed)
    drawn: list[Recall] = []
    kinds: tuple[tuple[Literal["trained", "held-out"], list[Example]], ...] = (
        ("trained", split.trained),
        ("held-out", split.held_out),
    )
    for kind, examples in kinds:
        known = [example for example in examples if example.output.strip()]
        for number, example in enumerate(generator.sample(known, min(count, len(known)))):
            output = example.output.strip()
            words = list(re.finditer(r"\S+", output))
            drawn.append(Recall(f"{kind} {number}", kind, "instruction", example, "", output))
            if len(words) > 1:
                cut = words[len(words) // 2 - 1].end()
                drawn.append(Recall(f"{kind} {number}, half", kind, "half output", example, output[:cut], output[cut:]))
    return drawn


def recall(candidate: Candidate, asked: Sequence[Recall], folder: Path) -> dict[str, str]:
    """What the candidate writes, greedily, by recall id; a server's chat cannot write on, and has none for halves."""
    if candidate.published or not asked:
        return {}
    as_chat = takes_chat(candidate.table)
    is_local = candidate.table.engine == "local"
    tokenizer = load_tokenizer(candidate.table.path) if is_local else None
    requests = [_request(each, as_chat, tokenizer) for each in asked if is_local or not (as_chat and each.begun)]
    replies = ask(candidate, f"recall of {candidate.label}", requests, folder, "recall")
    return {name: reply.text if isinstance(reply, Reply) else "" for name, reply in replies.items()}


def _request(each: Recall, as_chat: bool, tokenizer: PreTrainedTokenizerBase | None) -> Request:
    prompt = question(each.example.instruction, each.example.input, as_chat)
    begun_turn = (Message("assistant", each.begun),) if each.begun else ()
    shown = prompt + each.begun if isinstance(prompt, str) else (*prompt, *begun_turn)
    if tokenizer is None:
        most = len(each.rest) // FEWEST_CHARACTERS_A_TOKEN + ROOM
        return Request(each.id, shown, Sampling(most, temperature=0.0))
    begun, rest = (tokenizer(text, add_special_tokens=False)["input_ids"] for text in (each.begun, each.rest))
    # As in training an answer's tokens are its own.
    ids = (*prompt_ids(tokenizer, prompt), *begun) if each.begun else ()
    return Request(each.id, shown, Sampling(len(rest) + ROOM, temperature=0.0), ids)


def measure_recall(
    asked: Sequence[Recall], written: Mapping[str, Mapping[str, str]], baseline: str, seed: int
) -> list[Memorisation]:
    """Of trained and held-out examples, by instruction and by half of the output: what each model repeated."""
    kinds = dict.fromkeys((each.examples, each.prompt) for each in asked)
    return [
        _measure([each for each in asked if (each.examples, each.prompt) == kind], written, baseline, seed)
        for kind in kinds
    ]


def _measure(
    asked: Sequence[Recall], written: Mapping[str, Mapping[str, str]], baseline: str, seed: int
) -> Memorisation:
    answered = {label: texts for label, texts in written.items() if asked[0].id in texts}
    absent = {
        label: "a chat API writes no answer on" if texts else "published answers cannot be asked for others"
        for label, texts in written.items()
        if label not in answered
    }
    pairs = {
        label: [(each.rest.split(), texts[each.id].split()) for each in asked] for label, texts in answered.items()
    }
    exact = {label: [float(given[: len(true)] == true) for true, given in each] for label, each in pairs.items()}
    runs = {label: [float(longest_run(*pair)) for pair in each] for label, each in pairs.items()}
    return Memorisation(
        examples=asked[0].examples,
        prompt=asked[0].prompt,
        exact=mean_of(exact, baseline, seed),
        longest_run=mean_of(runs, baseline, seed),
        absent=absent,
    )


def longest_run(true: Sequence[str], given: Sequence[str]) -> int:
    """The words of the longest passage that both texts hold, word for word."""
    return SequenceMatcher(None, true, given, autojunk=False).find_longest_match().size
