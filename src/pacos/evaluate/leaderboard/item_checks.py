"""Whether all models were judged on the same items, each once."""

from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np

from pacos.evaluate.leaderboard.findings import LeaderboardFinding, instructions, named
from pacos.evaluate.leaderboard.folder import LeaderboardFolder


def check_items(folder: LeaderboardFolder) -> Iterator[LeaderboardFinding]:
    """Items that stand twice, sets of items that others do not have, and rows that were dropped."""
    for outputs in folder.outputs:
        yield from _twice(outputs.model, outputs.keys, "outputs", "", None)
    for annotated in folder.annotations:
        benchmark = folder.benchmark_of(annotated.judge, annotated.baseline)
        what = f"annotations{folder.against(annotated)}"
        yield from _twice(annotated.model, annotated.keys, what, annotated.judge, benchmark)
    yield from _sets(folder)
    yield from _dropped(folder)


def _twice(
    model: str, keys: Sequence[str], what: str, judge: str, benchmark: int | None
) -> Iterator[LeaderboardFinding]:
    if more := len(keys) - len(set(keys)):
        twice = sum(count > 1 for count in Counter(keys).values())
        stand = "stands" if twice == 1 else "stand"
        detail = f"{instructions(twice)} {stand} in the {what} more than once ({more} row{'s' * (more != 1)} too many)"
        yield LeaderboardFinding("item-twice", (model,), detail, judge, benchmark, more)


def usual_items(folder: LeaderboardFolder) -> frozenset[str]:
    """The set of items that most outputs and annotations have; of equally frequent ones, the larger."""
    keys = [each.keys for each in folder.outputs] + [each.keys for each in folder.annotations]
    sets = Counter(map(frozenset, keys))
    return max(sets, key=lambda each: (sets[each], len(each), sorted(each)), default=frozenset())


def _sets(folder: LeaderboardFolder) -> Iterator[LeaderboardFinding]:
    usual = usual_items(folder)
    answered = {each.model: frozenset(each.keys) for each in folder.outputs}
    for model, keys in answered.items():
        yield from _foreign(model, keys, usual, "the outputs answer", "most models answer", "", None)
        if missing := len(usual - keys) if not keys - usual else 0:
            detail = f"the outputs lack {missing} of {len(usual)} items"
            yield LeaderboardFinding("dropped-rows", (model,), detail, items=missing)
    for annotated in folder.annotations:
        told = (annotated.judge, folder.benchmark_of(annotated.judge, annotated.baseline))
        own = answered.get(annotated.model)
        keys = frozenset(annotated.keys)
        if own is None:
            yield from _foreign(annotated.model, keys, usual, "the annotations are of", "others have", *told)
        else:
            yield from _foreign(annotated.model, keys, own, "the annotations are of", "the model's outputs have", *told)


def _foreign(
    model: str, keys: frozenset[str], expected: frozenset[str], what: str, whose: str, judge: str, benchmark: int | None
) -> Iterator[LeaderboardFinding]:
    if extra := len(keys - expected):
        detail = f"{what} {instructions(extra)} not among those that {whose}"
        detail += f"; {len(expected - keys)} of those are missing"
        yield LeaderboardFinding("another-instruction-set", (model,), detail, judge, benchmark, extra)


def _dropped(folder: LeaderboardFolder) -> Iterator[LeaderboardFinding]:
    """Items without a verdict, by judge and baseline: in the annotations of a model, or else by its published row."""
    usual, groups = usual_items(folder), folder.comparable()
    unjudged = {table.judge for table in folder.tables} - {group[0].judge for group in groups}
    for judge, group in [*((each[0].judge, each) for each in groups), *((judge, []) for judge in sorted(unjudged))]:
        counts = {model: int(row["n_total"]) for model, row in folder.published(judge).items() if "n_total" in row}
        expected = max([len(usual) if group else 0, *counts.values()])
        dropped = {model: expected - count for model, count in counts.items()}
        for annotated in group:
            judged = {k for k, p in zip(annotated.keys, annotated.preferences, strict=True) if not np.isnan(p)}
            # Another set of instructions is told as that.
            dropped[annotated.model] = len(usual - judged) if judged <= usual else 0
        lacking = {model: count for model, count in sorted(dropped.items(), key=lambda each: -each[1]) if count > 0}
        if lacking:
            told = named([f"{model} {count}" for model, count in lacking.items()])
            detail = f"{len(lacking)} of {len(dropped)} models lack verdicts on some of {expected} items"
            detail += f"{folder.against(group[0]) if group else ''}: {told}"
            benchmark = folder.benchmark_of(judge, group[0].baseline if group else "")
            yield LeaderboardFinding("dropped-rows", tuple(lacking), detail, judge, benchmark, sum(lacking.values()))
