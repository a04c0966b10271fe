"""The rule-based judge: compares two answers with the prompt's reference; without one it has no verdict."""

import random
import re

from rapidfuzz.distance import Indel

from pacos.engines.types import FinishReason

NEARER_BY = 0.05
"""How much nearer to the reference, in edit similarity, an answer must be to win when neither is right."""


def judge_reply(prompt: str, rng: random.Random) -> tuple[str, FinishReason]:
    """One sentence of reason and a last line "Verdict: A", "Verdict: B" or "Verdict: tie"; or why there is no verdict.

    What it cannot judge is no tie: ties of a judge that sees nothing would show any two models to be equal.
    """
    parts = dict(re.findall(r"<(reference|answer_a|answer_b)>(.*?)</\1>", prompt, re.DOTALL))
    if "answer_a" not in parts or "answer_b" not in parts:
        return "I am a rule-based judge and can only compare two answers.", "stop"
    if "reference" not in parts:
        return "I am a rule-based judge and can only compare answers with a reference, of which there is none.", "stop"
    reason, a_score, b_score = _scores(parts["answer_a"], parts["answer_b"], parts["reference"])
    if abs(a_score - b_score) < NEARER_BY:
        return f"Neither answer is better by {reason}.\nVerdict: tie", "stop"
    winner = "A" if a_score > b_score else "B"
    return f"Answer {winner} is better by {reason}.\nVerdict: {winner}", "stop"


def _scores(a: str, b: str, reference: str) -> tuple[str, float, float]:
    a_right, b_right = _plain(a) == _plain(reference), _plain(b) == _plain(reference)
    if a_right or b_right:
        return "equality with the reference", float(a_right), float(b_right)
    nearness = [Indel.normalized_similarity(_plain(answer), _plain(reference)) for answer in (a, b)]
    return "nearness to the reference", nearness[0], nearness[1]


def _plain(text: str) -> str:
    return " ".join(text.split()).removesuffix(".")
