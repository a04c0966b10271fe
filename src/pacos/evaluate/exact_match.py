"""Exact match against known right answers, by skill, with chance shown and taken out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import mean

from pacos.engines.builtin.skills import SKILLS
from pacos.evaluate.answer_files import Answers
from pacos.evaluate.items import Item
from pacos.evaluate.report import SkillRow
from pacos.statistics import chance_corrected, wilson
from pacos.text.exact import is_exact


@dataclass(frozen=True)
class ExactMatch:
    """Shares of the `items` with a reference that were answered exactly, by model label; None where none has one."""

    items: int
    rates: dict[str, float | None]
    intervals: dict[str, tuple[float, float] | None]
    chance_corrected: dict[str, float | None]
    per_skill: list[SkillRow]


def exact_match(items: Sequence[Item], answers: Answers) -> ExactMatch:
    """Scores every model on the items with a reference: Wilson 95% intervals, items taken as independent.

    The chance-corrected value is the mean over items of (right - chance) / (1 - chance), chance being the skill's.
    """
    known = [item for item in items if item.reference]
    if not known:
        nothing = dict.fromkeys(answers)
        return ExactMatch(0, dict(nothing), dict(nothing), dict(nothing), [])
    right = {
        label: {item.id: is_exact(item.reference, given[item.id].text) for item in known}
        for label, given in answers.items()
    }
    rates = {label: mean(hits.values()) for label, hits in right.items()}
    intervals = {label: wilson(sum(hits.values()), len(known)) for label, hits in right.items()}
    corrected = {
        label: mean(chance_corrected(hits[item.id], _chance(item.skill)) for item in known)
        for label, hits in right.items()
    }
    return ExactMatch(len(known), dict(rates), dict(intervals), dict(corrected), _by_skill(known, right))


def _chance(skill: str) -> float:
    return SKILLS[skill].chance if skill in SKILLS else 0.0


def _by_skill(items: Sequence[Item], right: Mapping[str, Mapping[str, bool]]) -> list[SkillRow]:
    rows = []
    for skill in dict.fromkeys(item.skill for item in items):
        of_skill = [item.id for item in items if item.skill == skill]
        chance = _chance(skill)
        rates = {label: mean(hits[item] for item in of_skill) for label, hits in right.items()}
        corrected = {label: chance_corrected(rate, chance) for label, rate in rates.items()}
        group = SKILLS[skill].group if skill in SKILLS else ""
        rows.append(SkillRow(skill, group, len(of_skill), chance, rates, corrected))
    return rows
