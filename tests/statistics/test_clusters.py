"""Clustered means against other software, closed forms and simulation."""

import numpy as np
import pytest
import statsmodels.api as sm
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import t

from pacos.statistics import (
    bootstrap_interval,
    clustered_mean,
    clustered_win_rate,
    slot_effect_estimate,
    wilson,
)

VOTE = st.sampled_from([0.0, 0.5, 1.0])
SMALL = st.integers(2, 6)


@st.composite
def crossed(draw: st.DrawFn) -> tuple[list[float], list[int], list[str]]:
    """Votes, items and annotators, at most one vote a cell, at least two of each."""
    cells = draw(st.lists(st.tuples(st.integers(0, 5), st.sampled_from("abcd")), min_size=2, max_size=24, unique=True))
    cells += [(6, "e"), (7, "f")]
    return [draw(VOTE) for _ in cells], [item for item, _ in cells], [annotator for _, annotator in cells]


@settings(deadline=None)
@given(crossed())
def test_items_alone_is_the_cluster_robust_variance_of_statsmodels(
    study: tuple[list[float], list[int], list[str]],
) -> None:
    votes, items, _ = study
    _, codes = np.unique(items, return_inverse=True)
    model = sm.OLS(votes, np.ones(len(votes)))
    theirs = model.fit(cov_type="cluster", cov_kwds={"groups": codes, "use_correction": False}).bse[0]
    groups = len(set(items))
    found = clustered_mean(votes, items)
    assert found.value == pytest.approx(np.mean(votes))
    assert found.standard_error == pytest.approx(theirs * np.sqrt(groups / (groups - 1)), abs=1e-9)
    assert found.degrees_of_freedom == groups - 1


@settings(deadline=None)
@given(rows=SMALL, columns=SMALL, data=st.data())
def test_crossed_in_full_is_the_analysis_of_variance(rows: int, columns: int, data: st.DataObject) -> None:
    """Satterthwaite's combination of the mean squares of items, annotators and rest, with no negative component."""
    table = np.array(data.draw(st.lists(VOTE, min_size=rows * columns, max_size=rows * columns))).reshape(rows, columns)
    by_row, by_column, mean = table.mean(axis=1), table.mean(axis=0), table.mean()
    squares_rows = columns * ((by_row - mean) ** 2).sum() / (rows - 1)
    squares_columns = rows * ((by_column - mean) ** 2).sum() / (columns - 1)
    rest = table - by_row[:, None] - by_column + mean
    squares_rest = (rest**2).sum() / ((rows - 1) * (columns - 1))
    found = clustered_mean(table.ravel().tolist(), np.repeat(range(rows), columns), np.tile(range(columns), rows))
    if squares_rest <= min(squares_rows, squares_columns):
        variance = (squares_rows + squares_columns - squares_rest) / table.size
        assert found.standard_error**2 == pytest.approx(variance, abs=1e-12)
        freedom = (squares_rows + squares_columns - squares_rest) ** 2
        spread = squares_rows**2 / (rows - 1) + squares_columns**2 / (columns - 1)
        spread += squares_rest**2 / ((rows - 1) * (columns - 1))
        if spread > 1e-12:
            assert found.degrees_of_freedom == pytest.approx(freedom / spread)
    low, high = found.interval
    assert high - low == pytest.approx(2 * t.ppf(0.975, found.degrees_of_freedom) * found.standard_error)


@settings(deadline=None)
@given(study=crossed(), seed=st.integers(0, 9))
def test_order_and_names_say_nothing(study: tuple[list[float], list[int], list[str]], seed: int) -> None:
    votes, items, annotators = study
    order = np.random.default_rng(seed).permutation(len(votes))
    moved = clustered_mean([votes[i] for i in order], [-items[i] for i in order], [annotators[i] * 2 for i in order])
    found = clustered_mean(votes, items, annotators)
    assert moved.value == pytest.approx(found.value)
    assert moved.standard_error == pytest.approx(found.standard_error, abs=1e-7)
    # Other annotators add doubt, and take none away.
    assert found.standard_error >= clustered_mean(votes, items).standard_error * (1 - 1e-6)


def test_a_second_vote_of_one_annotator_on_one_item_is_no_second_annotator() -> None:
    votes, items, annotators = [1, 0, 0.5, 1, 0, 1], [0, 0, 1, 1, 2, 2], list("ababab")
    once = clustered_mean(votes, items, annotators)
    twice = clustered_mean(votes * 2, items * 2, annotators * 2)
    assert twice == once


