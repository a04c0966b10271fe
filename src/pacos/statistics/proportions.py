"""One proportion: its intervals, the sign test, and accuracy with chance taken out."""

from math import sqrt
from typing import NamedTuple

from scipy.stats import binomtest


class Interval(NamedTuple):
    """A confidence interval; both ends are shares between 0 and 1."""

    low: float
    high: float


def wilson(successes: int, trials: int, confidence: float = 0.95) -> Interval | None:
    """Wilson's score interval of successes / trials (Wilson 1927, JASA 22), without continuity correction.

    The default for a proportion: its coverage is near nominal on average, even with few trials or near 0 and 1.
    Raises ValueError unless 0 <= successes <= trials; None where there are no trials.
    """
    return _proportion(successes, trials, confidence, "wilson")


def clopper_pearson(successes: int, trials: int, confidence: float = 0.95) -> Interval | None:
    """Clopper and Pearson's exact interval of successes / trials (Biometrika 26, 1934).

    Its coverage is never under nominal, so it is wider than Wilson's. Errors as for `wilson`.
    """
    return _proportion(successes, trials, confidence, "exact")


def _proportion(successes: int, trials: int, confidence: float, method: str) -> Interval | None:
    if not 0 <= successes <= trials:
        raise ValueError(f"{successes} successes of {trials} trials; expected 0 <= successes <= trials")
    upper_level(confidence)
    if trials == 0:
        return None
    low, high = binomtest(successes, trials).proportion_ci(confidence, method=method)
    return Interval(float(low), float(high))


def upper_level(confidence: float) -> float:
    """The level of the quantile that a two-sided interval reaches to. ValueError for a confidence outside (0, 1)."""
    if not 0 < confidence < 1:
        raise ValueError(f"confidence {confidence}; expected a share between 0 and 1, such as 0.95")
    return 0.5 + confidence / 2


def wilson_from_share(share: float, size: float, quantile: float) -> Interval:
    """Wilson's interval of a share of `size` independent trials, where neither need be a whole number."""
    weight = quantile**2 / size
    middle = (share + weight / 2) / (1 + weight)
    reach = sqrt(share * (1 - share) * weight + weight**2 / 4) / (1 + weight)
    return Interval(max(0.0, middle - reach), min(1.0, middle + reach))


def rate_difference(
    first: float, first_interval: tuple[float, float], second: float, second_interval: tuple[float, float]
) -> Interval:
    """The interval of second - first from the two rates' own intervals, whatever those take account of.

    Newcombe's square-and-add (Statistics in Medicine 17, 1998, method 10; Zou and Donner 2008). The rates are taken as
    independent: where both are of the same prompts it is rather too wide.
    """
    difference = second - first
    down = sqrt((second - second_interval[0]) ** 2 + (first_interval[1] - first) ** 2)
    up = sqrt((second_interval[1] - second) ** 2 + (first - first_interval[0]) ** 2)
    return Interval(max(-1.0, difference - down), min(1.0, difference + up))


def sign_test(wins: int, losses: int) -> float | None:
    """The two-sided exact p-value that wins and losses are equally likely; ties are left out (Dixon and Mood 1946).

    None where there is neither.
    """
    if wins + losses == 0:
        return None
    return float(binomtest(wins, wins + losses, 0.5).pvalue)


def chance_corrected(accuracy: float, chance: float) -> float:
    """(accuracy - chance) / (1 - chance): 0 for a guesser, 1 for no error, negative for worse than guessing.

    Raises ValueError where chance is not in [0, 1).
    """
    if not 0 <= chance < 1:
        raise ValueError(f"chance is {chance}; expected at least 0 and under 1")
    return (accuracy - chance) / (1 - chance)
