"""Five items for a reader to look at: varied, drawn without looking at how good they seem, failures included."""

import hashlib
from collections.abc import Sequence

from pacos.evaluate.answer_files import Answers
from pacos.evaluate.items import Item
from pacos.text.exact import is_exact

NUM_EXAMPLES = 5


def pick_examples(items: Sequence[Item], answers: Answers, shown: str, seed: int) -> list[dict[str, str | bool | None]]:
    """Items with every model's answer; `shown` is the model whose failures decide the mix.

    As many of the five are failures as its exact match says, rounded, yet at least one where there is one, and
    likewise of successes. Within each kind a seeded hash chooses, kinds not yet shown first.
    """
    right = {item.id: is_exact(item.reference, answers[shown][item.id].text) for item in items if item.reference}
    shuffled = sorted(items, key=lambda item: hashlib.sha256(f"{seed}/example/{item.id}".encode()).digest())
    successes = [item for item in shuffled if right.get(item.id, True)]
    failures = [item for item in shuffled if not right.get(item.id, True)]
    num_failures = round(NUM_EXAMPLES * len(failures) / max(len(items), 1))
    if failures and successes:
        num_failures = min(max(num_failures, 1), NUM_EXAMPLES - 1)
    picked = _varied(failures, num_failures, [])
    picked = _varied(successes, NUM_EXAMPLES - len(picked), picked)
    return [_example(item, answers, right.get(item.id)) for item in picked]


def _varied(items: Sequence[Item], count: int, picked: list[Item]) -> list[Item]:
    """`picked` and up to `count` of `items`, in order, passing over kinds shown already while there are others."""
    picked, pool = list(picked), list(items)
    for _ in range(min(count, len(pool))):
        shown = {item.kind for item in picked}
        choice = next((item for item in pool if item.kind not in shown), pool[0])
        picked.append(choice)
        pool.remove(choice)
    return picked


def _example(item: Item, answers: Answers, right: bool | None) -> dict[str, str | bool | None]:
    texts = {label: given[item.id].text.strip() for label, given in answers.items()}
    return {
        "skill": item.kind,
        "instruction": item.instruction,
        "input": item.input,
        **texts,
        "reference": item.reference,
        "right": right,
    }
