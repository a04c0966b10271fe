"""Bradley-Terry-Davidson against evalica, choix and simulation."""

from itertools import combinations

import choix
import numpy as np
import pytest
from evalica import Winner, newman
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from pacos.statistics import Comparison, holm, rank_models

OUTCOMES = {1.0: Winner.X, 0.5: Winner.Draw, 0.0: Winner.Y}


def simulated(strengths: np.ndarray, weight: float, count: int, seed: int) -> list[Comparison]:
    generator = np.random.default_rng(seed)
    names = "abcdefgh"
    rows = []
    for _ in range(count):
        first, second = generator.choice(len(strengths), size=2, replace=False)
        half = (strengths[first] - strengths[second]) / 2
        shares = np.array([np.exp(half), weight, np.exp(-half)])
        outcome = generator.choice([1.0, 0.5, 0.0], p=shares / shares.sum())
        rows.append(Comparison(names[first], names[second], float(outcome)))
    return rows


def by_name(rows: list[Comparison]) -> dict[str, float]:
    return {model.name: model.strength for model in rank_models(rows).models}


@settings(max_examples=15, deadline=None)
@given(models=st.integers(2, 6), seed=st.integers(0, 1000), weight=st.floats(0.2, 2))
def test_with_ties_it_is_evalicas_newman(models: int, seed: int, weight: float) -> None:
    rows = simulated(np.linspace(0, 1.5, models), weight, 400, seed)
    found = rank_models(rows)
    theirs = newman(
        [row.first for row in rows],
        [row.second for row in rows],
        [OUTCOMES[row.outcome] for row in rows],
        tolerance=1e-10,
        limit=10_000,
    )
    logarithms = np.log(theirs.scores)
    expected = (logarithms - logarithms.mean()).to_dict()
    assert {model.name: model.strength for model in found.models} == pytest.approx(expected, abs=1e-4)
    assert found.tie_weight == pytest.approx(2 * theirs.v, abs=1e-3)


@settings(max_examples=15, deadline=None)
@given(models=st.integers(2, 6), seed=st.integers(0, 1000))
def test_without_ties_it_is_choix(models: int, seed: int) -> None:
    rows = simulated(np.linspace(0, 1, models), 0.0, 300, seed)
    beaten = [(row.first, row.second) if row.outcome else (row.second, row.first) for row in rows]
    pairs = [("abcdefgh".index(winner), "abcdefgh".index(loser)) for winner, loser in beaten]
    assume(set(range(models)) == {winner for winner, _ in pairs} == {loser for _, loser in pairs})
    expected = choix.opt_pairwise(models, pairs, alpha=1e-9)
    assert rank_models(rows).tie_weight == 0
    assert by_name(rows) == pytest.approx(dict(zip("abcdefgh", expected - expected.mean(), strict=False)), abs=1e-3)


@given(seed=st.integers(0, 50))
@settings(max_examples=10, deadline=None)
def test_who_stands_first_and_the_order_say_nothing(seed: int) -> None:
    rows = simulated(np.array([0, 0.5, 1]), 0.5, 200, seed)
    turned = [Comparison(row.second, row.first, 1 - row.outcome) for row in reversed(rows)]
    assert by_name(turned) == pytest.approx(by_name(rows), abs=1e-6)


def test_two_models_are_their_counts() -> None:
    rows = [Comparison("a", "b", 1.0)] * 30 + [Comparison("a", "b", 0.5)] * 20 + [Comparison("a", "b", 0.0)] * 10
    found = rank_models(rows)
    contrast = found.contrast("a", "b")
    assert contrast.difference == pytest.approx(np.log(3), abs=1e-6)
    assert contrast.win_rate == pytest.approx(40 / 60, abs=1e-6)
    assert found.tie_weight == pytest.approx(20 / np.sqrt(300), abs=1e-6)
    # The delta method for log(30 / 10), with the correction for as many items as comparisons.
    assert contrast.standard_error == pytest.approx(np.sqrt((1 / 30 + 1 / 10) * 60 / 59), abs=1e-6)


