"""What the votes of a closed study come to: rates, intervals over items, agreement, order and attention."""

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Sequence
from itertools import combinations
from math import isnan
from statistics import median

from pacos.evaluate.annotation.report import Agreement, AnnotationReport, AnnotatorRow, ItemVotes, Ratings, VoteCounts
from pacos.evaluate.annotation.study_plan import LEVELS, Showing, StudyPlan
from pacos.evaluate.annotation.unblinding import HumanVote
from pacos.evaluate.annotation.vote_log import LogEvent
from pacos.evaluate.outcomes import mean_vote, slot_effect
from pacos.evaluate.report import SlotEffect
from pacos.statistics import krippendorff_alpha, sequential_p_value, sign_test

SCORES = {"win": 1.0, "tie": 0.5, "both bad": 0.5, "loss": 0.0}
ACCEPTABLE = ("A", "B")


def summarise(plan: StudyPlan, sha256: str, votes: Sequence[HumanVote], events: Sequence[LogEvent]) -> AnnotationReport:
    """All numbers of the report."""
    holding = [vote for vote in votes if not vote.is_undone]
    main = [vote for vote in holding if not vote.showing.is_attention]
    checks = [vote for vote in holding if vote.showing.is_attention]
    flagged = {each.item for each in plan.named_themselves}
    items = _items(main)
    # One verdict an item, by the majority of its votes: both tests take what they are fed as independent.
    won, lost = sum(i.wins > i.losses for i in items), sum(i.wins < i.losses for i in items)
    seconds = [_clamped(vote.seconds, plan) for vote in main if vote.seconds is not None]
    planned = sum(not showing.is_attention for showing in plan.showings)
    return AnnotationReport(
        mode=plan.mode,
        candidate=plan.candidate,
        baseline=plan.baseline,
        plan_sha256=sha256,
        closed=next(event.at for event in events if event.kind == "close"),
        planned=planned,
        cast=len(main),
        overlap=plan.overlap,
        main=_counts(main),
        unflagged=_counts([vote for vote in main if vote.showing.item not in flagged]),
        sign_test_p=sign_test(won, lost),
        sequential_p=sequential_p_value(won, lost) if won + lost else None,
        agreement=_agreement(_by_item(main, lambda vote: vote.says).values()),
        slot_effect=_slot_effect(main),
        annotators=[_annotator(plan, sequence, votes) for sequence in plan.sequences().values()],
        items=items,
        ratings=_ratings(plan, main) if plan.mode == "rating" else None,
        named_themselves=plan.named_themselves,
        attention_shown=len(checks),
        attention_failed=sum(vote.says == "loss" for vote in checks),
        median_seconds=round(median(seconds), 2) if seconds else None,
        max_seconds=plan.max_seconds,
        deviations=_deviations(plan, planned, main),
    )


def _counts(votes: Sequence[HumanVote]) -> VoteCounts:
    says = Counter(vote.says for vote in votes)
    scored = [vote for vote in votes if vote.says != "skip"]
    rate, interval = mean_vote([SCORES[vote.says] for vote in scored], [vote.showing.item for vote in scored])
    return VoteCounts(
        votes=len(scored),
        items=len({vote.showing.item for vote in scored}),
        wins=says["win"],
        losses=says["loss"],
        ties=says["tie"],
        both_bad=says["both bad"],
        skips=says["skip"],
        win_rate=rate,
        interval=interval,
    )


def _by_item(
    votes: Sequence[HumanVote], label: Callable[[HumanVote], str], without: Collection[str] = ("skip",)
) -> dict[str, list[str]]:
    """The labels of each item's votes; a skip is no label."""
    labels: dict[str, list[str]] = defaultdict(list)
    for vote in votes:
        if vote.says not in without:
            labels[vote.showing.item].append(label(vote))
    return labels


def _pairs(labels: Sequence[str]) -> list[bool]:
    return [one == other for one, other in combinations(labels, 2)]


def _agreement(units: Collection[Sequence[str]]) -> Agreement:
    equal = [each for unit in units for each in _pairs(unit)]
    alpha = krippendorff_alpha(units)
    return Agreement(len(equal), sum(equal) / len(equal) if equal else None, None if isnan(alpha) else alpha)


