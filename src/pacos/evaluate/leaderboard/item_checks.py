"""Whether all models were judged on the same items, each once."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from pacos.evaluate.leaderboard.findings import LeaderboardFinding, named
from pacos.evaluate.leaderboard.folder import LeaderboardFolder


def check_items(folder: LeaderboardFolder) -> Iterator[LeaderboardFinding]:
    """Items that stand twice, sets of items that others do not have, and rows that were dropped."""
    for outputs in folder.outputs:
        yield from _twice(outputs.model, outputs.keys, "outputs", "", None)
    for annotated in folder.annotations:
        benchmark = folder.benchmark_of(annotated.judge, annotated.baseline)
        yield from _twice(annotated.model, annotated.keys, "annotations", annotated.judge, benchmark)
    yield from _sets(folder)
    yield from _dropped(folder)


def _twice(
    model: str, keys: Sequence[str], what: str, judge: str, benchmark: int | None
) -> Iterator[LeaderboardFinding]:
    if more := len(keys) - len(set(keys)):
        twice = sum(count > 1 for count in Counter(keys).values())
        detail = f"{twice} instructions stand in the {what} more than once ({more} rows too many)"
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
        detail = f"{what} {extra} instructions that are not among those that {whose}"
        detail += f"; {len(expected - keys)} of those are missing"
        yield LeaderboardFinding("another-instruction-set", (model,), detail, judge, benchmark, extra)


def _dropped(folder: LeaderboardFolder) -> Iterator[LeaderboardFinding]:
    """Items without a verdict, by judge: in the annotations of a model, or else by its row in the published table."""
    usual = usual_items(folder)
    by_judge = folder.by_judge()
    for judge in sorted(by_judge.keys() | {table.judge for table in folder.tables}):
        counts = {model: int(row["n_total"]) for model, row in folder.published(judge).items() if "n_total" in row}
        known = [len(usual & frozenset(each.keys)) for each in by_judge.get(judge, ())]
        expected = max([*known, *counts.values()], default=0)
        dropped = {model: expected - count for model, count in counts.items()}
        for annotated in by_judge.get(judge, ()):
            judged = {k for k, p in zip(annotated.keys, annotated.preferences, strict=True) if not np.isnan(p)}
            # Another set of instructions is told as that.
            whole = usual if judged <= usual else judged
            dropped[annotated.model] = len(whole) - len(judged)
        baseline = by_judge[judge][0].baseline if judge in by_judge else ""
        yield from _dropped_by(judge, folder.benchmark_of(judge, baseline), expected, dropped)


def _dropped_by(
    judge: str, benchmark: int | None, expected: int, dropped: Mapping[str, int]
) -> Iterator[LeaderboardFinding]:
    lacking = {model: count for model, count in sorted(dropped.items(), key=lambda each: -each[1]) if count > 0}
    if lacking:
        told = named([f"{model} {count}" for model, count in lacking.items()])
        detail = f"{len(lacking)} of {len(dropped)} models lack verdicts on some of {expected} items: {told}"
        yield LeaderboardFinding("dropped-rows", tuple(lacking), detail, judge, benchmark, sum(lacking.values()))
