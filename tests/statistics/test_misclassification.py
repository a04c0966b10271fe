"""Rates corrected for a judge's errors."""

import numpy as np
import pytest
from statsmodels.stats.proportion import proportion_confint

from pacos.statistics import rogan_gladen

MANY = 10**12


def test_a_judge_without_error_changes_nothing() -> None:
    found = rogan_gladen(0.13, 200, (MANY, MANY), (MANY, MANY))
    assert found.rate == pytest.approx(0.13)
    low, high = proportion_confint(26, 200, method="agresti_coull")
    assert found.interval == pytest.approx((low, high), abs=1e-6)


def test_a_known_error_is_taken_out() -> None:
    # 0.2 * 0.9 + 0.8 * 0.1 = 0.26
    found = rogan_gladen(0.26, 1_000, (900, 1_000), (900, 1_000))
    assert found.rate == pytest.approx(0.2)
    assert (found.sensitivity, found.specificity) == (0.9, 0.9)
    assert found.interval.low < 0.2 < found.interval.high


def test_few_labels_widen_the_interval() -> None:
    few, many = (rogan_gladen(0.26, 1_000, (9 * n, 10 * n), (9 * n, 10 * n)).interval for n in (3, 300))
    assert few.low < many.low
    assert few.high > many.high


def test_what_false_alarms_explain_is_zero_and_says_so() -> None:
    found = rogan_gladen(0.02, 500, (80, 100), (90, 100))
    assert found.rate == 0
    assert found.unclipped == pytest.approx(-0.08 / 0.7)
    assert found.interval.low == 0
    assert found.interval.high > 0.02


def test_what_misses_explain_is_one_and_says_so() -> None:
    found = rogan_gladen(0.98, 500, (80, 100), (95, 100))
    assert found.rate == 1 < found.unclipped
    assert found.interval.low < 0.99
    assert found.interval.high == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((0.1, 100, (50, 100), (50, 100)), "not above 1"),
        ((0.1, 100, (0, 0), (5, 10)), "at least one label"),
        ((0.1, 100, (11, 10), (5, 10)), "no more found"),
        ((1.1, 100, (9, 10), (9, 10)), "between 0 and 1"),
        ((0.1, 0, (9, 10), (9, 10)), "verdicts"),
    ],
)
def test_what_cannot_be_corrected_is_refused(
    arguments: tuple[float, float, tuple[int, int], tuple[int, int]], said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        rogan_gladen(*arguments)


@pytest.mark.parametrize(
    ("rate", "found", "hits", "passed", "others"), [(0.1, 0.9, 100, 0.95, 200), (0.3, 0.75, 60, 0.9, 60)]
)
def test_intervals_cover(rate: float, found: float, hits: int, passed: float, others: int) -> None:
    generator, studies, inside = np.random.default_rng(0), 4_000, 0
    for _ in range(studies):
        observed = generator.binomial(400, rate * found + (1 - rate) * (1 - passed)) / 400
        labels = (int(generator.binomial(hits, found)), hits), (int(generator.binomial(others, passed)), others)
        interval = rogan_gladen(observed, 400, *labels).interval
        inside += interval.low <= rate <= interval.high
    assert 0.94 <= inside / studies <= 0.97
