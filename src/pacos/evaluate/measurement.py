"""From a number an item to a measurement: means, gains over the baseline on the same items, and their intervals."""

from collections.abc import Callable, Mapping, Sequence

from pacos.evaluate.report import Measurement
from pacos.statistics import Interval, bootstrap_interval, ratio_interval, wilson

Numbers = Mapping[str, Sequence[float]]
"""Model label -> a number for each item, in one order for all models."""


def mean_of(values: Numbers, baseline: str, seed: int) -> Measurement:
    """Each model's mean over items. Intervals are the bootstrap's over items, and of shares Wilson's."""

    def mean(each: Sequence[float]) -> float:
        return sum(each) / len(each)

    def interval(each: Sequence[float]) -> Interval | None:
        return bootstrap_interval(each, seed=seed)

    def own(each: Sequence[float]) -> Interval | None:
        return wilson(int(sum(each)), len(each)) if set(each) <= {0, 1} else interval(each)

    return _measurement(values, baseline, mean, own, interval)


def ratio_of(values: Numbers, sizes: Sequence[float], baseline: str, seed: int) -> Measurement:
    """Each model's sum over that of the items' sizes. Intervals are the bootstrap's over items."""

    def share(each: Sequence[float]) -> float:
        return sum(each) / sum(sizes)

    def interval(each: Sequence[float]) -> Interval | None:
        return ratio_interval(each, sizes, seed=seed)

    return _measurement(values, baseline, share, interval, interval)


def _measurement(
    values: Numbers,
    baseline: str,
    middle: Callable[[Sequence[float]], float],
    own: Callable[[Sequence[float]], Interval | None],
    paired: Callable[[Sequence[float]], Interval | None],
) -> Measurement:
    """One item alone says nothing of others: it has no interval."""
    gains = {
        label: [mine - other for mine, other in zip(each, values[baseline], strict=True)]
        for label, each in values.items()
        if label != baseline and baseline in values
    }
    items = max(map(len, values.values()), default=0)
    return Measurement(
        items=items,
        values={label: middle(each) for label, each in values.items() if items},
        intervals={label: found for label, each in values.items() if items > 1 and (found := own(each))},
        gains={label: middle(each) for label, each in gains.items() if items},
        gain_intervals={label: found for label, each in gains.items() if items > 1 and (found := paired(each))},
    )
