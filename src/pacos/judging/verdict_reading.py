"""How a judge's reply is read: a vote that is clear, or none."""

import re
from dataclasses import dataclass
from math import exp
from typing import Literal

from pacos.engines import Failure, Reply
from pacos.judging.judge_prompts import JudgeKeys, bare

Choice = Literal["A", "B", "tie", "unparsable"]
"""What one vote says; a verdict needs the votes in both orders."""

PREFERENCE: dict[Choice, float | None] = {"A": 1.0, "B": 0.0, "tie": 0.5, "unparsable": None}
"""How far a plain vote prefers answer A."""

# A line of its own that begins, whatever marks it up, with the label that the question asks for: a sentence that only
# has the word in it is no verdict.
VERDICT_LINE = re.compile(
    r"^(?:[^\w\n]|_)*(?:(?:final|my) )?verdict(?:[^\w\n]|_)*?[:：](.*)$", re.IGNORECASE | re.MULTILINE
)
VERDICT = r"[\W_]*(?:(?:the )?answer )?[\W_]*(A|B|tie)(?: is better| wins)?[\W_]*|[\W_]*a tie[\W_]*"
# Under it the model would rather have said something else, and what it thinks of the letters is a guess.
LEAST_PROBABILITY = 0.5


@dataclass(frozen=True)
class ReadVote:
    """A vote as it was read; `preference` is how far it prefers answer A, 0 to 1, None where it cannot be read.

    `is_weighted` says that log-probabilities gave it.
    """

    choice: Choice
    preference: float | None
    is_weighted: bool = False


def read_vote(reply: Reply | Failure, keys: JudgeKeys) -> ReadVote:
    """The vote in a reply; anything unclear, refused or cut is "unparsable", never a guess."""
    choice: Choice = "unparsable"
    if isinstance(reply, Reply) and keys.read == "letter":
        if reply.logprobs:
            return _weighted(reply, keys)
        # The token that is asked for may be all that fits.
        choice = _label(reply.text, keys) if reply.finish_reason != "content_filter" else "unparsable"
    elif isinstance(reply, Reply) and reply.finish_reason == "stop":
        choice = _label(reply.text, keys) if keys.read == "label" else _verdict(reply.text)
    return ReadVote(choice, PREFERENCE[choice])


def _verdict(text: str) -> Choice:
    """The verdict on the last line that has one."""
    lines = VERDICT_LINE.findall(text)
    match = re.fullmatch(VERDICT, lines[-1], re.IGNORECASE) if lines else None
    if not match:
        return "unparsable"
    choice = (match.group(1) or "tie").lower()
    return "A" if choice == "a" else "B" if choice == "b" else "tie"


def _label(text: str, keys: JudgeKeys) -> Choice:
    """The label that is all of the text, whatever marks it up."""
    labels: dict[str, Choice] = {bare(keys.a): "A", bare(keys.b): "B"}
    if keys.tie:
        labels[bare(keys.tie)] = "tie"
    return labels.get(bare(text), "unparsable")


def _weighted(reply: Reply, keys: JudgeKeys) -> ReadVote:
    """P(A) / (P(A) + P(B)) at the first token that is not blank, as AlpacaEval 2 weighs; a tie counts half."""
    token = next((token for token in reply.logprobs if token.text.strip()), reply.logprobs[0])
    likely = token.top or ((token.id, token.text, token.logprob),)
    mass = {"A": 0.0, "B": 0.0, "tie": 0.0, "unparsable": 0.0}
    for _, text, logprob in likely:
        mass[_label(text, keys)] += exp(logprob) if logprob is not None else 0.0
    said = mass["A"] + mass["B"] + mass["tie"]
    if said < LEAST_PROBABILITY:
        return ReadVote("unparsable", None, True)
    preference = (mass["A"] + mass["tie"] / 2) / said
    return ReadVote("A" if preference > 0.5 else "B" if preference < 0.5 else "tie", preference, True)
