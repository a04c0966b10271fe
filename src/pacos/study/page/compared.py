"""Who won: exact match and blind pairwise comparison with intervals, skills, and answers side by side."""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pacos.evaluate.answer_files import read_answers
from pacos.evaluate.items import read_or_make_items
from pacos.evaluate.judged_pairs import JudgedPairs, read_pairs
from pacos.evaluate.report import EvaluateReport, SkillRow
from pacos.statistics import Claim, claims
from pacos.study.page.comparison_plots import Judged, Measured, exact_match_plot, model_colours, pairwise_plot
from pacos.study.page.measures import Measures, measures
from pacos.study.page.run_files import RunFiles
from pacos.study.page.slices import Breakdown, Facet, breakdowns, facets
from pacos.study.page.svg import Plot
from pacos.study.page.trust import Trust, trust

MAIN, HARDER = "held-out items", "harder items"
ROLES = {"base": "Base (before)", "student": "Student (after)"}


@dataclass(frozen=True)
class SkillGroup:
    """Skills of one kind; `exact_match` is over all their items, by model label."""

    name: str
    items: int
    exact_match: dict[str, float]
    skills: list[SkillRow]


@dataclass(frozen=True)
class Shown:
    """One item with every model's label, role and answer; `right` is about the first candidate, None if not known."""

    skill: str
    instruction: str
    input: str
    answers: list[tuple[str, str, str]]
    reference: str
    right: bool | None


@dataclass(frozen=True)
class Compared:
    """What evaluate/ tells; `labels` are the models, the baseline (before) first, then the candidates (after).

    `claims` is by candidate, over the main items. `judged` are the pairs one by one, None where they were taken away.
    """

    report: EvaluateReport
    labels: list[str]
    colours: dict[str, str]
    measured: list[Measured]
    pairwise: list[Judged]
    groups: list[SkillGroup]
    num_skills: int
    examples: list[Shown]
    has_rule_based_judge: bool
    plots: list[Plot]
    claims: dict[str, Claim]
    judged: JudgedPairs | None
    facets: list[Facet]
    breakdowns: list[Breakdown]
    has_categories: bool
    trust: Trust
    measures: Measures


def compared(files: RunFiles) -> Compared | None:
    """Reads evaluate/; None where the stage is not finished."""
    report = files.evaluate
    if not report:
        return None
    labels = [report.baseline, *report.candidates]
    measured, pairs = _measured(report, labels), _judged(report)
    folder = files.path / "evaluate"
    judged = read_pairs(folder, report.baseline, report.candidates)
    cut = _cut_answers(folder, labels) if report.examples else set()
    parted = facets(judged, report.baseline, {row.skill: row.group for row in report.per_skill}) if judged else []
    skills = [row for row in report.per_skill if row.skill]
    return Compared(
        report=report,
        labels=labels,
        colours=model_colours(labels),
        measured=measured,
        pairwise=pairs,
        groups=_groups(skills, labels),
        num_skills=len(skills),
        examples=[_shown(example, labels, cut) for example in report.examples],
        has_rule_based_judge=any(judge.startswith("builtin:") for judge in report.judges),
        plots=_plots(measured, pairs, labels),
        claims=_claims(report),
        judged=judged,
        facets=parted,
        breakdowns=breakdowns(judged, report.candidates, parted) if judged else [],
        has_categories=any(facet.key == "category" for facet in parted),
        trust=trust(folder, report, judged.pairs if judged else ()),
        measures=measures(report),
    )


def role(label: str) -> str:
    """A model's label as a reader sees it."""
    return ROLES.get(label, label)


def _claims(report: EvaluateReport) -> dict[str, Claim]:
    counts = {label: each.main for label, each in report.comparisons.items()}
    judges = [f"{judge} ({'' if report.certified.get(judge) else 'not '}certified)" for judge in report.judges]
    who = judges[0] if len(judges) == 1 else f"the majority of {', '.join(judges[:-1])} and {judges[-1]}"
    uncertified = [judge for judge in report.judges if not report.certified.get(judge)]
    lacking = f"{' and '.join(uncertified)} {'is' if len(uncertified) == 1 else 'are'} not certified"
    return claims(
        {label: (each.wins, each.losses, each.ties) for label, each in counts.items()},
        report.baseline,
        f"blind in both orders by {who}",
        lacking=lacking if uncertified else "",
        unread={label: each.unparsable for label, each in counts.items()},
    )


def _measured(report: EvaluateReport, labels: Sequence[str]) -> list[Measured]:
    corrected = report.exact_match_chance_corrected
    return [
        Measured(label, role(label), items, count, rate, interval, corrected[label] if items == MAIN else None)
        for items, count, rates, intervals in (
            (MAIN, report.exact_match_items, report.exact_match, report.exact_match_intervals),
            (HARDER, report.exact_match_harder_items, report.exact_match_harder, report.exact_match_harder_intervals),
        )
        for label in labels
        if (rate := rates[label]) is not None and (interval := intervals[label])
    ]


def _judged(report: EvaluateReport) -> list[Judged]:
    return [
        Judged(label, items, counts)
        for label, comparison in report.comparisons.items()
        for items, counts in ((MAIN, comparison.main), (HARDER, comparison.harder))
        if counts
    ]


def _groups(skills: Sequence[SkillRow], labels: Sequence[str]) -> list[SkillGroup]:
    by_group: dict[str, list[SkillRow]] = defaultdict(list)
    for row in skills:
        by_group[row.group].append(row)
    groups = []
    for name, rows in by_group.items():
        items = sum(row.items for row in rows)
        rates = {label: sum(row.exact_match[label] * row.items for row in rows) / items for label in labels}
        ordered = sorted(rows, key=lambda row: (-row.exact_match[labels[1]], row.skill))
        groups.append(SkillGroup(name, items, rates, ordered))
    return groups


def _cut_answers(folder: Path, labels: Sequence[str]) -> set[tuple[str, str, str]]:
    """(label, instruction, input) of the answers that the length limit cut, as far as the folder still tells."""
    if not (folder / "items.jsonl").exists():
        return set()
    items = {item.id: (item.instruction, item.input) for item in read_or_make_items(folder / "items.jsonl", ())}
    cut: set[tuple[str, str, str]] = set()
    for label in labels:
        path = folder / "answers" / f"{label}.jsonl"
        if not path.exists():
            continue
        cut |= {(label, *items[a.item]) for a in read_answers(path) if a.finish_reason == "length" and a.item in items}
    return cut


def _shown(
    example: Mapping[str, str | bool | None], labels: Sequence[str], cut: Collection[tuple[str, str, str]]
) -> Shown:
    skill, instruction, context, reference = (
        str(example[key]) for key in ("skill", "instruction", "input", "reference")
    )
    answers = [
        (label, role(label), _ended(str(example[label]), (label, instruction, context) in cut)) for label in labels
    ]
    right = example["right"]
    return Shown(skill, instruction, context, answers, reference, None if right is None else bool(right))


def _ended(answer: str, is_cut: bool) -> str:
    """A cut answer ends in …, apart from a full stop before it, which would make four dots of the three."""
    text = answer.rstrip()
    return f"{text}{' ' if text.endswith('.') else ''}…" if is_cut else answer


def _plots(measured: Sequence[Measured], pairs: Sequence[Judged], labels: Sequence[str]) -> list[Plot]:
    plots = []
    if measured:
        plots.append(exact_match_plot(measured, labels))
    if judged := [pair for pair in pairs if pair.counts.judged]:
        plots.append(pairwise_plot(judged, labels[0]))
    return plots