def _items(votes: Sequence[HumanVote]) -> list[ItemVotes]:
    """One row an item, in the order of their ids."""
    labels = _by_item(votes, lambda vote: vote.says, ())
    rows = []
    for item, says in sorted(labels.items()):
        of, pairs = Counter(says), _pairs([each for each in says if each != "skip"])
        equal = sum(pairs) / len(pairs) if pairs else None
        rows.append(ItemVotes(item, of["win"], of["loss"], of["tie"], of["both bad"], of["skip"], equal))
    return rows


def _slot_effect(votes: Sequence[HumanVote]) -> SlotEffect:
    decisive = [vote for vote in votes if vote.first_won is not None]
    return slot_effect([vote.first_won is True for vote in decisive], [vote.showing.item for vote in decisive])


def _annotator(plan: StudyPlan, sequence: Sequence[Showing], votes: Sequence[HumanVote]) -> AnnotatorRow:
    number = sequence[0].annotator
    own = [vote for vote in votes if vote.showing.annotator == number]
    holding = [vote for vote in own if not vote.is_undone]
    main = [vote for vote in holding if not vote.showing.is_attention]
    checks = [vote.says for vote in holding if vote.showing.is_attention]
    seconds = [vote.seconds for vote in main if vote.seconds is not None]
    return AnnotatorRow(
        annotator=number,
        planned=sum(not showing.is_attention for showing in sequence),
        votes=len(main),
        skips=sum(vote.says == "skip" for vote in main),
        undone=len(own) - len(holding),
        seconds=round(median(_clamped(each, plan) for each in seconds), 2) if seconds else None,
        clamped=sum(each > plan.max_seconds for each in seconds),
        first_shown_win_rate=_slot_effect(main).first_shown_win_rate,
        attention_shown=len(checks),
        attention_failed=checks.count("loss"),
        attention_undecided=sum(says in ("tie", "both bad", "skip") for says in checks),
    )


def _clamped(seconds: float, plan: StudyPlan) -> float:
    return min(seconds, plan.max_seconds)


def _ratings(plan: StudyPlan, votes: Sequence[HumanVote]) -> Ratings:
    """Each vote is two ratings: the level of the answer shown first, and of the second."""
    models = (plan.candidate, plan.baseline)
    rated: list[tuple[str, str, str]] = []
    for vote in votes:
        if vote.choice != "skip":
            shown = vote.showing.first.model, vote.showing.second.model
            rated += [(model, vote.showing.item, level) for model, level in zip(shown, vote.choice, strict=True)]
    units: dict[tuple[str, str], list[str]] = defaultdict(list)
    for model, item, level in rated:
        units[model, item].append(level)
    levels = {model: Counter(level for other, _, level in rated if other == model) for model in models}
    acceptable: dict[str, float] = {}
    intervals: dict[str, tuple[float, float]] = {}
    for model in models:
        own = [(item, float(level in ACCEPTABLE)) for other, item, level in rated if other == model]
        rate, interval = mean_vote([value for _, value in own], [item for item, _ in own])
        if rate is not None and interval is not None:
            acceptable[model], intervals[model] = rate, interval
    return Ratings(
        levels={model: {level: counts[level] for level in LEVELS} for model, counts in levels.items()},
        acceptable=acceptable,
        intervals=intervals,
        agreement=_agreement(units.values()),
        agreement_acceptable=_agreement([["AB" if x in ACCEPTABLE else "CD" for x in unit] for unit in units.values()]),
    )


def _deviations(plan: StudyPlan, planned: int, votes: Sequence[HumanVote]) -> list[str]:
    found = []
    if len(votes) < planned:
        found.append(f"Closed with {len(votes):,} of {planned:,} planned votes: the plan was to cast them all.")
    absent = [str(n) for n in range(1, plan.annotators + 1) if not any(v.showing.annotator == n for v in votes)]
    if absent:
        found.append(f"No vote by annotator{'s' * (len(absent) > 1)} {', '.join(absent)}.")
    return found
