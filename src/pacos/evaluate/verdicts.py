"""From votes to verdicts, and from verdicts to wins and losses: the blinding is opened only in the second step."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import isnan

from pacos.evaluate.ballots import Ballot, Pair, Vote
from pacos.evaluate.outcomes import Outcome, PairOutcome, joint_outcome, majority, mean_vote, slot_effect
from pacos.evaluate.report import Pairwise, SlotEffect
from pacos.statistics import krippendorff_alpha, sign_test, wilson, win_rate


@dataclass(frozen=True)
class Verdict:
    """What one judge said of one pair over both orders; `preferred` is a blind answer id, None unless decided.

    `preference` is how far the judge prefers the first of `answers`, 0 to 1, the mean over both orders; None where one
    of them cannot be read.
    """

    item: str
    judge: str
    answers: tuple[str, str]
    ballots: tuple[str, str]
    outcome: Outcome
    preferred: str | None
    preference: float | None = None


def verdicts_of(ballots: Iterable[Ballot], votes: Iterable[Vote]) -> list[Verdict]:
    """One verdict a judge and pair of these ballots: an answer is preferred only where both orders prefer it."""
    by_id = {ballot.id: ballot for ballot in ballots}
    groups: dict[tuple[str, str, tuple[str, ...]], list[Vote]] = defaultdict(list)
    for vote in sorted(votes, key=lambda vote: vote.ballot):
        ballot = by_id[vote.ballot]
        groups[ballot.item, vote.voter, answers_of(ballot)].append(vote)
    return [_verdict(both, by_id) for _, both in sorted(groups.items(), key=lambda group: group[0])]


def answers_of(ballot: Ballot) -> tuple[str, str]:
    """The two answers in the order of their ids, which is the same for both orders of a pair."""
    return (min(ballot.answer_a, ballot.answer_b), max(ballot.answer_a, ballot.answer_b))


def _verdict(both: Sequence[Vote], by_id: Mapping[str, Ballot]) -> Verdict:
    first, second = both
    preferred = [_preferred(vote, by_id[vote.ballot]) for vote in both]
    outcome = joint_outcome(preferred)
    ballot = by_id[first.ballot]
    return Verdict(
        ballot.item,
        first.voter,
        answers_of(ballot),
        (first.ballot, second.ballot),
        outcome,
        preferred[0] if outcome == "decided" else None,
        _mean_preference(both, by_id),
    )


def _mean_preference(both: Sequence[Vote], by_id: Mapping[str, Ballot]) -> float | None:
    total = 0.0
    for vote in both:
        if vote.preference is None:
            return None
        ballot = by_id[vote.ballot]
        is_first = ballot.answer_a == answers_of(ballot)[0]
        total += vote.preference if is_first else 1 - vote.preference
    return total / len(both)


def _preferred(vote: Vote, ballot: Ballot) -> str:
    """An answer's id, "tie" or "unparsable"."""
    return {"A": ballot.answer_a, "B": ballot.answer_b}.get(vote.choice, vote.choice)


def pairwise(pairs: Sequence[Pair], verdicts: Iterable[Verdict]) -> Pairwise:
    """Counts the pairs' wins, losses and ties; several judges count as the majority of their parsable verdicts."""
    by_answers: dict[tuple[str, ...], list[Verdict]] = defaultdict(list)
    for verdict in verdicts:
        by_answers[verdict.answers].append(verdict)
    outcomes: Counter[PairOutcome] = Counter()
    conflicts, preferences = 0, []
    for pair in pairs:
        said = by_answers[tuple(sorted((pair.candidate, pair.baseline)))]
        outcome = majority([_of_candidate(verdict, pair) for verdict in said])
        outcomes[outcome] += 1
        conflicts += outcome == "tie" and any(verdict.outcome == "conflict" for verdict in said)
        first = pair.candidate < pair.baseline
        graded = [v.preference if first else 1 - v.preference for v in said if v.preference is not None]
        preferences += [sum(graded) / len(graded)] if graded else []
    wins, losses, ties = outcomes["win"], outcomes["loss"], outcomes["tie"]
    rate, decisive = win_rate(wins, losses, ties), wins + losses
    weighted_win_rate, weighted_interval = mean_vote(preferences, range(len(preferences)))
    return Pairwise(
        wins=wins,
        losses=losses,
        ties=ties,
        unparsable=outcomes["unparsable"],
        conflicts=conflicts,
        win_rate=rate.rate if rate else None,
        interval=rate.interval if rate else None,
        decisive_win_rate=wins / decisive if decisive else None,
        decisive_interval=wilson(wins, decisive),
        sign_test_p=sign_test(wins, losses),
        weighted_win_rate=weighted_win_rate,
        weighted_interval=weighted_interval,
    )


def _of_candidate(verdict: Verdict, pair: Pair) -> PairOutcome:
    if verdict.outcome == "unparsable":
        return "unparsable"
    return "tie" if verdict.preferred is None else "win" if verdict.preferred == pair.candidate else "loss"


def slot_effect_of(ballots: Iterable[Ballot], votes: Iterable[Vote]) -> SlotEffect:
    """The slot effect in one judge's votes on these ballots; a pair's two votes belong together."""
    by_id = {ballot.id: ballot for ballot in ballots}
    decisive = [vote for vote in votes if vote.choice in ("A", "B")]
    return slot_effect([vote.choice == "A" for vote in decisive], [answers_of(by_id[v.ballot]) for v in decisive])


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