@settings(deadline=None)
@given(crossed())
def test_a_win_rates_interval_stays_between_0_and_1(study: tuple[list[float], list[int], list[str]]) -> None:
    votes, items, annotators = study
    for found in (clustered_win_rate(votes, items), clustered_win_rate(votes, items, annotators)):
        assert 0 <= found.interval.low <= found.value + 1e-9
        assert found.value - 1e-9 <= found.interval.high <= 1


def test_one_vote_an_item_is_nearly_wilson() -> None:
    found = clustered_win_rate([1] * 90 + [0] * 89, range(179))
    assert found.interval == pytest.approx(wilson(90, 179), abs=0.002)


def test_all_wins_still_leave_doubt() -> None:
    found = clustered_win_rate([1.0] * 50, np.repeat(range(10), 5))
    # As ten votes would, not fifty.
    assert 0.6 < found.interval.low < 0.75
    assert found.interval.high == 1


def test_coverage_with_five_annotators_ties_and_clustered_items() -> None:
    """benchmarks/coverage.py is this at full size; here its error is 0.7 points."""
    generator = np.random.default_rng(11)
    items, studies = 80, 1000
    rows, columns = np.repeat(range(items), 5).tolist(), np.tile(range(5), items).tolist()
    covered = {"items": 0, "annotators": 0, "independent": 0}
    for _ in range(studies):
        scores = generator.normal(0, 0.8, (items, 1)) + generator.normal(0, 0.3, 5) + generator.normal(size=(items, 5))
        votes = np.where(np.abs(scores) < 0.25, 0.5, scores > 0).ravel()
        low, high = clustered_win_rate(votes, rows, columns).interval
        covered["annotators"] += low <= 0.5 <= high
        low, high = clustered_win_rate(votes, rows).interval
        covered["items"] += low <= 0.5 <= high
        low, high = clustered_win_rate(votes, range(len(votes))).interval
        covered["independent"] += low <= 0.5 <= high
    assert 0.925 <= covered["annotators"] / studies <= 0.975
    # Annotators that lean their own way are left out by the one, and everything by the other.
    assert covered["independent"] < covered["items"] < 0.85 * studies


def test_slot_effect_of_pairs_in_both_orders_is_the_paired_difference() -> None:
    generator = np.random.default_rng(2)
    first, second = generator.choice([0, 0.5, 1], size=(2, 60), p=[0.3, 0.2, 0.5])
    found = slot_effect_estimate(
        np.concatenate([first, second]).tolist(), [True] * 60 + [False] * 60, [*range(60), *range(60)]
    )
    paired = clustered_mean((first - second).tolist(), range(60))
    assert found.value == pytest.approx(paired.value)
    assert found.interval == pytest.approx(paired.interval)


def test_pigeonhole_bootstrap_is_wider_than_that_of_items() -> None:
    generator = np.random.default_rng(5)
    votes = (generator.normal(size=(50, 1)) + generator.normal(size=5) + generator.normal(size=(50, 5)) > 0).ravel()
    items, annotators = np.repeat(range(50), 5).tolist(), np.tile(range(5), 50).tolist()
    one = bootstrap_interval(votes.tolist(), items, resamples=1000)
    both = bootstrap_interval(votes.tolist(), items, annotators, resamples=1000)
    assert both.high - both.low > 1.2 * (one.high - one.low)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: clustered_mean([], []), "at least one"),
        (lambda: clustered_mean([1.0, float("nan")], [1, 2]), "1 of 2 votes are no finite number"),
        (lambda: clustered_mean([1.0, 0.0], [1, 1]), "of one item"),
        (lambda: clustered_mean([1.0, 0.0], [1, 2], ["ann", "ann"]), "of one annotator"),
        (lambda: clustered_mean([1.0, 0.0], [1]), "a label each"),
        (lambda: clustered_win_rate([1.0, 2.0], [1, 2]), "expected 1 for a win"),
        (lambda: slot_effect_estimate([1.0, 0.0], [True, True], [1, 2]), "both orders"),
        (lambda: bootstrap_interval([1.0, float("inf")]), "no finite number"),
        (lambda: bootstrap_interval([1.0, 0.0], [1, 1]), "of one item"),
        (lambda: bootstrap_interval([1.0, 0.0], [1, 2], ["ann", "ann"]), "of one annotator"),
    ],
)
def test_what_cannot_be_estimated_is_one_clear_line(call: object, said: str) -> None:
    with pytest.raises(ValueError, match=said) as raised:
        call()  # type: ignore[operator]
    assert "\n" not in str(raised.value)
