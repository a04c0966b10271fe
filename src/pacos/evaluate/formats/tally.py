"""What imported votes come to: win rates with intervals, agreement and the slot effect, by pacos's own statistics."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from math import isnan

from pacos.evaluate.formats.votes import (
    ANNOTATOR,
    VISITOR,
    NamedVerdict,
    NamedVote,
    cells,
    outcome_of,
    verdicts,
)
from pacos.evaluate.outcomes import slot_effect
from pacos.evaluate.report import SlotEffect
from pacos.statistics import (
    clustered_win_rate,
    cohen_kappa,
    krippendorff_alpha,
    sign_test,
    slot_effect_estimate,
    win_rate,
)


@dataclass(frozen=True)
class PairTally:
    """A candidate against a baseline, by the voters who were blind, or by those who saw the models' names.

    Counted are readable verdicts, one a voter and item; conflicts are among the ties. `win_rate` counts ties half; its
    95% interval is that of evaluate where every item has one verdict, and else takes items as drawn, and several people
    (visitors, annotators) as well. The weighted rate is the mean preference, graded verdicts as they are, and so is
    AlpacaEval's win rate; the standard error is its own. `first` is one verdict an item, the first voter's, as wins,
    losses and ties, which the exact sign test is of.
    """

    candidate: str
    baseline: str
    items: int
    voters: int
    wins: int
    losses: int
    ties: int
    conflicts: int
    unparsable: int
    win_rate: float | None
    interval: tuple[float, float] | None
    weighted_win_rate: float | None
    weighted_interval: tuple[float, float] | None
    standard_error: float | None
    first: tuple[int, int, int]
    sign_test_p: float | None
    is_blind: bool


@dataclass(frozen=True)
class VoterAgreement:
    """Of the blind votes, over the items that several voters judged: the first two's equal verdicts, Cohen's kappa of
    them, and Krippendorff's alpha of all; verdicts are for one model, for the other, or ties."""

    items: int
    equal: float | None
    kappa: float | None
    alpha: float | None


@dataclass(frozen=True)
class SlotTally:
    """How the answer shown first fares: its share of the decisive votes that were blind.

    `effect` is how much more a candidate wins where it is shown first, with its 95% interval over items; None where no
    item's order is known or all have the candidate in one place. Votes of unknown order are in none of these.
    """

    share: SlotEffect
    unknown: int
    effect: float | None
    interval: tuple[float, float] | None


@dataclass(frozen=True)
class Tally:
    """All of it; `votes` counts every vote, `replaced` those that their voter cast anew in a later record."""

    votes: int
    replaced: int
    voters: int
    items: int
    pairs: list[PairTally]
    agreement: VoterAgreement
    slot: SlotTally


def tally(votes: Sequence[NamedVote]) -> Tally:
    """Counts the last verdict of every voter on every pair; who saw the models' names is counted apart."""
    last = verdicts(votes)
    blind = [verdict for verdict in last if verdict.votes[0].is_blind]
    by_pair: dict[tuple[str, str, bool], list[NamedVerdict]] = {}
    for verdict in last:
        by_pair.setdefault((verdict.candidate, verdict.baseline, verdict.votes[0].is_blind), []).append(verdict)
    return Tally(
        votes=len(votes),
        replaced=len(votes) - sum(len(verdict.votes) for verdict in last),
        voters=len({verdict.voter for verdict in last}),
        items=len({verdict.item for verdict in last}),
        pairs=[_pair(own) for own in by_pair.values()],
        agreement=_agreement(blind),
        slot=_slot(blind),
    )


def judged_again(votes: Sequence[NamedVote]) -> int:
    """How many pairs a voter has judged in more than one record."""
    return sum(len(records) > 1 for records in cells(votes).values())


