"""Means of votes that are not independent: several on one item, several by one annotator."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from math import sqrt

import numpy as np
from scipy.stats import t

from pacos.statistics.proportions import Interval, upper_level, wilson_from_share


@dataclass(frozen=True)
class Estimate:
    """A mean with its standard error, the degrees of freedom that the error is known with, and its interval; all in
    the unit of the values."""

    value: float
    standard_error: float
    degrees_of_freedom: float
    interval: Interval


def clustered_mean(
    values: Sequence[float],
    items: Sequence[Hashable],
    annotators: Sequence[Hashable] | None = None,
    *,
    confidence: float = 0.95,
) -> Estimate:
    """The mean of `values`, one a vote, with Student's interval that knows which votes share an item or an annotator.

    `items` and `annotators` name each vote's, in the same order. Without `annotators` the interval is about these very
    annotators on other items: the variance is that of the items' totals. With them it is about other annotators, too:
    the variance components of items, annotators and the rest are estimated by moments (Gao and Owen, Electronic Journal
    of Statistics 11, 2017, 1235-1296), which needs no balance, and the degrees of freedom are Satterthwaite's
    (Biometrics Bulletin 2, 1946). Votes of one annotator on one item count as one, their mean.
    For a paired comparison give the differences. Raises ValueError for unequal lengths, values that are not finite,
    under two items, or under two annotators where they are given.
    """
    mean, variance, freedom = _moments(values, items, annotators)
    error = sqrt(variance)
    reach = float(t.ppf(upper_level(confidence), freedom)) * error
    return Estimate(mean, error, freedom, Interval(mean - reach, mean + reach))


def clustered_win_rate(
    values: Sequence[float],
    items: Sequence[Hashable],
    annotators: Sequence[Hashable] | None = None,
    *,
    confidence: float = 0.95,
) -> Estimate:
    """The mean of votes in [0, 1] (1 win, 0.5 tie, 0 loss), its interval inside [0, 1] and fit for rates near its ends.

    It is Wilson's with the number of independent votes that would have the variance of `clustered_mean`, and Student's
    quantile instead of the normal one (Franco, Little, Louis and Slud, Journal of Survey Statistics and Methodology 7,
    2019, 334-364). Where all votes are alike every item counts as one vote. Arguments and errors as for
    `clustered_mean`; a value outside [0, 1] is a ValueError, too.
    """
    mean, variance, freedom = _moments(values, items, annotators)
    if min(values) < 0 or max(values) > 1:
        raise ValueError(
            f"votes from {min(values)} to {max(values)}; expected 1 for a win, 0.5 for a tie, 0 for a loss"
        )
    size = mean * (1 - mean) / variance if variance > 0 else len(set(items))
    interval = wilson_from_share(mean, size, float(t.ppf(upper_level(confidence), freedom)))
    return Estimate(mean, sqrt(variance), freedom, interval)


def slot_effect_estimate(
    values: Sequence[float], shown_first: Sequence[bool], items: Sequence[Hashable], *, confidence: float = 0.95
) -> Estimate:
    """How much more a model wins when its answer is shown first: its mean vote there minus its mean vote elsewhere.

    `values` are the model's votes (1, 0.5, 0 or graded), -1 to 1 the effect; `shown_first` says where its answer stood.
    Items judged in both orders are thereby compared with themselves: the variance is that of the items' totals.
    Raises ValueError for unequal lengths, values that are not finite, under two items, or one order alone.
    """
    votes, codes, _ = _checked(values, items, None)
    first = np.asarray(shown_first, dtype=bool)
    if len(first) != len(votes) or first.all() or not first.any():
        raise ValueError(
            f"{int(first.sum())} of {len(first)} votes with the model first, {len(votes)} votes; expected both orders"
        )
    means = votes[first].mean(), votes[~first].mean()
    shares = np.where(first, (votes - means[0]) / first.sum(), -(votes - means[1]) / (~first).sum())
    totals = np.bincount(codes, weights=shares)
    freedom = len(totals) - 1
    error = sqrt(float((totals**2).sum()) * len(totals) / freedom)
    effect, reach = float(means[0] - means[1]), float(t.ppf(upper_level(confidence), freedom)) * error
    return Estimate(effect, error, freedom, Interval(effect - reach, effect + reach))


def cluster_codes(labels: Sequence[Hashable]) -> np.ndarray:
    """Each label as a number from 0, in the order of first sight."""
    numbers: dict[Hashable, int] = {}
    return np.array([numbers.setdefault(label, len(numbers)) for label in labels], dtype=np.intp)


def checked_votes(values: Sequence[float], *clusters: Sequence[Hashable]) -> np.ndarray:
    """The values as an array. ValueError where there are none, one is not finite, or a label is missing."""
    votes = np.asarray(values, dtype=float)
    if not len(votes) or any(len(labels) != len(votes) for labels in clusters):
        lengths = ", ".join(f"{len(labels):,}" for labels in clusters)
        raise ValueError(f"{len(votes):,} votes and {lengths or 'no'} labels; expected at least one, and a label each")
    if not np.isfinite(votes).all():
        raise ValueError(
            f"{int((~np.isfinite(votes)).sum())} of {len(votes):,} votes are no finite number; leave them out"
        )
    return votes


def several_clusters(codes: np.ndarray, what: str) -> None:
    """ValueError where all votes are of one cluster: nothing then says how much clusters differ."""
    if codes.max() == 0:
        raise ValueError(f"all votes ({len(codes):,}) are of one {what}; an interval needs at least two {what}s")


def _checked(
    values: Sequence[float], items: Sequence[Hashable], annotators: Sequence[Hashable] | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    votes = checked_votes(values, items, *([annotators] if annotators is not None else []))
    codes, raters = cluster_codes(items), None if annotators is None else cluster_codes(annotators)
    several_clusters(codes, "item")
    if raters is not None:
        several_clusters(raters, "annotator")
    return votes, codes, raters


def _moments(
    values: Sequence[float], items: Sequence[Hashable], annotators: Sequence[Hashable] | None
) -> tuple[float, float, float]:
    """Mean, variance of the mean, and its degrees of freedom."""
    votes, rows, columns = _checked(values, items, annotators)
    if columns is not None:
        votes, rows, columns = _one_vote_a_cell(votes, rows, columns)
    mean = float(votes.mean())
    totals = np.bincount(rows, weights=votes - mean)
    freedom: float = len(totals) - 1
    variance = float((totals**2).sum()) / len(votes) ** 2 * len(totals) / freedom
    # Where every annotator voted once, what they add is in the spread of the items already.
    if columns is not None and len(votes) > columns.max() + 1:
        with_annotators, its_freedom = _crossed(votes, rows, columns)
        # Other annotators add doubt and take none away; few shared items can make the moments say otherwise.
        if with_annotators >= variance * (1 - 1e-9):
            variance, freedom = with_annotators, its_freedom
    return mean, variance, freedom


def _one_vote_a_cell(
    votes: np.ndarray, rows: np.ndarray, columns: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    width = int(columns.max()) + 1
    cells, inverse, counts = np.unique(rows * width + columns, return_inverse=True, return_counts=True)
    return np.bincount(inverse, weights=votes) / counts, cells // width, cells % width


def _crossed(votes: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> tuple[float, float]:
    """Gao and Owen's moments: three sums of squares whose expectations are linear in the three components.

    The variance of the mean and its degrees of freedom.
    """
    count, centred = len(votes), votes - votes.mean()
    row_sizes, column_sizes = np.bincount(rows), np.bincount(columns)
    of_rows, of_columns = float((row_sizes**2).sum()), float((column_sizes**2).sum())
    total = float((centred**2).sum())
    # The mean square within annotators is items + rest, within items annotators + rest.
    within_columns = total - float((np.bincount(columns, weights=centred) ** 2 / column_sizes).sum())
    items_and_rest = within_columns / (count - len(column_sizes))
    if count > len(row_sizes):
        within_rows = total - float((np.bincount(rows, weights=centred) ** 2 / row_sizes).sum())
        annotators_and_rest = within_rows / (count - len(row_sizes))
        rest = (
            items_and_rest * (count**2 - of_rows) + annotators_and_rest * (count**2 - of_columns) - count * total
        ) / (count**2 + count - of_rows - of_columns)
        rest = min(max(rest, 0.0), items_and_rest, annotators_and_rest)
        per_item, per_annotator = items_and_rest - rest, annotators_and_rest - rest
    else:
        # One vote an item: items and rest cannot be told apart, and need not be.
        rest, per_item = items_and_rest, 0.0
        per_annotator = max(0.0, (count * total - rest * (count**2 - count)) / (count**2 - of_columns))
    by_items, by_annotators = per_item * of_rows / count**2, per_annotator * of_columns / count**2
    by_rest = rest / count
    variance = by_items + by_annotators + by_rest
    freedoms = len(row_sizes) - 1, len(column_sizes) - 1
    spread = (
        (by_items + by_rest) ** 2 / freedoms[0]
        + (by_annotators + by_rest) ** 2 / freedoms[1]
        + by_rest**2 / (freedoms[0] * freedoms[1])
    )
    return variance, variance**2 / spread if spread > 0 else float(min(freedoms))
