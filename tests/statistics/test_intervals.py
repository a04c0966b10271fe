"""Intervals against independent formulas, published figures and simulation."""

import math
from functools import cache

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar
from scipy.stats import beta, binom, norm
from statsmodels.stats.proportion import confint_proportions_2indep

from pacos.statistics import (
    Comparison,
    bootstrap_interval,
    chance_corrected,
    clopper_pearson,
    clustered_mean,
    rank_models,
    rate_difference,
    ratio_interval,
    sequential_interval,
    sign_test,
    wilson,
    win_rate,
)

COUNT = st.integers(0, 60)


def test_alpacas_published_comparison() -> None:
    # 90 wins, 89 losses against text-davinci-003 (the Alpaca announcement); the ends are known to one decimal.
    assert [round(100 * end, 1) for end in clopper_pearson(90, 179)] == [42.7, 57.8]
    assert [round(100 * end, 1) for end in wilson(90, 179)] == [43.0, 57.5]
    assert sign_test(90, 89) == 1.0


@given(successes=COUNT, failures=COUNT)
def test_clopper_pearson_is_the_beta_quantile(successes: int, failures: int) -> None:
    trials = successes + failures
    assume(trials)
    low = beta.ppf(0.025, successes, failures + 1) if successes else 0.0
    high = beta.ppf(0.975, successes + 1, failures) if failures else 1.0
    assert clopper_pearson(successes, trials) == pytest.approx((low, high), abs=1e-9)


@given(successes=COUNT, failures=COUNT, confidence=st.sampled_from([0.8, 0.95, 0.99]))
def test_wilsons_ends_are_where_the_score_test_rejects(successes: int, failures: int, confidence: float) -> None:
    trials = successes + failures
    if not trials:
        return
    z = norm.ppf(0.5 + confidence / 2)
    for end in wilson(successes, trials, confidence):
        assert abs(successes - trials * end) == pytest.approx(z * math.sqrt(trials * end * (1 - end)), abs=1e-6)


@given(wins=COUNT, losses=COUNT)
def test_sign_test_sums_the_binomial_tails(wins: int, losses: int) -> None:
    count = wins + losses
    assume(count)
    weights = binom.pmf(np.arange(count + 1), count, 0.5)
    as_rare = weights[weights <= weights[wins] * (1 + 1e-7)].sum()
    assert sign_test(wins, losses) == pytest.approx(as_rare, abs=1e-9)


@given(wins=COUNT, losses=COUNT)
def test_win_rate_without_ties_is_wilsons(wins: int, losses: int) -> None:
    assume(wins + losses)
    assert win_rate(wins, losses).interval == pytest.approx(wilson(wins, wins + losses), abs=1e-6)


@given(wins=COUNT, losses=COUNT, ties=COUNT)
def test_win_rate_mirrors_and_holds_its_rate(wins: int, losses: int, ties: int) -> None:
    assume(wins + losses + ties)
    found, mirrored = win_rate(wins, losses, ties), win_rate(losses, wins, ties)
    low, high = found.interval
    assert found.interval == pytest.approx((1 - mirrored.interval.high, 1 - mirrored.interval.low), abs=1e-9)
    assert 0 <= low <= found.rate + 1e-9
    assert found.rate - 1e-9 <= high <= 1
    if wins + losses + ties:
        assert found.rate == pytest.approx((wins + ties / 2) / (wins + losses + ties))


@settings(max_examples=60, deadline=None)
@given(wins=st.integers(0, 40), losses=st.integers(0, 40), ties=st.integers(0, 40))
def test_win_rates_ends_are_where_the_score_test_rejects(wins: int, losses: int, ties: int) -> None:
    """Tango's interval by its definition: the likelihood under each hypothesis is maximised by search, not formula."""
    items = wins + losses + ties
    if not items:
        return

    def statistic(difference: float) -> float:
        def cost(loss: float) -> float:
            shares = (loss + difference, loss, 1 - 2 * loss - difference)
            pairs = zip((wins, losses, ties), shares, strict=True)
            return -sum(count * math.log(max(share, 1e-300)) for count, share in pairs if count)

        lowest, highest = max(0.0, -difference), (1 - difference) / 2
        loss = minimize_scalar(cost, bounds=(lowest, highest), method="bounded", options={"xatol": 1e-12}).x
        return (wins - losses - items * difference) / math.sqrt(items * (2 * loss + difference - difference**2))

    for end in win_rate(wins, losses, ties).interval:
        if 0.001 < end < 0.999:
            assert abs(statistic(2 * end - 1)) == pytest.approx(norm.ppf(0.975), abs=2e-3)


