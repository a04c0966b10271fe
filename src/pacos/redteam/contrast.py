"""Contrast: what is worded like prompts that failed, and was answered well, so that no more than that is unlearnt."""

from collections.abc import Sequence

from rapidfuzz import fuzz, process

from pacos.core.records import Example
from pacos.judging.refusal_phrases import read_refusal
from pacos.redteam.cases import Judged
from pacos.redteam.repairs import instruction

MOST_CANDIDATES = 5000


def safe_examples(safe: Sequence[Judged], failing_prompts: set[str], failing_topics: set[str]) -> list[Example]:
    """The target's own answers to prompts that never failed, of topics that never did; refusals are left out.

    Learnt again, they keep it as it was.
    """
    examples: dict[str, Example] = {}
    for judged in safe:
        prompt, topic = instruction(judged.case.turns), judged.case.topic
        if judged.answer is None or prompt in failing_prompts or prompt in examples:
            continue
        if topic and topic in failing_topics:
            continue
        read = read_refusal(prompt, judged.answer.text)
        # Cut answers would teach to be cut.
        if read is not None and not read[0] and judged.answer.finish_reason != "length":
            examples[prompt] = Example(prompt, "", judged.answer.text.strip())
    return list(examples.values())[:MOST_CANDIDATES]


def nearest(prompts: Sequence[str], candidates: Sequence[Example], each: int) -> list[Example]:
    """For every prompt the `each` candidates nearest in wording that no prompt before it has taken."""
    left = {place: _asked(candidate) for place, candidate in enumerate(candidates)}
    taken: list[Example] = []
    for prompt in prompts:
        for _, _, place in process.extract(prompt, left, scorer=fuzz.ratio, limit=each):
            taken.append(candidates[place])
            del left[place]
    return taken


def _asked(example: Example) -> str:
    return f"{example.instruction}\n{example.input}" if example.input else example.instruction
