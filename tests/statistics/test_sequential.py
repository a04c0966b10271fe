"""Evidence that is looked at after every vote: its martingale, its error, its saving."""

import math
from functools import cache

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from pacos.statistics import sequential_evidence, sequential_interval, sequential_p_value

COUNT = st.integers(0, 300)
evidence = cache(sequential_evidence)


def stopped_at(votes: np.ndarray) -> int | None:
    """The first vote after which the evidence is 20."""
    wins = 0
    for number, vote in enumerate(votes.tolist(), start=1):
        wins += vote
        if evidence(wins, number - wins) >= 20:
            return number
    return None


def test_alpacas_published_comparison() -> None:
    assert [round(100 * end, 1) for end in sequential_interval(90, 89)] == [38.2, 62.3]


@given(wins=COUNT, losses=COUNT, preference=st.floats(0.05, 0.95))
def test_the_next_vote_is_expected_to_leave_the_evidence_as_it_is(wins: int, losses: int, preference: float) -> None:
    now = sequential_evidence(wins, losses, preference)
    assume(1e-200 < now < 1e200)
    after = preference * sequential_evidence(wins + 1, losses, preference)
    after += (1 - preference) * sequential_evidence(wins, losses + 1, preference)
    assert after == pytest.approx(now, rel=1e-9)
    assert sequential_evidence(0, 0, preference) == 1


@given(wins=COUNT, losses=COUNT, confidence=st.sampled_from([0.8, 0.95, 0.99]))
def test_the_intervals_ends_are_where_the_evidence_is_enough(wins: int, losses: int, confidence: float) -> None:
    low, high = sequential_interval(wins, losses, confidence)
    mirrored = sequential_interval(losses, wins, confidence)
    assert (low, high) == pytest.approx((1 - mirrored.high, 1 - mirrored.low), abs=1e-9)
    for end in (low, high):
        if 1e-9 < end < 1 - 1e-9:
            assert math.log(sequential_evidence(wins, losses, end) * (1 - confidence)) == pytest.approx(0, abs=1e-6)
    if wins + losses:
        assert low <= wins / (wins + losses) <= high
    assert (sequential_p_value(wins, losses) <= 1 - confidence) == (not low <= 0.5 <= high)


def test_peeking_after_every_vote_errs_in_at_most_5_percent() -> None:
    votes = np.random.default_rng(6).random((3000, 400)) < 0.5
    error = np.mean([stopped_at(row) is not None for row in votes])
    # The bound is 5%; the standard error here is 0.4 points.
    assert 0.01 < error <= 0.05


def test_at_65_to_35_it_takes_at_most_60_percent_of_179_labels() -> None:
    votes = np.random.default_rng(7).random((2000, 2000)) < 0.65
    assert np.mean([stopped_at(row) for row in votes]) <= 0.6 * 179


def test_extremes() -> None:
    assert sequential_interval(0, 0) == (0, 1)
    assert sequential_evidence(5000, 0) == math.inf
    assert sequential_p_value(5000, 0) == 0
    assert sequential_p_value(0, 0) == 1


@pytest.mark.parametrize(
    "call",
    [
        lambda: sequential_evidence(-1, 2),
        lambda: sequential_interval(2, -1),
        lambda: sequential_p_value(-2, -1),
        lambda: sequential_evidence(1, 1, 0.0),
        lambda: sequential_evidence(1, 1, float("nan")),
    ],
)
def test_impossible_counts_are_refused(call: object) -> None:
    with pytest.raises(ValueError):
        call()  # type: ignore[operator]
