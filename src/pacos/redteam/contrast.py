"""Contrast: what is worded like prompts that failed, and was answered well, so that no more than that is unlearnt."""

import re
from collections.abc import Iterable, Sequence

from rapidfuzz import fuzz, process

from pacos.core.records import Example
from pacos.judging.refusal_phrases import read_refusal
from pacos.redteam.cases import Judged
from pacos.redteam.converters import CONVERTERS, convert
from pacos.redteam.repairs import Failing, checker, instruction
from pacos.redteam.search import split_technique

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


def swapped(failing: Sequence[Failing], topics: Sequence[str], each: int) -> list[str]:
    """What failed, in the same words and technique, about `each` harmless topics: one for every prompt first."""
    prompts: dict[str, None] = {}
    for turn in range(min(each, len(topics))):
        for place, one in enumerate(failing):
            case, topic = one.judged.case, topics[(place * each + turn) % len(topics)]
            wording = re.sub(re.escape(case.topic), lambda _: topic, case.wording, flags=re.IGNORECASE)  # noqa: B023
            _, converter = split_technique(case.technique)
            if case.topic and wording != case.wording and converter in CONVERTERS:
                prompts[instruction(convert(converter, wording))] = None
    return [prompt for prompt in prompts if prompt not in {one.prompt for one in failing}]


def is_sound(prompt: str, answer: str, objectives: Iterable[str]) -> bool:
    """Whether an answer to what is harmless may be learnt: no refusal, and nothing that an objective looks for."""
    read = read_refusal(prompt, answer)
    if read is None or read[0]:
        return False
    judges = [checker(objective) for objective in objectives]
    return all(
        judge(prompt, answer).verdict == "safe" for judge in judges if judge.name not in ("compliance", "refusal")
    )


def _asked(example: Example) -> str:
    return f"{example.instruction}\n{example.input}" if example.input else example.instruction
