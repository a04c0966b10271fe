"""Where a candidate wins and where it loses: its pairs by category and by lengths, with intervals."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from pacos.evaluate.judged_pairs import JudgedPair, JudgedPairs
from pacos.statistics import holm, sign_test, win_rate

# Two answers are about as long where the shorter has at least this share of the longer's characters.
ABOUT_AS_LONG = 0.8
# More rows are tests by chance: Self-Instruct's 252 questions are of 71 applications.
MOST_CATEGORIES = 12


@dataclass(frozen=True)
class Facet:
    """One way to part the pairs: the names of its parts, and the part of each pair, in the pairs' order."""

    key: str
    title: str
    about: str
    names: list[str]
    parts: list[int]


@dataclass(frozen=True)
class SliceRow:
    """A candidate's main items in one part. The p-value is the sign test's, adjusted over all rows of the candidate."""

    name: str
    wins: int
    losses: int
    ties: int
    unparsable: int
    rate: float | None
    interval: tuple[float, float] | None
    p_value: float | None


@dataclass(frozen=True)
class Breakdown:
    """One candidate by every facet; `tests` is how many p-values were adjusted together."""

    candidate: str
    facets: list[tuple[Facet, list[SliceRow]]]
    tests: int


def facets(judged: JudgedPairs, baseline: str, groups: Mapping[str, str]) -> list[Facet]:
    """All ways to part these pairs; `groups` has the categories of builtin skills. One that no pair has is left out."""
    pairs, answers = judged.pairs, judged.answers

    def own(pair: JudgedPair) -> int:
        return len(answers[pair.candidate, pair.item.id])

    def asked(pair: JudgedPair) -> int:
        return len(pair.item.instruction) + len(pair.item.input)

    def difference(pair: JudgedPair) -> str:
        ours, theirs = own(pair), len(answers[baseline, pair.item.id])
        if min(ours, theirs) >= ABOUT_AS_LONG * max(ours, theirs):
            return "about as long"
        return "longer than the baseline’s" if ours > theirs else "shorter than the baseline’s"

    sides = ["shorter than the baseline’s", "about as long", "longer than the baseline’s"]
    found = [
        _by_category(pairs, groups),
        _named("input", "Input", "", pairs, lambda pair: "with an input" if pair.item.input else "without input", None),
        _by_length("asked", "Length of the question", "instruction and input, in thirds of the items", pairs, asked),
        _by_length("answered", "Length of the answer", "the candidate’s, in thirds of all", pairs, own),
        _named(
            "difference", "Difference of the answers’ lengths", "about as long: within 20%", pairs, difference, sides
        ),
    ]
    return [facet for facet in found if facet.names != [""]]


def breakdowns(judged: JudgedPairs, candidates: Sequence[str], parted: Sequence[Facet]) -> list[Breakdown]:
    """Every candidate's main items by every facet."""
    return [_breakdown(judged.pairs, candidate, parted) for candidate in candidates]


def _breakdown(pairs: Sequence[JudgedPair], candidate: str, parted: Sequence[Facet]) -> Breakdown:
    counted: dict[tuple[str, int], Counter[str]] = {}
    for facet in parted:
        for pair, part in zip(pairs, facet.parts, strict=True):
            if pair.candidate == candidate and pair.item.set == "main":
                counted.setdefault((facet.key, part), Counter())[pair.outcome] += 1
    raw = {place: sign_test(outcomes["win"], outcomes["loss"]) for place, outcomes in counted.items()}
    tested = {place: p_value for place, p_value in raw.items() if p_value is not None}
    adjusted = dict(zip(tested, holm(list(tested.values())), strict=True))
    rows = {place: _row(parted, place, outcomes, adjusted.get(place)) for place, outcomes in counted.items()}
    by_facet = [
        (facet, [rows[facet.key, part] for part in range(len(facet.names)) if (facet.key, part) in rows])
        for facet in parted
    ]
    return Breakdown(candidate, by_facet, len(adjusted))


def _row(
    parted: Sequence[Facet], place: tuple[str, int], outcomes: Mapping[str, int], p_value: float | None
) -> SliceRow:
    key, part = place
    (name,) = (facet.names[part] for facet in parted if facet.key == key)
    wins, losses, ties = outcomes["win"], outcomes["loss"], outcomes["tie"]
    found = win_rate(wins, losses, ties)
    return SliceRow(
        name=name,
        wins=wins,
        losses=losses,
        ties=ties,
        unparsable=outcomes["unparsable"],
        rate=found.rate if found else None,
        interval=found.interval if found else None,
        p_value=p_value,
    )


def _named(
    key: str,
    title: str,
    about: str,
    pairs: Sequence[JudgedPair],
    name: Callable[[JudgedPair], str],
    order: Sequence[str] | None,
) -> Facet:
    """Parts by name, in this order, or the commonest first."""
    given = [name(pair) for pair in pairs]
    present = Counter(given)
    names = [each for each in order if each in present] if order else [each for each, _ in present.most_common()]
    places = {each: place for place, each in enumerate(names)}
    return Facet(key, title, about, names, [places[each] for each in given])


def _by_category(pairs: Sequence[JudgedPair], groups: Mapping[str, str]) -> Facet:
    """Those with the most items; what is left is one part, since a row of an item or two says nothing."""

    def name(pair: JudgedPair) -> str:
        return pair.item.category or groups.get(pair.item.skill, "")

    counted = Counter({pair.item.id: name(pair) for pair in pairs}.values())
    common = [category for category, _ in counted.most_common(MOST_CATEGORIES)]
    others = f"{len(counted) - len(common):,} others"
    order = [*common, others]
    return _named("category", "Category", "", pairs, lambda p: name(p) if name(p) in common else others, order)


def _by_length(
    key: str, title: str, about: str, pairs: Sequence[JudgedPair], length: Callable[[JudgedPair], int]
) -> Facet:
    """Thirds by characters; fewer parts where many are of one length."""
    lengths = [length(pair) for pair in pairs]
    cuts = sorted({int(cut) for cut in np.quantile(lengths, (1 / 3, 2 / 3))} - {max(lengths)}) if lengths else []
    parts = [sum(each > cut for cut in cuts) for each in lengths]
    lows = [0, *(cut + 1 for cut in cuts)]
    highs = [
        f"{low:,} to {cut:,} characters" if low else f"up to {cut:,} characters"
        for low, cut in zip(lows, cuts, strict=False)
    ]
    return Facet(key, title, about, [*highs, f"{lows[-1]:,} characters and more"], parts)