@pytest.mark.parametrize("shares", [(0.9, 0.02, 0.08), (0.5, 0.5, 0.0), (0.3, 0.1, 0.6), (0.4, 0.4, 0.2)])
def test_win_rate_covers(shares: tuple[float, float, float]) -> None:
    cached = cache(win_rate)
    draws = np.random.default_rng(7).multinomial(240, shares, size=4000).tolist()
    truth = shares[0] + shares[2] / 2
    covered = np.mean([low <= truth <= high for low, high in (cached(*counts).interval for counts in draws)])
    # Its standard error here is 0.0034; the binomial's own steps add about half a point.
    assert 0.935 <= covered <= 0.965


def test_clustered_bootstrap_covers_where_the_plain_one_does_not() -> None:
    generator = np.random.default_rng(3)
    covered = {"clustered": 0, "plain": 0}
    runs, items, votes = 300, 60, 6
    labels = np.repeat(np.arange(items), votes).tolist()
    for _ in range(runs):
        # Each item's votes follow its own rate, so they say far less than as many independent ones.
        rates = generator.beta(0.5, 0.5, size=items)
        values = (generator.random((items, votes)) < rates[:, None]).ravel().astype(float).tolist()
        for name, clusters in (("clustered", labels), ("plain", None)):
            low, high = bootstrap_interval(values, clusters, resamples=500)
            covered[name] += low <= 0.5 <= high
    assert 0.91 <= covered["clustered"] / runs <= 0.98
    assert covered["plain"] / runs < 0.85


@given(values=st.lists(st.floats(0, 1), min_size=2, max_size=30))
def test_repeating_every_vote_tells_a_clustered_bootstrap_nothing(values: list[float]) -> None:
    once = bootstrap_interval(values, resamples=200)
    thrice = bootstrap_interval(values * 3, list(range(len(values))) * 3, resamples=200)
    assert once == pytest.approx(thrice)


def test_what_has_nothing_to_be_computed_from_is_absent() -> None:
    assert win_rate(0, 0, 0) is None
    assert wilson(0, 0) is clopper_pearson(0, 0) is None
    assert sign_test(0, 0) is None


def test_chance_correction() -> None:
    assert chance_corrected(0.5, 0.5) == 0
    assert chance_corrected(1.0, 0.5) == 1
    assert chance_corrected(0.25, 0.5) == -0.5
    assert chance_corrected(0.3, 0.0) == 0.3


@pytest.mark.parametrize(
    "call",
    [
        lambda: wilson(3, 2),
        lambda: clopper_pearson(-1, 2),
        lambda: win_rate(1, -1),
        lambda: chance_corrected(0.5, 1.0),
        lambda: win_rate(float("nan"), 1),
        lambda: wilson(float("nan"), 3),
        lambda: sequential_interval(1, float("nan")),
        lambda: bootstrap_interval([]),
        lambda: bootstrap_interval([1.0], [1, 2]),
    ],
)
def test_impossible_counts_are_refused(call: object) -> None:
    with pytest.raises(ValueError):
        call()  # type: ignore[operator]


@pytest.mark.parametrize(
    "call",
    [
        lambda: wilson(0, 0, 95),
        lambda: win_rate(3, 2, confidence=95),
        lambda: bootstrap_interval([1.0, 0.0], confidence=95),
        lambda: clustered_mean([1.0, 0.0], [1, 2], confidence=95),
        lambda: sequential_interval(3, 2, 95),
        lambda: rank_models([Comparison("a", "b", 1.0), Comparison("a", "b", 0.0)], confidence=95),
    ],
)
def test_a_confidence_in_percent_is_refused(call: object) -> None:
    with pytest.raises(ValueError, match="confidence 95; expected a share"):
        call()  # type: ignore[operator]


def test_a_ratio_of_equal_sizes_is_a_mean_and_a_constant_one_has_no_width() -> None:
    values = [0.2, 1.5, 0.7, 3.0, 2.2, 0.1]
    assert ratio_interval(values, [1.0] * 6, seed=3) == pytest.approx(bootstrap_interval(values, seed=3))
    # Twice the size and twice the sum: however they are drawn, the ratio is the same.
    assert ratio_interval([2.0, 6.0, 4.0], [1.0, 3.0, 2.0]) == pytest.approx((2.0, 2.0))
    with pytest.raises(ValueError, match="not above zero"):
        ratio_interval([1.0, 2.0], [1.0, 0.0])


@given(st.integers(1, 60), st.integers(1, 60), st.data())
def test_a_difference_of_wilson_intervals_is_newcombes(first: int, second: int, data: st.DataObject) -> None:
    hits = data.draw(st.integers(0, first)), data.draw(st.integers(0, second))
    before, after = wilson(hits[0], first), wilson(hits[1], second)
    found = rate_difference(hits[0] / first, (before.low, before.high), hits[1] / second, (after.low, after.high))
    wanted = confint_proportions_2indep(hits[1], second, hits[0], first, method="newcomb")
    assert (found.low, found.high) == pytest.approx(wanted, abs=1e-9)
