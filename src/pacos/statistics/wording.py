"""What a comparison allows to say: better, worse, on par, or that the data do not decide; and the sentence for it."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from pacos.statistics.equivalence import Equivalence, equivalence_test
from pacos.statistics.multiplicity import holm
from pacos.statistics.proportions import Interval, sign_test
from pacos.statistics.win_rates import WinRate, win_rate

ALPHA = 0.05
# Five points: 55 wins to 45. A constant, so that nobody chooses it after the votes.
MARGIN = 0.05

Finding = Literal["superior", "inferior", "on par", "undecided", "no data"]


@dataclass(frozen=True)
class Claim:
    """A finding, and `sentence`, which says it with all that it rests on. Without a verdict the estimates are None.

    The p-value is the sign test's, and `equivalence` two one-sided tests'; both are adjusted by Holm's procedure where
    several comparisons are claimed, `equivalence.equivalent` with them.
    """

    finding: Finding
    sentence: str
    estimate: WinRate | None
    p_value: float | None
    equivalence: Equivalence | None


def claims(
    counts: Mapping[str, tuple[int, int, int]],
    baseline: str,
    judged_by: str,
    margin: float = MARGIN,
    lacking: str = "",
    unread: Mapping[str, int] | None = None,
) -> dict[str, Claim]:
    """A claim on each candidate's (wins, losses, ties) of independent items against one baseline, at the 5% level.

    A candidate is better or worse only where the sign test says so and the win rate's 95% interval excludes one half.
    It is on par only where the equivalence test says so: that no difference was found is not it. `judged_by` ends the
    words "judged ...", such as "blind in both orders by gpt-4, a certified judge". Choose the margin before the votes.
    `lacking` is what these verdicts lack to show equivalence, such as "the judge is not certified": who calls
    everything a tie would show it of any two, so none is claimed then. `unread` are items without a verdict.
    Raises ValueError for negative counts or a margin outside (0, 0.5).
    """
    with_votes = [name for name, each in counts.items() if sum(each)]
    equivalences = {name: equivalence_test(*counts[name], margin=margin, alpha=ALPHA) for name in with_votes}
    # Ties alone leave the sign test nothing to count: no evidence of a difference.
    differences = {name: sign_test(*counts[name][:2]) for name in with_votes}
    adjusted = holm([1.0 if p is None else p for p in differences.values()])
    adjusted_equal = holm([each.p_value for each in equivalences.values()])
    found = {}
    for name, p_value, equal_p in zip(with_votes, adjusted, adjusted_equal, strict=True):
        plain = equivalences[name]
        equivalence = Equivalence(margin, equal_p, equal_p <= ALPHA, plain.interval)
        estimate = win_rate(*counts[name])
        assert estimate is not None
        finding = _finding(estimate.interval, p_value, equivalence)
        if lacking and equivalence.equivalent:
            equivalence = replace(equivalence, equivalent=False)
            opening = _opening(name, baseline, finding, equivalence)
            if finding == "on par":
                finding = "undecided"
                opening = f"Nothing shows whether {name} and {baseline} are on par, as {lacking}"
        else:
            opening = _opening(name, baseline, finding, equivalence)
        tests = _tests(p_value, equivalence, finding, len(with_votes), lacking)
        rests_on = _rests_on(counts[name], estimate, tests, (unread or {}).get(name, 0))
        sentence = f"{opening}: judged {judged_by}, {rests_on}."
        found[name] = Claim(finding, sentence, estimate, p_value, equivalence)
    return {name: found.get(name) or _no_data(name, baseline, judged_by) for name in counts}


def _finding(interval: Interval, p_value: float, equivalence: Equivalence) -> Finding:
    if p_value <= ALPHA and interval.low > 0.5:
        return "superior"
    if p_value <= ALPHA and interval.high < 0.5:
        return "inferior"
    return "on par" if equivalence.equivalent else "undecided"


def _opening(name: str, baseline: str, finding: Finding, equivalence: Equivalence) -> str:
    points = f"{100 * equivalence.margin:.3g} points"
    small = f", though by less than {points}" if equivalence.equivalent else ""
    return {
        "superior": f"{name} is better than {baseline}{small}",
        "inferior": f"{name} is worse than {baseline}{small}",
        "on par": f"{name} and {baseline} are on par within {points}",
    }.get(finding, f"The data do not decide between {name} and {baseline}")


def _tests(p_value: float, equivalence: Equivalence, finding: Finding, comparisons: int, lacking: str) -> str:
    corrected = f", Holm's correction for {comparisons} comparisons" if comparisons > 1 else ""
    sign = f"sign test {_p(p_value)}{corrected}"
    if finding not in ("on par", "undecided"):
        return sign
    within = f"equivalence within {100 * equivalence.margin:.3g} points"
    if lacking:
        return f"{sign}; {within} is not claimed, as {lacking}"
    is_shown = "is" if equivalence.equivalent else "is not"
    return f"{sign}; {within} {is_shown} shown, two one-sided tests {_p(equivalence.p_value)}{corrected}"


def _rests_on(counts: tuple[int, int, int], estimate: WinRate, tests: str, unread: int) -> str:
    wins, losses, ties = counts
    items = sum(counts)
    left_out = f", {unread:,} more had no readable verdict" if unread else ""
    return (
        f"a win rate of {estimate.rate:.1%} over {items:,} {'item' if items == 1 else 'items'}, ties counted as half "
        f"(95% interval {_ends(estimate.interval)}; {wins:,} won, {losses:,} lost, {ties:,} tied{left_out}; {tests})"
    )


def _no_data(name: str, baseline: str, judged_by: str) -> Claim:
    sentence = f"Nothing can be said of {name} against {baseline}: judged {judged_by}, no item has a readable verdict."
    return Claim("no data", sentence, None, None, None)


def _p(value: float) -> str:
    return "p < 0.001" if value < 0.001 else f"p = {value:.2g}" if value < 0.995 else "p = 1"


def _ends(interval: Interval) -> str:
    return f"{100 * interval.low:.1f} to {100 * interval.high:.1f}%"
