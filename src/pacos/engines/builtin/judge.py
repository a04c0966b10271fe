"""The rule-based judge: compares two answers with the prompt's reference; without one it sees only gross faults."""

import random
import re

from rapidfuzz.distance import Indel

from pacos.engines.types import FinishReason

NEARER_BY = 0.05
"""How much nearer to the reference, in edit similarity, an answer must be to win when neither is right."""


def judge_reply(prompt: str, rng: random.Random) -> tuple[str, FinishReason]:
    """One sentence of reason and a last line "Verdict: A", "Verdict: B" or "Verdict: tie"."""
    parts = dict(re.findall(r"<(reference|answer_a|answer_b)>(.*?)</\1>", prompt, re.DOTALL))
    if "answer_a" not in parts or "answer_b" not in parts:
        return "I am a rule-based judge and can only compare two answers.\nVerdict: tie", "stop"
    a, b = parts["answer_a"], parts["answer_b"]
    reason, a_score, b_score = _scores(a, b, parts.get("reference"))
    if abs(a_score - b_score) < NEARER_BY:
        return f"Neither answer is better by {reason}.\nVerdict: tie", "stop"
    winner = "A" if a_score > b_score else "B"
    return f"Answer {winner} is better by {reason}.\nVerdict: {winner}", "stop"


def _scores(a: str, b: str, reference: str | None) -> tuple[str, float, float]:
    if reference is None:
        return "the look of the text alone, with no reference given", _soundness(a), _soundness(b)
    a_right, b_right = _plain(a) == _plain(reference), _plain(b) == _plain(reference)
    if a_right or b_right:
        return "equality with the reference", float(a_right), float(b_right)
    nearness = [Indel.normalized_similarity(_plain(answer), _plain(reference)) for answer in (a, b)]
    return "nearness to the reference", nearness[0], nearness[1]


def _plain(text: str) -> str:
    return " ".join(text.split()).removesuffix(".")


def _soundness(answer: str) -> float:
    """0 for an empty or endlessly repeating answer, 1 for any other."""
    words = answer.split()
    return 0.0 if not words or len(set(words)) < len(words) / 4 else 1.0
