"""The bootstrap over clusters: several judgments of one item are not independent evidence."""

from collections.abc import Hashable, Iterator, Sequence

import numpy as np

from pacos.statistics.clusters import checked_votes, cluster_codes, several_clusters
from pacos.statistics.proportions import Interval, upper_level

NUMBERS_PER_BLOCK = 2_000_000


def bootstrap_interval(
    values: Sequence[float],
    clusters: Sequence[Hashable] | None = None,
    annotators: Sequence[Hashable] | None = None,
    *,
    confidence: float = 0.95,
    resamples: int = 10_000,
    seed: int = 0,
) -> Interval:
    """The percentile interval of the mean of `values` when whole clusters (items) are drawn with replacement.

    Davison and Hinkley, Bootstrap Methods and their Application (1997), section 3.8, drawing clusters only. Without
    `clusters` every value is its own. With `annotators`, they are drawn with replacement, too, each with all their
    votes (the pigeonhole bootstrap: Owen, Annals of Applied Statistics 1, 2007, 386-411). For a paired comparison give
    the differences. Raises ValueError where the lengths differ, a value is not finite, or all are of one cluster.
    """
    votes = checked_votes(values, *(labels for labels in (clusters, annotators) if labels is not None))
    rows = np.arange(len(votes)) if clusters is None else cluster_codes(clusters)
    columns = np.zeros(len(votes), dtype=np.intp) if annotators is None else cluster_codes(annotators)
    several_clusters(rows, "item")
    if annotators is not None:
        several_clusters(columns, "annotator")
    width = int(columns.max()) + 1
    cells = (int(rows.max()) + 1) * width
    sums, counts = (
        np.bincount(rows * width + columns, weights=each, minlength=cells).reshape(-1, width)
        for each in (votes, np.ones(len(votes)))
    )
    generator = np.random.default_rng(seed)
    means = []
    for totals in resampled_totals(np.hstack([sums, counts]), resamples, generator):
        numerators, denominators = totals[:, :width], totals[:, width:]
        if annotators is not None:
            drawn = generator.integers(width, size=numerators.shape)
            numerators, denominators = (np.take_along_axis(each, drawn, 1) for each in (numerators, denominators))
        denominators = denominators.sum(axis=1)
        # Where annotators share few items, a resample may hold no vote at all; it says nothing.
        means.append(numerators.sum(axis=1)[denominators > 0] / denominators[denominators > 0])
    return percentile_interval(np.concatenate(means), confidence)


def ratio_interval(
    numerators: Sequence[float],
    denominators: Sequence[float],
    *,
    confidence: float = 0.95,
    resamples: int = 10_000,
    seed: int = 0,
) -> Interval:
    """The percentile interval of sum(numerators) / sum(denominators), an item's two drawn together with replacement.

    Raises ValueError as `bootstrap_interval` does; every denominator has to be above zero.
    """
    tops, bottoms = checked_votes(numerators, denominators), checked_votes(denominators)
    several_clusters(np.arange(len(tops)), "item")
    if not (bottoms > 0).all():
        raise ValueError("a denominator is not above zero")
    blocks = resampled_totals(np.column_stack([tops, bottoms]), resamples, np.random.default_rng(seed))
    return percentile_interval(np.concatenate([totals[:, 0] / totals[:, 1] for totals in blocks]), confidence)


def resampled_totals(table: np.ndarray, resamples: int, generator: np.random.Generator) -> Iterator[np.ndarray]:
    """Blocks of column totals `[block, K]` of a table `[clusters, K]`, its rows drawn with replacement."""
    block = max(1, NUMBERS_PER_BLOCK // table.size)
    for start in range(0, resamples, block):
        drawn = generator.integers(len(table), size=(min(block, resamples - start), len(table)))
        yield table[drawn].sum(axis=1)


def percentile_interval(values: np.ndarray, confidence: float) -> Interval:
    """The middle share of `values`."""
    upper = upper_level(confidence)
    low, high = np.quantile(values, [1 - upper, upper])
    return Interval(float(low), float(high))
