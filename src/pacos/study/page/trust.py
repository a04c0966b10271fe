"""How far the judges can be trusted: order, agreement with themselves, with each other and with people."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from math import isnan
from pathlib import Path

import pacos.evaluate.annotation.report
from pacos.evaluate.annotation.report import AnnotationReport
from pacos.evaluate.annotation.study_plan import FOLDER
from pacos.evaluate.judged_pairs import JudgedPair, ShownVerdict
from pacos.evaluate.outcomes import outcome_by
from pacos.evaluate.report import EvaluateReport, SlotEffect
from pacos.statistics import Claim, claims, krippendorff_alpha_interval, wilson


@dataclass(frozen=True)
class Share:
    """A share of `count` with its 95% interval by Wilson; None of nothing."""

    value: float | None
    interval: tuple[float, float] | None
    count: int


@dataclass(frozen=True)
class JudgeRow:
    """One judge: pairs it judged, those it was unreadable on, and of the rest the share where both orders agree."""

    judge: str
    is_certified: bool
    pairs: int
    unparsable: int
    consistent: Share
    slot_effect: SlotEffect


@dataclass(frozen=True)
class People:
    """A closed study with people; `claim` is over items, each by the majority of its votes."""

    report: AnnotationReport
    claim: Claim


@dataclass(frozen=True)
class Trust:
    """`agreements` are the shares of pairs on which two of the judges, or a judge and people, say the same.

    Alpha is Krippendorff's, of all judges.
    """

    judges: list[JudgeRow]
    agreements: list[tuple[str, str, Share]]
    alpha: float | None
    alpha_interval: tuple[float, float] | None
    people: People | None


def trust(folder: Path, report: EvaluateReport, pairs: Sequence[JudgedPair]) -> Trust:
    """Reads the study in a finished evaluate/, where one was closed."""
    people = _people(folder)
    agreements = [
        (one, other, _share([a.outcome == b.outcome for a, b in _both_read(pairs, one, other)]))
        for one, other in combinations(report.judges, 2)
    ]
    if people:
        agreements += [(judge, "people", _with_people(judge, pairs, people.report)) for judge in report.judges]
    return Trust(
        judges=[_judge(judge, report, pairs) for judge in report.judges if pairs],
        agreements=[row for row in agreements if row[2].count],
        alpha=report.judge_agreement,
        alpha_interval=_alpha_interval(pairs),
        people=people,
    )


def _share(hits: Sequence[bool]) -> Share:
    return Share(sum(hits) / len(hits) if hits else None, wilson(sum(hits), len(hits)), len(hits))


def _of(pair: JudgedPair, judge: str) -> ShownVerdict | None:
    return next((v for v in pair.verdicts if v.judge == judge and v.outcome != "unparsable"), None)


def _judge(judge: str, report: EvaluateReport, pairs: Sequence[JudgedPair]) -> JudgeRow:
    own = [verdict for pair in pairs for verdict in pair.verdicts if verdict.judge == judge]
    read = [verdict for verdict in own if verdict.outcome != "unparsable"]
    return JudgeRow(
        judge=judge,
        is_certified=report.certified.get(judge, False),
        pairs=len(own),
        unparsable=len(own) - len(read),
        consistent=_share([not verdict.is_conflict for verdict in read]),
        slot_effect=report.slot_effect[judge],
    )


def _both_read(pairs: Sequence[JudgedPair], one: str, other: str) -> list[tuple[ShownVerdict, ShownVerdict]]:
    both = [(_of(pair, one), _of(pair, other)) for pair in pairs]
    return [(a, b) for a, b in both if a and b]


def _alpha_interval(pairs: Sequence[JudgedPair]) -> tuple[float, float] | None:
    """Over verdicts as sides, told apart by the order of the blind ids: a winner's own frequency is not chance."""
    units: dict[tuple[str, str], list[str]] = defaultdict(list)
    for pair in pairs:
        for verdict in pair.verdicts:
            if verdict.outcome != "unparsable":
                is_first = (verdict.outcome == "win") == pair.sorts_first
                side = "tie" if verdict.outcome == "tie" else f"answer {0 if is_first else 1}"
                units[pair.candidate, pair.item.id].append(side)
    several = [unit for unit in units.values() if len(unit) > 1]
    if len(several) < 2:
        return None
    interval = krippendorff_alpha_interval(several)
    return None if isnan(interval.low) else interval


def _people(folder: Path) -> People | None:
    study = folder / FOLDER
    if not (study / "report.json").exists():
        return None
    report = pacos.evaluate.annotation.report.read(study)
    return People(report, claim_of(report))


def claim_of(report: AnnotationReport) -> Claim:
    """What people's votes allow to say: each item counts once, by the majority of its votes."""
    voted = [item for item in report.items if item.wins + item.losses + item.ties + item.both_bad]
    wins = sum(item.wins > item.losses for item in voted)
    losses = sum(item.wins < item.losses for item in voted)
    is_one = len(report.annotators) == 1
    judged_by = f"blind by {len(report.annotators):,} annotator{'' if is_one else 's'}"
    if report.attention_failed:
        checks = f"attention check{'' if report.attention_shown == 1 else 's'}"
        judged_by += f" who failed {report.attention_failed:,} of {report.attention_shown:,} {checks}"
    judged_by += "" if is_one else ", each item by the majority of its votes"
    counts = {report.candidate: (wins, losses, len(voted) - wins - losses)}
    return claims(counts, report.baseline, judged_by)[report.candidate]


def _with_people(judge: str, pairs: Sequence[JudgedPair], study: AnnotationReport) -> Share:
    """Over the items of the study; people's verdict is the majority of their votes, a tie where there is none."""
    said = {
        item.item: outcome_by(item.wins - item.losses)
        for item in study.items
        if item.wins + item.losses + item.ties + item.both_bad
    }
    return _share([
        verdict.outcome == said[pair.item.id]
        for pair in pairs
        if pair.candidate == study.candidate and pair.item.id in said and (verdict := _of(pair, judge))
    ])  # fmt: skip
