"""The bootstrap over clusters: several judgments of one item are not independent evidence."""

from collections.abc import Hashable, Sequence

import numpy as np

from pacos.statistics.proportions import Interval

RESAMPLES_PER_BLOCK = 1000


def bootstrap_interval(
    values: Sequence[float],
    clusters: Sequence[Hashable] | None = None,
    *,
    confidence: float = 0.95,
    resamples: int = 10_000,
    seed: int = 0,
) -> Interval:
    """The percentile interval of the mean of `values` when whole clusters (items) are drawn with replacement.

    Davison and Hinkley, Bootstrap Methods and their Application (1997), section 3.8, drawing clusters only. Without
    `clusters` every value is its own. Raises ValueError where there are no values or the lengths differ.
    """
    sums, counts = _cluster_totals(values, clusters)
    generator = np.random.default_rng(seed)
    means = []
    for start in range(0, resamples, RESAMPLES_PER_BLOCK):
        block = min(RESAMPLES_PER_BLOCK, resamples - start)
        drawn = generator.integers(len(sums), size=(block, len(sums)))
        means.append(sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1))
    tail = (1 - confidence) / 2
    low, high = np.quantile(np.concatenate(means), [tail, 1 - tail])
    return Interval(float(low), float(high))


def _cluster_totals(values: Sequence[float], clusters: Sequence[Hashable] | None) -> tuple[np.ndarray, np.ndarray]:
    if not len(values) or (clusters is not None and len(clusters) != len(values)):
        raise ValueError(f"{len(values)} values and {len(clusters or ())} cluster labels; expected one label a value")
    if clusters is None:
        return np.asarray(values, dtype=float), np.ones(len(values))
    numbers: dict[Hashable, int] = {}
    index = np.array([numbers.setdefault(label, len(numbers)) for label in clusters])
    return np.bincount(index, weights=np.asarray(values, dtype=float)), np.bincount(index).astype(float)
