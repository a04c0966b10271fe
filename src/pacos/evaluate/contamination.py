"""Contamination of this evaluation: how many of its items does the training data give away?"""

from collections.abc import Sequence
from dataclasses import dataclass

from pacos.core.records import Example
from pacos.evaluate.items import Item
from pacos.evaluate.report import Contaminated
from pacos.evaluate.training_data import TrainingSplit
from pacos.text import Contamination, Novelty, unicode_tokens
from pacos.text.contamination import NEAR

MOST_SHOWN = 120


@dataclass(frozen=True)
class EvaluationSet:
    """What is asked or measured, item by item; `are_questions` where an item may be near to a training question as a
    whole, and not only share a passage with the training data, as answers and texts may."""

    name: str
    texts: Sequence[str]
    are_questions: bool = True


def contaminated(sets: Sequence[EvaluationSet], split: TrainingSplit) -> list[Contaminated]:
    """A row for every evaluation set against the examples that the run's student was trained on."""
    pool = Novelty(NEAR, unicode_tokens)
    for question in dict.fromkeys(question_text(example) for example in split.trained):
        pool.add(question)
    return [_row(each, split, pool) for each in sets]


def question_text(asked: Example | Item) -> str:
    """A question as one text."""
    return f"{asked.instruction}\n{asked.input}".strip()


def _row(of: EvaluationSet, split: TrainingSplit, pool: Novelty) -> Contaminated:
    guarded, shared = Contamination(), set[str]()
    for text in of.texts:
        guarded.add(Example(text, "", ""), of.name)
    for example in split.trained:
        shared |= guarded.overlapping(example)
    near = {text for text in dict.fromkeys(of.texts) if of.are_questions and not pool.is_novel(text)}
    either = [text for text in of.texts if text in near or text.strip() in shared]
    return Contaminated(
        evaluation=of.name,
        items=len(of.texts),
        training=split.name,
        examples=len(split.trained),
        near=sum(text in near for text in of.texts),
        overlap=sum(text.strip() in shared for text in of.texts),
        given_away=len(either),
        first=either[0][:MOST_SHOWN] if either else "",
    )
