"""What votes on a pair come to: one voter's in both orders, several voters' by majority, and the slot effect in all."""

from collections import Counter
from collections.abc import Collection, Hashable, Sequence
from typing import Literal

from pacos.evaluate.report import SlotEffect
from pacos.statistics import Interval, clustered_win_rate, win_rate

PairOutcome = Literal["win", "loss", "tie", "unparsable"]
"""What is said of a candidate's answer against the baseline's."""
Outcome = Literal["decided", "tie", "conflict", "unparsable"]
"""What one voter's votes on a pair come to."""


def outcome_by(balance: float) -> PairOutcome:
    """A win where what speaks for the candidate, less what speaks against it, is above 0."""
    return "win" if balance > 0 else "loss" if balance < 0 else "tie"


def majority(outcomes: Collection[PairOutcome]) -> PairOutcome:
    """Of several voters, the majority of those that can be read."""
    said = [outcome for outcome in outcomes if outcome != "unparsable"]
    return outcome_by(said.count("win") - said.count("loss")) if said else "unparsable"


def joint_outcome(says: Collection[str]) -> Outcome:
    """One voter's votes on a pair, each "tie", "unparsable" or the name of the side that it is for."""
    if "unparsable" in says:
        return "unparsable"
    if len(set(says)) > 1:
        return "conflict"
    return "tie" if "tie" in says else "decided"


def mean_vote(values: Sequence[float], items: Sequence[Hashable]) -> tuple[float | None, Interval | None]:
    """The mean of votes with its 95% interval over items; None of nothing, and no interval from one item."""
    if not values:
        return None, None
    if len(set(items)) < 2:
        return sum(values) / len(values), None
    estimate = clustered_win_rate(values, items)
    return estimate.value, estimate.interval


def slot_effect(first_won: Sequence[bool], items: Sequence[Hashable]) -> SlotEffect:
    """Whether the answer shown first won each decisive vote, and the item or pair that it was on."""
    balances: Counter[Hashable] = Counter()
    for won, item in zip(first_won, items, strict=True):
        balances[item] += 1 if won else -1
    rate, interval = mean_vote(list(map(float, first_won)), items)
    if not any(balances.values()) and (balanced := win_rate(0, 0, len(balances))):
        # Each item speaks for both places alike: these are ties, and not votes that happen to be equal.
        interval = balanced.interval
    return SlotEffect(len(first_won), rate, interval)
