"""Evidence that may be looked at after every vote, and acted on.

A fixed test's 5% holds for one look that was planned. These hold for any number of looks at any moments, at the price
of wider intervals. Votes come one an item: a second vote on one item is no new evidence of the same strength, so
several are first made one verdict. Ties and skips are left out, and may be: where neither model is better, decisive
votes are still as likely for the one as for the other.
"""

from math import exp, inf, log

from scipy.optimize import brentq
from scipy.special import betaln

from pacos.statistics.proportions import Interval, upper_level


def sequential_evidence(wins: int, losses: int, preference: float = 0.5) -> float:
    """The e-value against wins being `preference` of decisive votes: 20 or more is evidence at 5%, at any moment.

    The beta-binomial mixture with a uniform prior, B(1 + wins, 1 + losses) / (p^wins (1 - p)^losses): a martingale that
    starts at 1, and so by Ville's inequality ever reaches 1/alpha with a chance of at most alpha (Robbins, Annals of
    Mathematical Statistics 41, 1970, 1397-1409). Infinite where it is too large for a float. Raises ValueError for
    negative counts or a preference outside (0, 1).
    """
    if not 0 < preference < 1:
        raise ValueError(f"preference {preference}; expected between 0 and 1")
    value = _log_evidence(wins, losses, preference)
    return exp(value) if value < 709 else inf


def sequential_p_value(wins: int, losses: int) -> float:
    """A p-value that may be read at any moment: 1 / e, at most 1. Errors as for `sequential_evidence`."""
    return min(1.0, exp(-_log_evidence(wins, losses, 0.5)))


def sequential_interval(wins: int, losses: int, confidence: float = 0.95) -> Interval:
    """The preferences that `sequential_evidence` has not refuted: with the chance `confidence` the truth is in all such
    intervals of a study at once, however often one looks. (0, 1) before the first vote.

    Stop when it excludes 0.5 (a difference is shown), or lies within a margin of 0.5 (the two are shown on par).
    Raises ValueError for negative counts.
    """
    _no_negative(wins, losses)
    limit = -log(2 - 2 * upper_level(confidence))

    def excess(preference: float) -> float:
        return _log_evidence(wins, losses, preference) - limit

    votes, edge = wins + losses, 1e-15
    # With no loss, or no win, the evidence is a power of the preference alone.
    reach = exp((-log(votes + 1) - limit) / votes) if votes else 0.0
    if not wins or not losses:
        return Interval(reach if wins else 0.0, 1 - reach if losses else 1.0)
    best = wins / votes
    return Interval(float(brentq(excess, edge, best)), float(brentq(excess, best, 1 - edge)))


def _log_evidence(wins: int, losses: int, preference: float) -> float:
    _no_negative(wins, losses)
    return float(betaln(1 + wins, 1 + losses)) - wins * log(preference) - losses * log(1 - preference)


def _no_negative(wins: int, losses: int) -> None:
    if not (wins >= 0 and losses >= 0):
        raise ValueError(f"wins {wins}, losses {losses}; expected no negative count")
