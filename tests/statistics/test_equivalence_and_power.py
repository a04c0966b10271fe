"""Equivalence tests and sample sizes: other software, exact enumeration and simulation."""

from math import comb

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import binom_tost
from statsmodels.stats.weightstats import DescrStatsW

from pacos.statistics import (
    clustered_equivalence_test,
    clustered_mean,
    design_effect,
    detectable_preference,
    equivalence_power,
    equivalence_test,
    holm,
    items_for_equivalence,
    items_to_tell_apart,
    sign_test,
    sign_test_power,
    win_rate,
)


def test_90_to_89_is_not_on_par_within_five_points() -> None:
    five, ten = equivalence_test(90, 89, margin=0.05), equivalence_test(90, 89, margin=0.1)
    assert not five.equivalent
    assert ten.equivalent
    # The exact binomial test of statsmodels is a little more cautious, as exact tests are.
    assert five.p_value <= binom_tost(90, 179, 0.45, 0.55)[0] <= five.p_value + 0.02
    assert ten.p_value <= binom_tost(90, 179, 0.4, 0.6)[0] <= ten.p_value + 0.002


@settings(deadline=None)
@given(wins=st.integers(0, 80), losses=st.integers(0, 80), ties=st.integers(0, 80), margin=st.floats(0.02, 0.3))
def test_equivalent_is_where_the_90_percent_interval_is_inside(
    wins: int, losses: int, ties: int, margin: float
) -> None:
    if not wins + losses + ties:
        return
    found = equivalence_test(wins, losses, ties, margin=margin)
    low, high = win_rate(wins, losses, ties, confidence=0.9).interval
    if min(abs(low - 0.5 + margin), abs(high - 0.5 - margin)) > 1e-6:
        assert found.equivalent == (0.5 - margin < low and high < 0.5 + margin)
    assert found == equivalence_test(wins, losses, ties, margin=margin)
    assert equivalence_test(losses, wins, ties, margin=margin).p_value == pytest.approx(found.p_value, abs=1e-9)


@pytest.mark.parametrize("ties", [0.0, 0.3])
@pytest.mark.parametrize("items", [60, 240])
def test_models_at_the_margin_are_seldom_called_on_par(items: int, ties: float) -> None:
    """The exact error where the truth lies on the margin, every possible study counted."""
    margin, error = 0.1, 0.0
    win = (1 - ties) / 2 + margin
    tied = range(items + 1) if ties else [0]
    for t in tied:
        weight = binom.pmf(t, items, ties)
        if weight < 1e-6:
            continue
        decisive = items - t
        chances = binom.pmf(np.arange(decisive + 1), decisive, win / (1 - ties))
        for wins in range(max(0, decisive // 2 - 20), min(decisive, decisive // 2 + 20) + 1):
            if equivalence_test(wins, decisive - wins, t, margin=margin).equivalent:
                error += weight * chances[wins]
    assert error < 0.06


def test_clustered_equivalence_is_statsmodels_where_each_item_is_one_vote() -> None:
    votes = np.random.default_rng(4).choice([0, 0.5, 1], size=300)
    theirs = DescrStatsW(votes).ttost_mean(0.4, 0.6)[0]
    found = clustered_equivalence_test(clustered_mean(votes.tolist(), range(300)), margin=0.1)
    assert found.p_value == pytest.approx(theirs)
    assert found.equivalent == (theirs <= 0.05)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 40), st.floats(0, 1), st.sampled_from([0.0, 0.2, 1.0]))
def test_power_counts_the_studies_in_which_the_sign_test_finds_it(items: int, preference: float, ties: float) -> None:
    found = 0.0
    for wins in range(items + 1):
        for losses in range(items - wins + 1):
            if wins + losses and sign_test_value(wins, losses) <= 0.05:
                tied = items - wins - losses
                shares = ((1 - ties) * preference) ** wins * ((1 - ties) * (1 - preference)) ** losses * ties**tied
                found += comb(items, wins) * comb(items - wins, losses) * shares
    assert sign_test_power(items, preference, ties) == pytest.approx(found, abs=1e-9)


P_VALUES: dict[tuple[int, int], float] = {}


def sign_test_value(wins: int, losses: int) -> float:
    key = (min(wins, losses), max(wins, losses))
    if key not in P_VALUES:
        P_VALUES[key] = sign_test(wins, losses) or 0.0
    return P_VALUES[key]


def test_published_sizes() -> None:
    assert [items_for_equivalence(margin) for margin in (0.05, 0.1)] == [857, 215]
    assert [round(detectable_preference(items), 3) for items in (179, 252, 805)] == [0.609, 0.592, 0.55]


@pytest.mark.parametrize(("preference", "ties"), [(0.65, 0.0), (0.4, 0.2), (0.9, 0.5)])
def test_from_that_number_on_the_power_is_kept(preference: float, ties: float) -> None:
    least = items_to_tell_apart(preference, ties)
    assert sign_test_power(least - 1, preference, ties) < 0.8
    assert all(sign_test_power(items, preference, ties) >= 0.8 for items in range(least, least + 60))


@pytest.mark.parametrize(("margin", "ties", "rate"), [(0.1, 0.0, 0.5), (0.1, 0.4, 0.52), (0.15, 0.1, 0.5)])
def test_planned_studies_show_equivalence_as_often_as_planned(margin: float, ties: float, rate: float) -> None:
    items = items_for_equivalence(margin, ties, rate=rate)
    win = (1 - ties) / 2 + rate - 0.5
    draws = np.random.default_rng(9).multinomial(items, [win, 1 - ties - win, ties], size=2000).tolist()
    shown = np.mean([equivalence_test(*counts, margin=margin).equivalent for counts in draws])
    assert shown == pytest.approx(0.8, abs=0.04)
    assert (
        equivalence_power(items - 1, margin, ties, rate=rate) < 0.8 <= equivalence_power(items, margin, ties, rate=rate)
    )


def test_design_effect() -> None:
    assert design_effect(1, 0.7) == 1
    assert design_effect(5, 0.5) == 3


@settings(max_examples=10, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_is_statsmodels(p_values: list[float]) -> None:
    assert holm(p_values) == pytest.approx(multipletests(p_values, method="holm")[1].tolist())


@pytest.mark.parametrize(
    "call",
    [
        lambda: equivalence_test(0, 0, margin=0.1),
        lambda: equivalence_test(-1, 3, margin=0.1),
        lambda: equivalence_test(3, 3, margin=0.0),
        lambda: equivalence_test(3, 3, margin=0.5),
        lambda: equivalence_test(3, 3, margin=float("nan")),
        lambda: clustered_equivalence_test(clustered_mean([0.5, 0.5], [1, 2]), margin=0.1),
        lambda: items_to_tell_apart(0.5),
        lambda: items_to_tell_apart(float("nan")),
        lambda: items_to_tell_apart(0.6, 1.0),
        lambda: sign_test_power(-1, 0.6),
        lambda: items_for_equivalence(0.05, rate=0.56),
        lambda: equivalence_power(10, 0.2, 0.9, rate=0.6),
        lambda: design_effect(0, 0.5),
        lambda: holm([0.5, float("nan")]),
    ],
)
def test_impossible_designs_are_one_clear_line(call: object) -> None:
    with pytest.raises(ValueError) as raised:
        call()  # type: ignore[operator]
    assert "\n" not in str(raised.value)
