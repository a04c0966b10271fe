"""A rate that a fallible judge counted, corrected for the errors it is known to make."""

from dataclasses import dataclass
from math import sqrt

from scipy.stats import norm

from pacos.statistics.proportions import Interval, upper_level, wilson_from_share


@dataclass(frozen=True)
class CorrectedRate:
    """`rate` lies in [0, 1]; `unclipped` is what the correction gave, which may not: then the judge's errors alone
    would explain what it counted, or its errors are others here than where they were measured. `observed` is the rate
    as the judge counted it, and `interval` is of the corrected rate."""

    rate: float
    interval: Interval
    unclipped: float
    observed: float
    sensitivity: float
    specificity: float


def rogan_gladen(
    observed: float,
    size: float,
    sensitivity: tuple[int, int],
    specificity: tuple[int, int],
    *,
    confidence: float = 0.95,
) -> CorrectedRate:
    """(observed + specificity - 1) / (sensitivity + specificity - 1) (Rogan and Gladen, AJE 107, 1978, 71-76).

    `observed` is a share of `size` independent verdicts; where they are clustered, give the size with which they count,
    observed * (1 - observed) / standard_error**2. `sensitivity` is (found, of so many hits by hand), `specificity`
    (passed, of so many others by hand): that they are estimates, too, is in the interval (Lang and Reiczigel,
    Preventive Veterinary Medicine 113, 2014, 13-22). Raises ValueError where a count or share cannot be, and where
    sensitivity + specificity is not above 1: no correction makes a rate of such a judge's verdicts.
    """
    for what, (right, labels) in {"sensitivity": sensitivity, "specificity": specificity}.items():
        if not 0 <= right <= labels or labels == 0:
            raise ValueError(f"{what} of {right} in {labels} labels; expected at least one label, and no more found")
    if not 0 <= observed <= 1 or not size > 0:
        raise ValueError(f"a rate of {observed} in {size} verdicts; expected a share between 0 and 1, and verdicts")
    found, passed = sensitivity[0] / sensitivity[1], specificity[0] / specificity[1]
    if found + passed <= 1:
        raise ValueError(
            f"sensitivity {found:.3f} + specificity {passed:.3f} is not above 1; no rate can be had from such a judge"
        )
    unclipped = (observed + passed - 1) / (found + passed - 1)
    interval = _lang_reiczigel(observed, size, sensitivity, specificity, float(norm.ppf(upper_level(confidence))))
    return CorrectedRate(min(max(unclipped, 0.0), 1.0), interval, unclipped, observed, found, passed)


def _lang_reiczigel(
    observed: float, size: float, sensitivity: tuple[int, int], specificity: tuple[int, int], z: float
) -> Interval:
    """All three shares are drawn towards one half, as Agresti and Coull do, before the delta method is used."""
    trials = size + z * z
    share = (observed * size + z * z / 2) / trials
    hits, others = sensitivity[1] + 2, specificity[1] + 2
    found, passed = (sensitivity[0] + 1) / hits, (specificity[0] + 1) / others
    skill = found + passed - 1
    if skill <= 0:
        return Interval(0.0, 1.0)
    rate = (share + passed - 1) / skill
    by_hits, by_others = found * (1 - found) / hits, passed * (1 - passed) / others
    shift = 2 * z * z * (rate * by_hits - (1 - rate) * by_others)
    reach = z * sqrt(share * (1 - share) / trials + rate**2 * by_hits + (1 - rate) ** 2 * by_others) / skill
    low, high = rate + shift - reach, rate + shift + reach
    # Wholly outside: the errors are others here than where they were measured. What is left to say is what the verdicts
    # say without the error that explains too much.
    plain = wilson_from_share(observed, size, z)
    high = plain.high / found if high <= 0 else high
    low = 1 - (1 - plain.low) / passed if low >= 1 else low
    return Interval(max(low, 0.0), min(high, 1.0))
