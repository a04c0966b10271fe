"""What to expect of many more requests than were tried."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import betaln, expit

from pacos.statistics.proportions import Interval, upper_level

# The posterior's grid: logits of the mean rate, and of how alike the requests of a cluster are.
_MEANS = expit(np.linspace(-16, 8, 241))
_CORRELATIONS = expit(np.linspace(-7, 4, 45))


@dataclass(frozen=True)
class Forecast:
    """Of `requests` in all, in other clusters than those tried. `hits` is a mean, `interval` of the number of hits, and
    `any_hit` the chance of at least one."""

    requests: int
    hits: float
    interval: Interval
    any_hit: float


def forecast_hits(
    hits: Sequence[int],
    requests: Sequence[int],
    times: int,
    *,
    confidence: float = 0.95,
    draws: int = 20_000,
    seed: int = 0,
) -> Forecast:
    """How many hits to expect in `times` as many requests, from (hits, requests) of each cluster, such as a prompt.

    Clusters differ in their rates as a beta distribution does (beta-binomial counts), and the clusters to come are
    drawn from where those tried came from, with as many requests each. Mean and correlation are not known, but have a
    posterior: Jeffreys's prior for the mean, a flat one on the logit of the correlation. An interval of counts to come
    is wider than one of the rate. Raises ValueError for under two clusters, or hits that cannot be.
    """
    tried, found = np.asarray(requests), np.asarray(hits)
    if len(tried) != len(found) or len(tried) < 2 or times < 1:
        raise ValueError(
            f"{len(found)} hits and {len(tried)} requests of clusters, {times} times; expected two or more"
        )
    if (tried < 1).any() or (found < 0).any() or (found > tried).any():
        raise ValueError("a cluster has no request, or more hits than requests; expected 0 <= hits <= requests")
    generator = np.random.default_rng(seed)
    posterior = _posterior(Counter(zip(found.tolist(), tried.tolist(), strict=True)))
    drawn = generator.choice(posterior.size, size=draws, p=posterior.ravel())
    means = _MEANS[drawn // len(_CORRELATIONS)]
    correlations = _CORRELATIONS[drawn % len(_CORRELATIONS)]
    total = int(tried.sum()) * times
    # The sum over many clusters is nearly one beta-binomial count with the mean and the variance of that sum.
    excess = correlations * (float((tried**2).sum()) / float(tried.sum()) - 1) / max(total - 1, 1)
    strength = np.maximum(1 / np.maximum(excess, 1e-12) - 1, 1e-6)
    to_come = generator.binomial(total, generator.beta(means * strength, (1 - means) * strength))
    upper = upper_level(confidence)
    low, high = np.quantile(to_come, [1 - upper, upper], method="inverted_cdf")
    return Forecast(total, float(to_come.mean()), Interval(float(low), float(high)), float((to_come > 0).mean()))


def _posterior(counts: Counter[tuple[int, int]]) -> np.ndarray:
    """The chance of each mean `[M]` and correlation `[R]` of the grid, `[M, R]`, from (hits, requests) -> clusters."""
    # A grid of logits has the density mean * (1 - mean), which is Jeffreys's prior but for a square root.
    log = np.broadcast_to(0.5 * np.log(_MEANS * (1 - _MEANS))[:, None], (len(_MEANS), len(_CORRELATIONS))).copy()
    strength = 1 / _CORRELATIONS - 1
    first, second = _MEANS[:, None] * strength, (1 - _MEANS)[:, None] * strength
    for (hits, requests), clusters in counts.items():
        log += clusters * (betaln(first + hits, second + requests - hits) - betaln(first, second))
    chances: np.ndarray = np.exp(log - log.max())
    chances /= chances.sum()
    return chances
