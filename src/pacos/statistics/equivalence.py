"""Equivalence: what "on par" has to pass. That no difference was found is not it."""

from dataclasses import dataclass

from scipy.stats import norm, t

from pacos.statistics.clusters import Estimate
from pacos.statistics.proportions import Interval
from pacos.statistics.win_rates import score_statistic, win_rate


@dataclass(frozen=True)
class Equivalence:
    """The outcome of two one-sided tests. `interval` has confidence 1 - 2 alpha, and lies inside the margin where
    `equivalent` is true: the two say the same."""

    margin: float
    p_value: float
    equivalent: bool
    interval: Interval


def equivalence_test(wins: int, losses: int, ties: int = 0, *, margin: float, alpha: float = 0.05) -> Equivalence:
    """Whether the win rate, ties as half, is shown to be within `margin` (a share: 0.05 is five points) of 0.5.

    Two one-sided tests (Schuirmann, Journal of Pharmacokinetics and Biopharmaceutics 15, 1987, 657-680), each Tango's
    score test over independent items; the p-value is the larger. Choose the margin before the votes.
    Raises ValueError for negative counts, no items, a margin outside (0, 0.5), or alpha outside (0, 0.5).
    """
    _check(margin, alpha)
    found = win_rate(wins, losses, ties, confidence=1 - 2 * alpha)
    if found is None:
        raise ValueError("no wins, losses or ties; an equivalence test needs at least one item")
    items = wins + losses + ties
    above = norm.sf(score_statistic(wins, losses, items, -2 * margin))
    below = norm.cdf(score_statistic(wins, losses, items, 2 * margin))
    p_value = float(max(above, below))
    return Equivalence(margin, p_value, p_value <= alpha, found.interval)


def clustered_equivalence_test(
    estimate: Estimate, *, margin: float, centre: float = 0.5, alpha: float = 0.05
) -> Equivalence:
    """Whether a mean of clustered votes is shown to be within `margin` of `centre`, by two one-sided t-tests.

    `estimate` is of `clustered_mean` or `clustered_win_rate` (centre 0.5), or of differences (centre 0).
    Raises ValueError for a margin or alpha as in `equivalence_test`, and for a standard error of 0: votes that are all
    alike say nothing of how they vary; give their counts by item to `equivalence_test`.
    """
    _check(margin, alpha)
    error, freedom = estimate.standard_error, estimate.degrees_of_freedom
    if not error > 0:
        raise ValueError(f"standard error {error}; votes that are all alike do not say how much votes vary")
    distance = estimate.value - centre
    p_value = float(max(t.sf((distance + margin) / error, freedom), t.cdf((distance - margin) / error, freedom)))
    reach = float(t.ppf(1 - alpha, freedom)) * error
    return Equivalence(margin, p_value, p_value <= alpha, Interval(estimate.value - reach, estimate.value + reach))


def _check(margin: float, alpha: float) -> None:
    if not (0 < margin < 0.5 and 0 < alpha < 0.5):
        raise ValueError(f"margin {margin}, alpha {alpha}; expected both over 0 and under 0.5")
