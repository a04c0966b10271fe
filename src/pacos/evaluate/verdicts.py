"""From votes to verdicts, and from verdicts to wins and losses: the blinding is opened only in the second step."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import isnan
from typing import Literal

from pacos.evaluate.ballots import Ballot, Pair, Vote
from pacos.statistics import Interval, krippendorff_alpha, sign_test, wilson, win_rate

Outcome = Literal["decided", "tie", "conflict", "unparsable"]


@dataclass(frozen=True)
class Verdict:
    """What one judge said of one pair over both orders; `preferred` is a blind answer id, None unless decided."""

    item: str
    judge: str
    answers: tuple[str, str]
    ballots: tuple[str, str]
    outcome: Outcome
    preferred: str | None


@dataclass(frozen=True)
class Pairwise:
    """A candidate against the baseline; ties count half in `win_rate`, whose 95% interval is Tango's.

    `conflicts` of the ties are items whose two orders disagreed; unparsable items are in none of the other counts.
    The decisive rate leaves ties out; its interval is Wilson's and its p-value the exact sign test's.
    """

    wins: int
    losses: int
    ties: int
    unparsable: int
    conflicts: int
    win_rate: float
    interval: Interval
    decisive_win_rate: float | None
    decisive_interval: Interval
    sign_test_p: float


@dataclass(frozen=True)
class SlotEffect:
    """How often the answer shown first won: the mean over pairs of its share of the pair's decisive votes.

    0.5 is no effect. `votes` counts the decisive votes; the 95% interval is Tango's, over pairs, since a pair's two
    votes belong together.
    """

    votes: int
    first_shown_win_rate: float | None
    interval: Interval


def verdicts_of(ballots: Iterable[Ballot], votes: Mapping[str, Vote]) -> list[Verdict]:
    """One verdict a judge and pair: an answer is preferred only where both orders prefer it."""
    groups: dict[tuple[str, str, tuple[str, ...]], list[Ballot]] = defaultdict(list)
    for ballot in ballots:
        groups[ballot.item, ballot.judge, tuple(sorted((ballot.answer_a, ballot.answer_b)))].append(ballot)
    return [_verdict(both, votes) for _, both in sorted(groups.items(), key=lambda group: group[0])]


def _verdict(both: Sequence[Ballot], votes: Mapping[str, Vote]) -> Verdict:
    first, second = both
    choices = [_choice(ballot, votes[ballot.id]) for ballot in both]
    outcome: Outcome
    if "unparsable" in choices:
        outcome = "unparsable"
    elif choices[0] != choices[1]:
        outcome = "conflict"
    else:
        outcome = "tie" if choices[0] == "tie" else "decided"
    answers = (min(first.answer_a, first.answer_b), max(first.answer_a, first.answer_b))
    preferred = choices[0] if outcome == "decided" else None
    return Verdict(first.item, first.judge, answers, (first.id, second.id), outcome, preferred)


def _choice(ballot: Ballot, vote: Vote) -> str:
    return {"A": ballot.answer_a, "B": ballot.answer_b}.get(vote.verdict, vote.verdict)


def pairwise(pairs: Sequence[Pair], verdicts: Iterable[Verdict]) -> Pairwise:
    """Counts the pairs' wins, losses and ties; several judges count as the majority of their parsable verdicts."""
    by_answers: dict[tuple[str, ...], list[Verdict]] = defaultdict(list)
    for verdict in verdicts:
        by_answers[verdict.answers].append(verdict)
    wins = losses = ties = unparsable = conflicts = 0
    for pair in pairs:
        said = by_answers[tuple(sorted((pair.candidate, pair.baseline)))]
        parsable = [verdict for verdict in said if verdict.outcome != "unparsable"]
        balance = sum((v.preferred == pair.candidate) - (v.preferred == pair.baseline) for v in parsable)
        unparsable += not parsable
        wins += balance > 0
        losses += balance < 0
        ties += bool(parsable) and balance == 0
        conflicts += bool(parsable) and balance == 0 and any(v.outcome == "conflict" for v in parsable)
    rate = win_rate(wins, losses, ties)
    decisive = wins + losses
    return Pairwise(
        wins=wins,
        losses=losses,
        ties=ties,
        unparsable=unparsable,
        conflicts=conflicts,
        win_rate=rate.rate,
        interval=rate.interval,
        decisive_win_rate=wins / decisive if decisive else None,
        decisive_interval=wilson(wins, decisive),
        sign_test_p=sign_test(wins, losses),
    )


def slot_effect(ballots: Iterable[Ballot], votes: Mapping[str, Vote]) -> SlotEffect:
    """The slot effect in one judge's votes on these ballots."""
    choices: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for ballot in ballots:
        choices[tuple(sorted((ballot.answer_a, ballot.answer_b)))].append(votes[ballot.id].verdict)
    balances = [both.count("A") - both.count("B") for both in choices.values() if "A" in both or "B" in both]
    first, second = sum(b > 0 for b in balances), sum(b < 0 for b in balances)
    rate = win_rate(first, second, len(balances) - first - second)
    num_votes = sum(verdict in ("A", "B") for both in choices.values() for verdict in both)
    return SlotEffect(num_votes, rate.rate if balances else None, rate.interval)


def judge_agreement(verdicts: Iterable[Verdict]) -> float | None:
    """Krippendorff's alpha of the judges' parsable verdicts; None with one judge or where it is not defined."""
    units: dict[tuple[str, str], list[str]] = defaultdict(list)
    for verdict in verdicts:
        if verdict.outcome == "unparsable":
            continue
        # Answers are told apart by the order of their ids, which is random: a winner's own frequency is not chance.
        side = "tie" if verdict.preferred is None else f"answer {verdict.answers.index(verdict.preferred)}"
        units[verdict.answers].append(side)
    alpha = krippendorff_alpha(units.values())
    return None if isnan(alpha) else alpha
