"""Who won: exact match and blind pairwise comparison with intervals, skills, and answers side by side."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pacos.study.page.comparison_plots import exact_match_plot, pairwise_plot
from pacos.study.page.outcomes import Measured, Pairwise
from pacos.study.page.run_files import RunFiles
from pacos.study.page.svg import Plot

FEW_SKILLS = 12
SETS = {"main": "held-out items", "harder": "harder items"}
ROLES = {"base": "Base (before)", "student": "Student (after)"}


@dataclass(frozen=True)
class SkillGroup:
    """Skills of one kind; `exact_match` is over all their items, by model label."""

    name: str
    items: int
    exact_match: dict[str, float]
    skills: list[Mapping[str, Any]]


@dataclass(frozen=True)
class Shown:
    """One item with every model's answer; `right` is about the first candidate, None where no answer is known."""

    skill: str
    instruction: str
    input: str
    answers: list[tuple[str, str]]
    reference: str
    right: bool | None


@dataclass(frozen=True)
class Compared:
    """The third section; `labels` are the models, the baseline (before) first, then the candidates (after)."""

    report: Mapping[str, Any]
    labels: list[str]
    measured: list[Measured]
    pairwise: list[Pairwise]
    groups: list[SkillGroup]
    num_skills: int
    fold_skills: bool
    examples: list[Shown]
    has_rule_based_judge: bool
    plots: list[Plot]


def compared(files: RunFiles) -> Compared | None:
    """Reads evaluate/; None where the stage is not finished."""
    stage = files.stages["evaluate"]
    if not stage.done:
        return None
    report = stage.report
    baseline = report.get("baseline", "base")
    labels = [baseline, *(report.get("candidates") or [name for name in report["exact_match"] if name != baseline])]
    measured, pairs = _measured(report, labels), _pairwise(report)
    skills = [row for row in report.get("per_skill", []) if row["skill"]]
    return Compared(
        report=report,
        labels=labels,
        measured=measured,
        pairwise=pairs,
        groups=_groups(skills, labels),
        num_skills=len(skills),
        fold_skills=len(skills) > FEW_SKILLS,
        examples=[_shown(example, labels) for example in report.get("examples", [])],
        has_rule_based_judge=any(str(judge).startswith("builtin:") for judge in report.get("judges", [])),
        plots=_plots(measured, pairs, labels),
    )


def role(label: str) -> str:
    """A model's label as a reader sees it."""
    return ROLES.get(label, label)


def _measured(report: Mapping[str, Any], labels: Sequence[str]) -> list[Measured]:
    rows = []
    for set, key, items in (("main", "exact_match", "items"), ("harder", "exact_match_harder", "items_harder")):
        rates, intervals = report.get(key) or {}, report.get(f"{key}_intervals") or {}
        corrected = (report.get("exact_match_chance_corrected") or {}) if set == "main" else {}
        for label in labels:
            if rates.get(label) is not None and intervals.get(label):
                low, high = intervals[label]
                rate, count = rates[label], report.get(items, 0)
                rows.append(Measured(label, role(label), SETS[set], count, rate, (low, high), corrected.get(label)))
    return rows


def _pairwise(report: Mapping[str, Any]) -> list[Pairwise]:
    comparisons = report.get("comparisons") or {"student": {"main": report.get("pairwise")}}
    return [
        Pairwise(label, SETS[set], counts)
        for label, sets in comparisons.items()
        for set, counts in sets.items()
        if counts and set in SETS
    ]


def _groups(skills: Sequence[Mapping[str, Any]], labels: Sequence[str]) -> list[SkillGroup]:
    by_group: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for row in skills:
        by_group[row.get("group") or "other"].append(row)
    groups = []
    for name, rows in by_group.items():
        items = sum(row["items"] for row in rows)
        rates = {label: sum(row["exact_match"][label] * row["items"] for row in rows) / items for label in labels}
        ordered = sorted(rows, key=lambda row: (-row["exact_match"][labels[1]], row["skill"]))
        groups.append(SkillGroup(name, items, rates, ordered))
    return groups


def _shown(example: Mapping[str, Any], labels: Sequence[str]) -> Shown:
    answers = [(label, str(example.get(label) or "")) for label in labels]
    instruction, input, reference = (str(example.get(key) or "") for key in ("instruction", "input", "reference"))
    return Shown(example.get("skill") or "", instruction, input, answers, reference, example.get("right"))


def _plots(measured: Sequence[Measured], pairs: Sequence[Pairwise], labels: Sequence[str]) -> list[Plot]:
    plots = []
    if measured:
        plots.append(exact_match_plot(measured, labels))
    if any(pair.judged for pair in pairs):
        plots.append(pairwise_plot([pair for pair in pairs if pair.judged], labels[0]))
    return plots
