"""Win rates of pairwise comparisons: counts of wins, losses and ties, or a judge's graded preferences."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

import numpy as np
from scipy.optimize import bisect
from scipy.stats import norm

from pacos.statistics.proportions import Interval, upper_level


@dataclass(frozen=True)
class WinRate:
    """A win rate with ties as half, and its interval; shares between 0 and 1."""

    rate: float
    interval: Interval


@dataclass(frozen=True)
class PreferenceEstimate:
    """The mean of graded preferences, as a share, with its standard error and the number of judgments."""

    rate: float
    standard_error: float
    count: int


def win_rate(wins: int, losses: int, ties: int = 0, confidence: float = 0.95) -> WinRate | None:
    """(wins + ties / 2) / n over independent items, with Tango's score interval.

    The rate is 1/2 + (wins - losses) / 2n, and (wins - losses) / n is a difference of paired proportions, for which
    Tango's interval (Statistics in Medicine 17, 1998, 891-908) inverts the score test, ties estimated under each
    hypothesis. Without ties it is Wilson's interval; with ties it is narrower, as it should be.
    Raises ValueError for negative counts; None where there are no items.
    """
    if not all(count >= 0 for count in (wins, losses, ties)):
        raise ValueError(f"wins {wins}, losses {losses}, ties {ties}; expected no negative count")
    items = wins + losses + ties
    if items == 0:
        return None
    estimate = (wins - losses) / items
    z = float(norm.ppf(upper_level(confidence)))
    # The interval's ends are where the score statistic, which falls as the hypothesis rises, crosses +z and -z.
    low = -1.0 if estimate == -1 else _crossing(wins, losses, items, -1.0, estimate, z)
    high = 1.0 if estimate == 1 else _crossing(wins, losses, items, estimate, 1.0, -z)
    return WinRate((1 + estimate) / 2, Interval((1 + low) / 2, (1 + high) / 2))


def _crossing(wins: int, losses: int, items: int, low: float, high: float, z: float) -> float:
    # Bisection, since the score is infinite at the ends; just inside them it has the right sign.
    edge = 1e-12

    def excess(difference: float) -> float:
        return score_statistic(wins, losses, items, difference) - z

    return float(bisect(excess, low + edge, high - edge, xtol=1e-12)) if high - low > 4 * edge else low


def score_statistic(wins: int, losses: int, items: int, difference: float) -> float:
    """The standardised distance of the counts from P(win) - P(loss) = difference, Tango's score."""
    # P(loss) is at its maximum-likelihood value under that hypothesis: the larger root of a quadratic (Tango, eq. 5).
    b = (2 * items - wins + losses) * difference - wins - losses
    c = -losses * difference * (1 - difference)
    loss = (sqrt(max(b * b - 8 * items * c, 0.0)) - b) / (4 * items)
    variance = items * (2 * loss + difference * (1 - difference))
    distance = wins - losses - items * difference
    return distance / sqrt(variance) if variance > 0 else float(np.copysign(np.inf, distance)) if distance else 0.0


def preference_win_rate(preferences: Sequence[float | None]) -> PreferenceEstimate:
    """AlpacaEval's win rate of graded preferences: 1 = the baseline wins, 2 = the model, between = unsure.

    0 is AlpacaEval's mark for a draw and counts as 1.5; None and NaN are left out. The standard error is
    sd (n - 1 in the denominator) / sqrt(n), which takes items as independent.
    Raises ValueError for a value outside [1, 2] or where nothing is left.
    """
    values = np.array([np.nan if p is None else p for p in preferences], dtype=float)
    values = values[~np.isnan(values)]
    values = np.where(values == 0, 1.5, values)
    if not len(values) or values.min() < 1 or values.max() > 2:
        raise ValueError("preferences must be 0 or between 1 and 2, and at least one must be given")
    wins = values - 1
    error = float(wins.std(ddof=1) / sqrt(len(wins))) if len(wins) > 1 else float("nan")
    return PreferenceEstimate(float(wins.mean()), error, len(wins))
