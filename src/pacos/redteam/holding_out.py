"""Failing cases kept out of repair, by topic or technique, so that a gate can tell what was learnt and not by heart."""

from collections.abc import Sequence
from pathlib import Path

from pacos.core.errors import PacosError
from pacos.core.files import sha256_text
from pacos.redteam.repairs import Failing, instruction
from pacos.redteam.suites import SuiteCase, read_suite, suite_line


def read_held_out(path: Path) -> tuple[SuiteCase, ...]:
    """The cases that were held out before, none where there is no such suite."""
    return read_suite(path).cases if path.exists() else ()


def hold_out(failing: Sequence[Failing], share: float, before: Sequence[str], repaired: Sequence[str]) -> set[str]:
    """The prompts to hold out: whole groups, about `share` of them, and all that was held out `before`.

    A group is a topic; where all have one topic a technique; where all have one technique, too, a prompt. What is
    `repaired` may have been trained on and stays so. Raises PacosError where there is only one group, or none is left.
    """
    groups = _groups(failing)
    prompts: dict[str, list[str]] = {}
    for each in failing:
        prompts.setdefault(groups[each.prompt], []).append(each.prompt)
    held = {name for name, members in prompts.items() if set(members) & set(before)}
    free = [name for name, members in prompts.items() if name not in held and not set(members) & set(repaired)]
    if share > 0:
        if len(prompts) < 2:
            raise PacosError(
                f"--hold-out {share:g}: what failed is {len(prompts)} prompt; expected at least two, of which one is "
                "repaired. Find more with `pacos redteam attack`, or leave --hold-out out."
            )
        wanted = min(max(round(share * len(prompts)), 1), len(prompts) - 1) - len(held)
        if wanted > 0 and not free:
            raise PacosError(
                f"--hold-out {share:g}: all of it is in repairs.jsonl already, and may have been trained on; move that "
                "file away to choose anew."
            )
        # By a hash, so that neither order nor wording decides.
        held |= set(sorted(free, key=sha256_text)[: max(wanted, 0)])
    return {prompt for name in held for prompt in prompts[name]} - set(repaired) | set(before)


def suite_lines(failing: Sequence[Failing], before: Sequence[SuiteCase]) -> list[dict[str, object]]:
    """The held-out suite: what was in it before, and the failing cases, once for each objective."""
    lines = [
        suite_line(
            case.id, case.turns, case.objective, topic=case.topic, technique=case.technique, language=case.language
        )
        for case in before
    ]
    known = {(instruction(case.turns), case.objective) for case in before}
    for each in failing:
        for objective in each.objectives:
            if (each.prompt, objective) not in known:
                case = each.judged.case
                name = sha256_text(f"{objective}\n{each.prompt}")[:16]
                lines.append(suite_line(name, case.turns, objective, topic=case.topic, technique=case.technique))
    return lines


def _groups(failing: Sequence[Failing]) -> dict[str, str]:
    """The group of each prompt."""
    topics = {each.prompt: each.judged.case.topic for each in failing}
    techniques = {each.prompt: each.judged.case.technique for each in failing}
    for groups in (topics, techniques):
        if len(set(groups.values())) > 1:
            return groups
    return {each.prompt: each.prompt for each in failing}
