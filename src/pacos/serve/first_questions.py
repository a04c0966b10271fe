"""Questions to begin with: those that this very model answered exactly right when it was evaluated."""

from pathlib import Path
from typing import NamedTuple

from pacos.core.errors import PacosError
from pacos.core.files import read_json_lines
from pacos.engines.builtin.skills import SKILLS
from pacos.text.exact import is_exact

MOST_EXAMPLES = 4
MOST_CHARACTERS = 120


class Example(NamedTuple):
    """A question with the name of its skill, "" where it has none."""

    title: str
    question: str


def evaluated_examples(folder: Path, model_sha256: str) -> list[Example]:
    """At most four short ones of different kinds from a run's evaluate/; none where another model was asked there.

    A page without examples is still a page: files that are missing or damaged give none.
    """
    try:
        items = [value for _, value in read_json_lines(folder / "items.jsonl", "evaluation items")]
        replies = [value for _, value in read_json_lines(folder / "answers" / "student.jsonl", "answers")]
        answers = {each["item"]: each["text"] for each in replies if each["model_sha256"] == model_sha256}
        right = [each for each in items if each["reference"] and _is_right(each["reference"], answers.get(each["id"]))]
        return _varied([(each["skill"], _question(each["instruction"], each["input"])) for each in right])
    except (PacosError, OSError, KeyError, TypeError, AttributeError):
        return []


def _is_right(reference: str, answer: str | None) -> bool:
    return answer is not None and is_exact(reference, answer)


def _question(instruction: str, given: str) -> str:
    """As a person would type it; "" where the model would be given something else than when it was evaluated."""
    is_parted = "\n\n" in instruction.strip()
    return "" if is_parted else f"{instruction.strip()}\n\n{given.strip()}".strip()


def _varied(questions: list[tuple[str, str]]) -> list[Example]:
    """The shortest question of each skill, skills of groups not shown yet first."""
    short = [(skill, text) for skill, text in questions if 0 < len(text) <= MOST_CHARACTERS]
    pool = sorted(short, key=lambda pair: len(pair[1]))
    chosen: list[tuple[str, str]] = []
    while pool and len(chosen) < MOST_EXAMPLES:
        groups = {_group(skill) for skill, _ in chosen}
        choice = next((pair for pair in pool if _group(pair[0]) not in groups), pool[0])
        chosen.append(choice)
        # Questions from a file have no skill, and each is its own kind.
        pool = [pair for pair in pool if pair != choice and (not choice[0] or pair[0] != choice[0])]
    return [Example(skill.replace("_", " ").capitalize(), text) for skill, text in chosen]


def _group(skill: str) -> str:
    return SKILLS[skill].group if skill in SKILLS else skill