def _pair(own: Sequence[NamedVerdict]) -> PairTally:
    counted = [(each.item, each.value, each.outcome) for each in own if each.value is not None]
    items, values = [item for item, *_ in counted], [value for _, value, _ in counted]
    sides = [float(value > 0.5) if outcome == "decided" else 0.5 for _, value, outcome in counted]
    first: dict[str, float] = {}
    for item, side in zip(items, sides, strict=True):
        first.setdefault(item, side)
    (wins, losses, ties), one_each = _counts(sides), _counts(list(first.values()))
    rate = win_rate(wins, losses, ties)
    people = _people(own)
    is_plain = len(items) == len(first) and (people is None or len(set(people)) == len(people))
    interval = rate.interval if rate and is_plain else _interval(sides, items, people)
    weighted = clustered_win_rate(values, items, people) if len(first) > 1 else None
    return PairTally(
        candidate=own[0].candidate,
        baseline=own[0].baseline,
        items=len(first),
        voters=len({verdict.voter for verdict in own}),
        wins=wins,
        losses=losses,
        ties=ties,
        conflicts=sum(verdict.outcome == "conflict" for verdict in own),
        unparsable=len(own) - len(counted),
        win_rate=rate.rate if rate else None,
        interval=interval,
        weighted_win_rate=sum(values) / len(values) if values else None,
        weighted_interval=_interval(values, items, people),
        standard_error=weighted.standard_error if weighted else None,
        first=one_each,
        sign_test_p=sign_test(*one_each[:2]),
        is_blind=own[0].votes[0].is_blind,
    )


def _people(own: Sequence[NamedVerdict]) -> list[str] | None:
    """The voters of the readable verdicts, where they are several people, of whom others might have come; judges are
    those that were chosen."""
    voters = [verdict.voter for verdict in own if verdict.value is not None]
    are_people = all(voter.startswith((ANNOTATOR, VISITOR)) for voter in voters)
    return voters if are_people and len(set(voters)) > 1 else None


def _interval(
    values: Sequence[float], items: Sequence[str], people: Sequence[str] | None
) -> tuple[float, float] | None:
    return clustered_win_rate(values, items, people).interval if len(set(items)) > 1 else None


def _counts(values: Sequence[float]) -> tuple[int, int, int]:
    outcomes = Counter(map(outcome_of, values))
    return outcomes["win"], outcomes["loss"], outcomes["tie"]


def _agreement(last: Sequence[NamedVerdict]) -> VoterAgreement:
    units: dict[tuple[str, str, str], list[str]] = {}
    for verdict in last:
        if verdict.value is not None:
            # Sides by name: which of the two is the candidate differs from source to source.
            one, other = sorted((verdict.candidate, verdict.baseline))
            won = verdict.candidate if verdict.value > 0.5 else verdict.baseline
            label = "tie" if verdict.value == 0.5 else str(int(won == other))
            units.setdefault((verdict.item, one, other), []).append(label)
    several = [unit for unit in units.values() if len(unit) > 1]
    if not several:
        return VoterAgreement(0, None, None, None)
    first, second = ([unit[place] for unit in several] for place in (0, 1))
    equal = sum(a == b for a, b in zip(first, second, strict=True)) / len(several)
    kappa, alpha = cohen_kappa(first, second), krippendorff_alpha(several)
    return VoterAgreement(len(several), equal, None if isnan(kappa) else kappa, None if isnan(alpha) else alpha)


def _slot(last: Sequence[NamedVerdict]) -> SlotTally:
    known = [(verdict, vote) for verdict in last for vote in verdict.votes if vote.is_order_known]
    won = [(vote, outcome_of(vote.value_for(vote.model_a))) for _, vote in known]
    decisive = [(says == "win", vote.item.id) for vote, says in won if says in ("win", "loss")]
    values, shown_first, items = [], [], []
    for verdict, vote in known:
        if (value := vote.value_for(verdict.candidate)) is not None:
            values.append(value)
            shown_first.append(vote.model_a == verdict.candidate)
            items.append(verdict.item)
    both = len(Counter(shown_first)) == 2 and len(set(items)) > 1
    estimate = slot_effect_estimate(values, shown_first, items) if both else None
    return SlotTally(
        share=slot_effect([first_won for first_won, _ in decisive], [item for _, item in decisive]),
        unknown=sum(len(verdict.votes) for verdict in last) - len(known),
        effect=estimate.value if estimate else None,
        interval=estimate.interval if estimate else None,
    )
