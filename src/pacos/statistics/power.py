"""How many items a study needs, before it starts. Items are independent, one verdict each; for several votes an item
multiply by `design_effect`."""

from math import ceil, sqrt

import numpy as np
from scipy.optimize import brentq
from scipy.stats import binom, norm


def sign_test_power(items: int, preference: float, ties: float = 0.0, alpha: float = 0.05) -> float:
    """The exact chance that the two-sided sign test finds a difference at level `alpha`.

    `preference` is the true share of wins among decisive verdicts, `ties` the true share of ties among all, which the
    test leaves out: their number is random. Raises ValueError for shares outside [0, 1] or negative counts.
    """
    _check(items, preference, ties, alpha)
    decisive, chances = _decisive(items, ties)
    return float(_found(decisive, preference, alpha) @ chances)


def _decisive(items: int, ties: float) -> tuple[np.ndarray, np.ndarray]:
    """The numbers of decisive verdicts that may come, and the chance of each; all but 1e-11 of them."""
    expected, spread = items * (1 - ties), 7 * sqrt(items * ties * (1 - ties))
    numbers = np.arange(max(0, int(expected - spread)), min(items, ceil(expected + spread)) + 1)
    return numbers, binom.pmf(numbers, items, 1 - ties)


def _found(decisive: np.ndarray, preference: float, alpha: float) -> np.ndarray:
    """The power by number of decisive verdicts."""
    # The largest number of losses, or of wins, that is still too few to be chance.
    critical = binom.ppf(alpha / 2, decisive, 0.5)
    critical = np.where(binom.cdf(critical, decisive, 0.5) > alpha / 2, critical - 1, critical)
    return binom.cdf(critical, decisive, preference) + binom.cdf(critical, decisive, 1 - preference)  # type: ignore[no-any-return]


def items_to_tell_apart(preference: float, ties: float = 0.0, *, power: float = 0.8, alpha: float = 0.05) -> int:
    """The least number of items from which on the sign test keeps `power`, arguments as for `sign_test_power`.

    From which on: the power of an exact test falls a little where its threshold steps. Raises ValueError where
    `preference` is 0.5, ties are 1, or an argument is no share.
    """
    _check(1, preference, ties, alpha, power)
    if preference == 0.5 or ties == 1:
        raise ValueError(f"preference {preference}, ties {ties}; no number of items tells equals apart")
    gain = abs(preference - 0.5)
    deviations = norm.ppf(1 - alpha / 2) / 2 + norm.ppf(power) * sqrt(preference * (1 - preference))
    guess = (deviations / gain) ** 2 / (1 - ties)
    candidates = range(max(1, int(guess * 0.9) - 10), int(guess * 1.2) + 40)
    found = _found(np.arange(candidates[-1] + 1), preference, alpha)
    for items in reversed(candidates):
        decisive, chances = _decisive(items, ties)
        if found[decisive] @ chances < power:
            return items + 1
    return candidates[0]


def detectable_preference(items: int, ties: float = 0.0, *, power: float = 0.8, alpha: float = 0.05) -> float:
    """The least preference over 0.5 that `items` find with `power`; NaN where not even 1 is found."""
    _check(items, 0.5, ties, alpha, power)

    def excess(preference: float) -> float:
        return sign_test_power(items, preference, ties, alpha) - power

    return float(brentq(excess, 0.5, 1.0)) if excess(1.0) > 0 else float("nan")


def equivalence_power(
    items: float, margin: float, ties: float = 0.0, *, rate: float = 0.5, alpha: float = 0.05
) -> float:
    """The chance that `equivalence_test` shows a true win `rate` (ties as half) to be within `margin` of 0.5.

    By the normal distribution, which is close where the expected counts are over ten (Chow, Shao and Wang, Sample Size
    Calculations in Clinical Research, 2008, section 4.2). Raises ValueError for what is no share, or a rate that such
    ties do not allow.
    """
    _check(items, rate, ties, alpha)
    gain = abs(rate - 0.5)
    if not 0 < margin < 0.5 or gain > (1 - ties) / 2:
        raise ValueError(f"margin {margin}, rate {rate}, ties {ties}; expected a margin under 0.5 and a possible rate")
    error = sqrt(max((1 - ties) / 4 - gain**2, 0.0) / items) if items else float("inf")
    if error == 0:
        return float(gain < margin)
    needed = norm.ppf(1 - alpha)
    return max(0.0, float(norm.cdf((margin - gain) / error - needed) - norm.cdf(needed - (margin + gain) / error)))


def items_for_equivalence(
    margin: float, ties: float = 0.0, *, rate: float = 0.5, power: float = 0.8, alpha: float = 0.05
) -> int:
    """The least number of items with which `equivalence_power` is at least `power`.

    ValueError where the true rate is not inside the margin, or as for `equivalence_power`.
    """
    _check(1, rate, ties, alpha, power)
    if abs(rate - 0.5) >= margin:
        raise ValueError(f"rate {rate} is not within {margin} of 0.5; no number of items shows that it is")

    def excess(items: float) -> float:
        return equivalence_power(items, margin, ties, rate=rate, alpha=alpha) - power

    most = 1.0
    while excess(most) < 0:
        most *= 2
    return ceil(brentq(excess, most / 2, most)) if most > 1 else 1


def design_effect(votes_per_item: float, correlation: float) -> float:
    """How many times as many votes are needed when `votes_per_item` votes on each item correlate by `correlation`.

    1 + (m - 1) rho (Kish, Survey Sampling, 1965, section 5.4): items = votes for independent items x effect / m.
    Raises ValueError for under one vote an item or a correlation outside [0, 1].
    """
    if votes_per_item < 1 or not 0 <= correlation <= 1:
        raise ValueError(f"{votes_per_item} votes an item, correlation {correlation}; expected at least 1, and 0 to 1")
    return 1 + (votes_per_item - 1) * correlation


def _check(items: float, preference: float, ties: float, alpha: float, power: float = 0.5) -> None:
    if not (items >= 0 and 0 <= preference <= 1 and 0 <= ties <= 1 and 0 < alpha < 1 and 0 < power < 1):
        raise ValueError(
            f"items {items}, rate {preference}, ties {ties}, alpha {alpha}, power {power}; expected no negative count, "
            "and shares between 0 and 1"
        )
