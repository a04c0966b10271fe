"""Multiple choice without a judge: which of a question's choices does a model find likeliest?"""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pacos.core.data_files import read_data_file
from pacos.core.errors import PacosError
from pacos.core.records import refused
from pacos.evaluate.candidates import Candidate
from pacos.evaluate.likelihood import Form, Likelihoods, Passage, answer_passage
from pacos.evaluate.measurement import mean_of
from pacos.evaluate.report import MultipleChoice

BUILTIN = Path(__file__).parent / "questions" / "multiple_choice.jsonl"
EXPECTED = (
    "expected an object with question, a text, choices, two or more different texts, and answer, the place of the "
    "right one, counted from 0"
)


@dataclass(frozen=True)
class ChoiceQuestion:
    """A question with one right choice, at place `answer` of `choices`."""

    question: str
    choices: tuple[str, ...]
    answer: int
    topic: str

    @property
    def right(self) -> str:
        """The right choice."""
        return self.choices[self.answer]


def read_questions(file: str) -> list[ChoiceQuestion]:
    """The questions of a data file, or with "builtin" those that come along; what stands there twice counts once.

    PacosError for records that are none, and where the same question with the same choices has two right answers.
    """
    path = BUILTIN if file == "builtin" else Path(file)
    read = read_data_file(path, "multiple-choice questions")
    bad = list(read.broken)
    questions = []
    for number, value in read.values:
        question = _question(value)
        if question is None:
            bad.append((number, EXPECTED))
        else:
            questions.append(question)
    if bad:
        raise refused(path, read.unit, sorted(bad), len(read.values) + len(read.broken))
    if not questions:
        raise PacosError(f"{path}: holds no question; {EXPECTED}.")
    distinct: dict[tuple[str, frozenset[str]], ChoiceQuestion] = {}
    for question in questions:
        known = distinct.setdefault((question.question.strip(), frozenset(question.choices)), question)
        if known.right != question.right:
            raise PacosError(
                f"{path}: {question.question[:60]!r} stands there twice with different right answers "
                f"({known.right[:40]!r}, {question.right[:40]!r}); keep one."
            )
    if repeated := len(questions) - len(distinct):
        print(f"evaluate: {path}: {repeated:,} repeated questions count once", file=sys.stderr)
    return list(distinct.values())


def _question(value: Any) -> ChoiceQuestion | None:
    if not isinstance(value, dict):
        return None
    question, choices, answer = value.get("question"), value.get("choices"), str(value.get("answer"))
    if not isinstance(question, str) or not isinstance(choices, list) or not question.strip():
        return None
    are_texts = all(isinstance(choice, str) and choice.strip() for choice in choices)
    if not are_texts or len(choices) < 2 or len(set(choices)) < len(choices):
        return None
    # A number stands in a data file as it is spelt.
    if answer not in map(str, range(len(choices))):
        return None
    topic = value.get("topic")
    return ChoiceQuestion(question, tuple(choices), int(answer), topic if isinstance(topic, str) else "")


def choice_passages(candidate: Candidate, form: Form, questions: Sequence[ChoiceQuestion]) -> list[Passage]:
    """Every choice as an answer to its question; which others there are, is not shown."""
    return [
        answer_passage(candidate, _name(number, place), form, question.question, choice)
        for number, question in enumerate(questions)
        for place, choice in enumerate(question.choices)
    ]


def _name(question: int, choice: int) -> str:
    return f"choice {question}/{choice}"


def measure_choices(
    file: str,
    questions: Sequence[ChoiceQuestion],
    forms: Mapping[str, Form],
    found: Mapping[str, Likelihoods],
    baseline: str,
    seed: int,
) -> MultipleChoice:
    """Every model's accuracy on the questions that all could read, by label; lm-eval's acc and acc_norm."""
    absent = {label: each.absent for label, each in found.items() if each.absent}
    measured = {label: each for label, each in found.items() if not each.absent}
    read_by_all = [
        (number, question)
        for number, question in enumerate(questions)
        if all(_name(number, place) in each.of for each in measured.values() for place in range(len(question.choices)))
    ]
    right: dict[bool, dict[str, list[float]]] = {
        by_length: {
            label: [_is_right(number, question, each, by_length) for number, question in read_by_all]
            for label, each in measured.items()
        }
        for by_length in (False, True)
    }
    topics = dict.fromkeys(question.topic for _, question in read_by_all)
    at = {topic: [place for place, (_, q) in enumerate(read_by_all) if q.topic == topic] for topic in topics}
    return MultipleChoice(
        file=file,
        chance=sum(1 / len(question.choices) for _, question in read_by_all) / max(1, len(read_by_all)),
        acc=mean_of(right[False], baseline, seed),
        acc_norm=mean_of(right[True], baseline, seed),
        topic_items={topic: len(places) for topic, places in at.items()},
        by_topic={
            topic: {label: sum(hits[place] for place in places) / len(places) for label, hits in right[False].items()}
            for topic, places in at.items()
        },
        prompts={label: forms[label] for label in measured},
        absent=absent,
    )


def _is_right(number: int, question: ChoiceQuestion, found: Likelihoods, by_length: bool) -> float:
    """1 where the right choice is the likeliest, by character where `by_length`; of equals the first counts."""
    scores = [
        found.of[_name(number, place)].logprob / (len(choice) if by_length else 1)
        for place, choice in enumerate(question.choices)
    ]
    return float(scores.index(max(scores)) == question.answer)
