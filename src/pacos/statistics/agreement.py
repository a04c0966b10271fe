"""How far raters agree beyond chance, with intervals over items."""

from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Literal, TypeAlias

import numpy as np

from pacos.statistics.bootstrap import percentile_interval, resampled_totals
from pacos.statistics.clusters import cluster_codes
from pacos.statistics.proportions import Interval

Level: TypeAlias = Literal["nominal", "interval"]
# A table of what each item adds, and the measure as a function of the column totals `[..., K]`: every measure here is
# one of sums over items, which makes a bootstrap of items a matter of adding rows.
Sums: TypeAlias = tuple[np.ndarray, Callable[[np.ndarray], np.ndarray]]


def cohen_kappa(first: Sequence[Hashable], second: Sequence[Hashable]) -> float:
    """Cohen's kappa of two raters' labels for the same items, in the same order (Cohen 1960).

    (observed - expected) / (1 - expected), expected from each rater's own frequencies. NaN where both only ever gave
    one and the same label: chance alone then agrees always. Raises ValueError for unequal or no labels.
    """
    return _value(_cohen(first, second))


def cohen_kappa_interval(
    first: Sequence[Hashable],
    second: Sequence[Hashable],
    *,
    confidence: float = 0.95,
    resamples: int = 2_000,
    seed: int = 0,
) -> Interval:
    """The percentile bootstrap interval of `cohen_kappa`, items drawn with replacement. ValueError for under two."""
    return _interval(_cohen(first, second), confidence, resamples, seed)


def fleiss_kappa(units: Iterable[Sequence[Hashable]]) -> float:
    """Fleiss's kappa (Psychological Bulletin 76, 1971, 378-382): a unit is one item's labels, by whichever raters.

    NaN where only one label was ever given. Raises ValueError where there are no units, or not as many labels on each
    of them, at least two: `krippendorff_alpha` allows gaps.
    """
    return _value(_fleiss(units))


def fleiss_kappa_interval(
    units: Iterable[Sequence[Hashable]], *, confidence: float = 0.95, resamples: int = 2_000, seed: int = 0
) -> Interval:
    """The percentile bootstrap interval of `fleiss_kappa`, items drawn with replacement. ValueError for under two."""
    return _interval(_fleiss(units), confidence, resamples, seed)


def krippendorff_alpha(units: Iterable[Sequence[Hashable | None]], level: Level = "nominal") -> float:
    """Krippendorff's alpha: any number of raters, None where a rater gave no label.

    1 - observed / expected disagreement over all pairable labels (Krippendorff, Content Analysis, ch. 11): two labels
    disagree by 0 or 1 at the nominal level, by their squared difference at the interval level, where they are numbers.
    A unit with fewer than two labels says nothing and is left out. NaN where no two labels can be paired or all are the
    same. Raises ValueError for a label that is no finite number at the interval level.
    """
    return _value(_krippendorff(units, level))


def krippendorff_alpha_interval(
    units: Iterable[Sequence[Hashable | None]],
    level: Level = "nominal",
    *,
    confidence: float = 0.95,
    resamples: int = 2_000,
    seed: int = 0,
) -> Interval:
    """The percentile bootstrap interval of `krippendorff_alpha`, items drawn with replacement.

    ValueError as for `krippendorff_alpha`, and for under two items with two labels.
    """
    return _interval(_krippendorff(units, level), confidence, resamples, seed)


def _value(sums: Sums) -> float:
    table, measure = sums
    with np.errstate(divide="ignore", invalid="ignore"):
        return float(measure(table.sum(axis=0)))


def _interval(sums: Sums, confidence: float, resamples: int, seed: int) -> Interval:
    table, measure = sums
    if len(table) < 2:
        raise ValueError(f"{len(table)} items with labels to compare; an interval needs at least two")
    with np.errstate(divide="ignore", invalid="ignore"):
        blocks = resampled_totals(table, resamples, np.random.default_rng(seed))
        values = np.concatenate([measure(totals) for totals in blocks])
    # A resample of one label alone has no agreement beyond chance to speak of.
    values = values[np.isfinite(values)]
    return percentile_interval(values, confidence) if len(values) else Interval(float("nan"), float("nan"))


