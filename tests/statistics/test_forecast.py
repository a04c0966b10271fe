"""What to expect of ten and a hundred times as many requests."""

import numpy as np
import pytest
from scipy.stats import betabinom

from pacos.statistics import forecast_hits


@pytest.mark.parametrize("hits", [0, 1, 7, 40])
def test_single_requests_are_foretold_as_bayes_does(hits: int) -> None:
    """One request a cluster: no correlation can be seen, nor matters; Jeffreys's prior has a closed form."""
    forecast = forecast_hits([1] * hits + [0] * (200 - hits), [1] * 200, 10, draws=100_000)
    exact = betabinom(2_000, hits + 0.5, 200 - hits + 0.5)
    assert forecast.requests == 2_000
    assert forecast.hits == pytest.approx(exact.mean(), rel=0.05)
    assert forecast.any_hit == pytest.approx(1 - exact.pmf(0), abs=0.02)
    for end, level in zip(forecast.interval, (0.025, 0.975), strict=True):
        assert end == pytest.approx(exact.ppf(level), rel=0.05, abs=1)


def test_hits_that_come_together_widen_the_interval() -> None:
    alone = forecast_hits([1] * 20 + [0] * 80, [5] * 100, 10)
    together = forecast_hits([5] * 4 + [0] * 96, [5] * 100, 10)
    assert together.hits == pytest.approx(alone.hits, rel=0.3)
    assert together.interval.high - together.interval.low > 1.4 * (alone.interval.high - alone.interval.low)


def test_no_hit_yet_is_no_promise() -> None:
    forecast = forecast_hits([0] * 100, [3] * 100, 100)
    assert forecast.interval.low == 0
    assert forecast.any_hit > 0.8


@pytest.mark.parametrize(("clusters", "size", "rate", "alike"), [(60, 4, 0.1, 0.3), (100, 3, 0.02, 0.2)])
def test_intervals_hold_what_was_held_back(clusters: int, size: int, rate: float, alike: float) -> None:
    generator, studies, strength = np.random.default_rng(0), 500, 1 / alike - 1
    for times in (10, 100):
        inside = 0
        for _ in range(studies):
            rates = generator.beta(rate * strength, (1 - rate) * strength, clusters * (times + 1))
            hits = generator.binomial(size, rates)
            forecast = forecast_hits(hits[:clusters].tolist(), [size] * clusters, times, draws=4_000)
            inside += forecast.interval.low <= hits[clusters:].sum() <= forecast.interval.high
        assert 0.92 <= inside / studies <= 0.98


@pytest.mark.parametrize(
    ("hits", "requests", "times"),
    [
        ([1], [2], 10),
        ([1, 2], [2], 10),
        ([3, 0], [2, 2], 10),
        ([0, 0], [0, 2], 10),
        ([-1, 0], [2, 2], 10),
        ([1, 0], [2, 2], 0),
    ],
)
def test_counts_that_cannot_be_are_refused(hits: list[int], requests: list[int], times: int) -> None:
    with pytest.raises(ValueError, match="expected"):
        forecast_hits(hits, requests, times)
