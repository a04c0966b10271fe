"""How well a judge did: shares with their 95% intervals, from its votes in both orders."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from math import isnan

from pacos.evaluate.certify.judge_tests import JudgeTest
from pacos.evaluate.verdicts import Verdict
from pacos.judging import Choice
from pacos.statistics import clustered_win_rate, cohen_kappa, wilson

Share = tuple[float, float] | None
BothOrders = tuple[Choice, Choice]
"""The vote where the better answer was shown as A, and the one where it was shown as B."""


@dataclass(frozen=True)
class JudgeScore:
    """Of `items` judged in both orders: how many votes were right, ties, unparsable, and what that comes to.

    `accuracy` is the share of right votes, ties counted half and unparsable ones as wrong; its interval knows that an
    item's two votes belong together. `consistent` items have the same readable vote in both orders.
    """

    items: int
    right: int
    ties: int
    unparsable: int
    both_right: int
    consistent: int
    accuracy: float | None
    accuracy_interval: Share
    consistency: float | None
    consistency_interval: Share


@dataclass(frozen=True)
class PeopleAgreement:
    """The judge's verdict (first, second, tie) against the people's majority on `pairs` with a readable verdict.

    `equal` is the share of equal ones, `kappa` Cohen's. `people_equal` is that of two people on one pair, over all
    `people_pairs` of their votes: what a second person would reach.
    """

    pairs: int
    equal: float | None
    equal_interval: Share
    kappa: float | None
    people_pairs: int
    people_equal: float | None
    people_equal_interval: Share


def score(votes: Sequence[BothOrders]) -> JudgeScore:
    """What a judge's votes on items with a known better answer come to."""
    sides = [(_side(shown_as_a, "A"), _side(shown_as_b, "B")) for shown_as_a, shown_as_b in votes]
    flat = [side for both in sides for side in both]
    worth = {"right": 1.0, "tie": 0.5, "wrong": 0.0, "unparsable": 0.0}
    consistent = sum(a == b != "unparsable" for a, b in sides)
    accuracy = interval = None
    if sides:
        accuracy = sum(worth[side] for side in flat) / len(flat)
    if len(sides) > 1:
        items = [number for number, _ in enumerate(sides) for _ in range(2)]
        interval = clustered_win_rate([worth[side] for side in flat], items).interval
    return JudgeScore(
        items=len(sides),
        right=flat.count("right"),
        ties=flat.count("tie"),
        unparsable=flat.count("unparsable"),
        both_right=sides.count(("right", "right")),
        consistent=consistent,
        accuracy=accuracy,
        accuracy_interval=interval,
        consistency=consistent / len(sides) if sides else None,
        consistency_interval=wilson(consistent, len(sides)),
    )


def _side(choice: Choice, better: Choice) -> str:
    return choice if choice in ("tie", "unparsable") else "right" if choice == better else "wrong"


def agreement_with_people(tests: Sequence[JudgeTest], verdicts: dict[str, Verdict]) -> PeopleAgreement:
    """The judge's verdicts, by item, against people's votes."""
    said, meant = [], []
    for test in tests:
        verdict = verdicts[test.item.id]
        if verdict.outcome != "unparsable":
            # Answers are told apart by ids that are random: which is better is then no label of its own.
            said.append(verdict.preferred or "tie")
            meant.append(test.answer_ids()[0] if test.is_decided else "tie")
            said[-1], meant[-1] = (
                side if side == "tie" else str(verdict.answers.index(side)) for side in (said[-1], meant[-1])
            )
    equal = sum(a == b for a, b in zip(said, meant, strict=True))
    both = [pair for test in tests for pair in combinations(test.people, 2)]
    people_equal = sum(a == b for a, b in both)
    kappa = cohen_kappa(said, meant) if said else float("nan")
    return PeopleAgreement(
        pairs=len(said),
        equal=equal / len(said) if said else None,
        equal_interval=wilson(equal, len(said)),
        kappa=None if isnan(kappa) else kappa,
        people_pairs=len(both),
        people_equal=people_equal / len(both) if both else None,
        people_equal_interval=wilson(people_equal, len(both)),
    )