def _cohen(first: Sequence[Hashable], second: Sequence[Hashable]) -> Sums:
    if len(first) != len(second) or not first:
        raise ValueError(f"{len(first)} and {len(second)} labels; expected as many from both raters, at least one")
    codes = cluster_codes([*first, *second])
    labels = int(codes.max()) + 1
    table = np.eye(labels * labels)[codes[: len(first)] * labels + codes[len(first) :]]

    def measure(totals: np.ndarray) -> np.ndarray:
        shares = totals.reshape(*totals.shape[:-1], labels, labels) / len(first)
        observed = np.trace(shares, axis1=-2, axis2=-1)
        expected = (shares.sum(axis=-1) * shares.sum(axis=-2)).sum(axis=-1)
        return _beyond_chance(1 - observed, 1 - expected)

    return table, measure


def _fleiss(units: Iterable[Sequence[Hashable]]) -> Sums:
    rows = [list(unit) for unit in units]
    sizes = {len(row) for row in rows}
    if len(sizes) != 1 or min(sizes) < 2:
        raise ValueError(f"units of {sorted(sizes) or 'no'} labels; expected as many labels on each, at least two")
    counts = _label_counts(rows)
    size = min(sizes)
    agreeing = (counts * (counts - 1)).sum(axis=1) / (size * (size - 1))

    def measure(totals: np.ndarray) -> np.ndarray:
        shares = totals[..., 1:] / (size * len(rows))
        return _beyond_chance(1 - totals[..., 0] / len(rows), 1 - (shares**2).sum(axis=-1))

    return np.column_stack([agreeing, counts]), measure


def _krippendorff(units: Iterable[Sequence[Hashable | None]], level: Level) -> Sums:
    rows = [[label for label in unit if label is not None] for unit in units]
    rows = [row for row in rows if len(row) > 1]
    if not rows:
        return np.zeros((0, 2)), lambda totals: np.full(totals.shape[:-1], np.nan)
    return _nominal(rows) if level == "nominal" else _squared(rows)


def _nominal(rows: list[list[Hashable]]) -> Sums:
    counts = _label_counts(rows)
    sizes = counts.sum(axis=1)
    disagreeing = (sizes**2 - (counts**2).sum(axis=1)) / (sizes - 1)

    def measure(totals: np.ndarray) -> np.ndarray:
        labels = totals[..., 1:]
        count = labels.sum(axis=-1)
        return _beyond_chance(totals[..., 0], (count**2 - (labels**2).sum(axis=-1)) / (count - 1))

    return np.column_stack([disagreeing, counts]), measure


def _squared(rows: list[list[Hashable]]) -> Sums:
    try:
        values = [np.array(row, dtype=float) for row in rows]
    except (TypeError, ValueError):
        values = [np.array([np.nan])]
    if not all(np.isfinite(row).all() for row in values):
        raise ValueError("a label is no finite number; the interval level compares numbers, use the nominal level")
    # Squares of labels far from 0 would lose their differences to rounding.
    middle = np.concatenate(values).mean()
    sizes = np.array([len(row) for row in values], dtype=float)
    sums = np.array([(row - middle).sum() for row in values])
    squares = np.array([((row - middle) ** 2).sum() for row in values])
    spread = np.array([((row - row.mean()) ** 2).sum() for row in values])
    disagreeing = 2 * sizes * spread / (sizes - 1)

    def measure(totals: np.ndarray) -> np.ndarray:
        count, sums_, squares_ = totals[..., 1], totals[..., 2], totals[..., 3]
        return _beyond_chance(totals[..., 0], 2 * (count * squares_ - sums_**2) / (count - 1))

    return np.column_stack([disagreeing, sizes, sums, squares]), measure


def _label_counts(rows: Sequence[Sequence[Hashable]]) -> np.ndarray:
    numbers = {label: number for number, label in enumerate(dict.fromkeys(label for row in rows for label in row))}
    counts = np.zeros((len(rows), len(numbers)))
    for row, labels in enumerate(rows):
        for label, count in Counter(labels).items():
            counts[row, numbers[label]] = count
    return counts


def _beyond_chance(observed: np.ndarray, expected: np.ndarray) -> np.ndarray:
    """1 - observed / expected disagreement; NaN where chance alone never disagrees, but for rounding."""
    return np.where(expected > 1e-12, 1 - observed / expected, np.nan)