def test_repeating_every_verdict_tells_clustered_errors_nothing() -> None:
    rows = simulated(np.array([0, 0.5, 1]), 0.5, 200, 1)
    once = rank_models(rows, range(200))
    thrice = rank_models(rows * 3, [*range(200)] * 3)
    assert [m.standard_error for m in thrice.models] == pytest.approx([m.standard_error for m in once.models])
    assert rank_models(rows * 3).models[0].standard_error < 0.6 * once.models[0].standard_error


def test_clustered_intervals_cover_where_plain_ones_do_not() -> None:
    """Models answer each item well or badly, and five judges see the same answers."""
    generator = np.random.default_rng(8)
    covered = {"clustered": 0, "plain": 0}
    studies, num_items = 150, 120
    for _ in range(studies):
        rows, items = [], []
        quality = generator.normal(0, 1.0, (num_items, 3))
        for item, (first, second) in ((item, pair) for item in range(num_items) for pair in combinations(range(3), 2)):
            chances = 1 / (1 + np.exp(quality[item, second] - quality[item, first]))
            rows += [Comparison("abc"[first], "abc"[second], float(vote)) for vote in generator.random(5) < chances]
            items += [item] * 5
        for name, ranking in (("clustered", rank_models(rows, items)), ("plain", rank_models(rows))):
            low, high = ranking.contrast("a", "b").interval
            covered[name] += low <= 0 <= high
    assert covered["clustered"] >= 0.9 * studies
    assert covered["plain"] < 0.85 * studies


def test_many_contrasts_with_holm() -> None:
    found = rank_models(simulated(np.array([0, 0, 2]), 0.3, 600, 3))
    p_values = [found.contrast(*pair).p_value for pair in ("ab", "ac", "bc")]
    adjusted = holm(p_values)
    assert adjusted[0] > 0.05 > adjusted[1] >= p_values[1]
    assert found.models[0].name == "c"


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([], "expected at least two"),
        ([Comparison("a", "b", 1.0)], "expected at least two"),
        ([Comparison("a", "b", 1.0)] * 5, "in a ring"),
        ([Comparison("a", "b", 1.0)] * 5 + [Comparison("a", "b", 0.5)] * 3, "in a ring"),
        ([Comparison("a", "b", 0.5)] * 5, "in a ring"),
        ([Comparison("a", "b", o) for o in (1.0, 0.0)] + [Comparison("c", "a", 1.0)] * 2, "c: always won"),
        ([Comparison(*pair, o) for pair in ("ab", "cd") for o in (1.0, 0.0)], "never met the others"),
        ([Comparison("a", "a", 1.0)] * 2, "two models"),
        ([Comparison("a", "b", 0.7)] * 2, "outcome of 1, 0.5 or 0"),
        ([Comparison("a", "b", float("nan"))] * 2, "outcome of 1, 0.5 or 0"),
    ],
)
def test_what_has_no_most_likely_strengths_is_one_clear_line(rows: list[Comparison], said: str) -> None:
    with pytest.raises(ValueError, match=said) as raised:
        rank_models(rows)
    assert "\n" not in str(raised.value)


def test_a_model_that_only_ties_and_loses_is_ranked() -> None:
    rows = [Comparison("a", "b", o) for o in (1.0, 1.0, 0.0, 0.5)] + [Comparison("a", "c", o) for o in (1.0, 0.5, 0.5)]
    found = by_name(rows)
    assert np.isfinite(list(found.values())).all()
    with pytest.raises(ValueError, match="not ranked"):
        rank_models(rows).contrast("a", "d")
    with pytest.raises(ValueError, match="one item a comparison"):
        rank_models(rows, [1, 2])
    with pytest.raises(ValueError, match="1 items"):
        rank_models(rows, [1] * len(rows))
