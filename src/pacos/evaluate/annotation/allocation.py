"""Who judges which item, and which of its answers comes first: drawn once, balanced, and stored."""

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from secrets import token_urlsafe

from pacos.evaluate.annotation.study_plan import Showing, ShownAnswer

# One in twenty of what an annotator sees is an attention check, where there is enough to judge at all.
ATTENTION_SHARE, MIN_FOR_ATTENTION = 0.05, 5


@dataclass(frozen=True)
class Allocation:
    """The showings, annotator by annotator; items that were `set_aside` are in nobody's comparison."""

    items: list[str]
    set_aside: list[str]
    showings: list[Showing]


def allocate(
    items: Sequence[str], candidate: str, baseline: str, annotators: int, overlap: int, seed: str
) -> Allocation:
    """Each item to `overlap` annotators, as many to each, either answer first as often for every item and annotator.

    "As many" and "as often" are to within one and some. Exchanging the two models' names leaves the distribution of
    what is drawn as it is, so that no order tells anything. An annotator sees no item twice: attention checks ask about
    items that this annotator does not compare, and where all compare everything a few items are set aside for them.
    """
    draw = random.Random(seed)
    shuffled = draw.sample(list(items), len(items))
    num_aside = max(2, _num_checks(len(items))) if overlap == annotators and _num_checks(len(items)) else 0
    aside, compared = shuffled[:num_aside], shuffled[num_aside:]
    showings: dict[int, list[Showing]] = {each: [] for each in range(1, annotators + 1)}
    # How often an annotator saw the candidate first, less how often second.
    lean: Counter[int] = Counter()
    for item in compared:
        by_load = sorted(draw.sample(range(1, annotators + 1), annotators), key=lambda each: len(showings[each]))
        chosen = sorted(by_load[:overlap], key=lambda each: lean[each])
        leaning = sum(lean[each] for each in chosen) or draw.choice((-1, 1))
        num_first = overlap // 2 + (overlap % 2 and leaning < 0)
        for place, annotator in enumerate(chosen):
            pair = ShownAnswer(candidate, item), ShownAnswer(baseline, item)
            first, second = pair if place < num_first else pair[::-1]
            lean[annotator] += 1 if place < num_first else -1
            showings[annotator].append(Showing("", annotator, item, False, first, second))
    for annotator, own in showings.items():
        own += _attention(annotator, own, shuffled, (candidate, baseline), draw)
        draw.shuffle(own)
    # Not from `draw`: whoever sees many of its numbers could work out the others.
    named = [replace(each, id=token_urlsafe(12)) for own in showings.values() for each in own]
    return Allocation(compared, aside, named)


def _num_checks(num_items: int) -> int:
    return max(1, round(num_items * ATTENTION_SHARE)) if num_items >= MIN_FOR_ATTENTION else 0


def _attention(
    annotator: int, own: Sequence[Showing], items: Sequence[str], models: tuple[str, str], draw: random.Random
) -> list[Showing]:
    """Checks that look like all else, an answer of either model: one to the item, the other to a different item."""
    compared = {showing.item for showing in own}
    others = [item for item in items if item not in compared]
    wanted = min(_num_checks(len(own)), len(others))
    if len(others) < 2:
        return []
    drawn = draw.sample(others, min(2 * wanted, len(others)))
    # With enough of them no item is asked about and strays elsewhere, too.
    shift = max(1, len(drawn) - wanted)
    right, stray = draw.sample(models, 2)
    checks = []
    for place in range(wanted):
        item, other = drawn[place], drawn[(place + shift) % len(drawn)]
        first, second = draw.sample((ShownAnswer(right, item), ShownAnswer(stray, other)), 2)
        checks.append(Showing("", annotator, item, True, first, second))
    return checks
