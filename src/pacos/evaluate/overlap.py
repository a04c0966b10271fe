"""How near open answers come to reference answers, without a judge: ROUGE-L."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean

from pacos.core.data_files import DataFile, read_data_file
from pacos.core.errors import PacosError
from pacos.core.records import Example, read_instructions, refused
from pacos.evaluate.answers import Answers
from pacos.evaluate.items import Item
from pacos.evaluate.report import RougeL
from pacos.statistics import Interval, bootstrap_interval
from pacos.text import rouge_l


def read_references(path: Path) -> dict[tuple[str, str], str]:
    """Answers by (instruction, input), stripped: of a data file of questions, or of Self-Instruct's predictions, which
    have a `response`; empty ones are left out.

    Raises PacosError for a file of neither shape, and for two answers to one question.
    """
    file = read_data_file(path, "reference answers")
    is_predictions = any(isinstance(value, dict) and "response" in value for _, value in file.values[:1])
    examples = _predictions(path, file) if is_predictions else read_instructions(path)
    answers: dict[tuple[str, str], str] = {}
    for each in examples:
        answer, question = each.output.strip(), _question(each.instruction, each.input)
        if answer and answers.setdefault(question, answer) != answer:
            raise PacosError(
                f"{path}: answers {each.instruction[:60]!r} twice and differently ({answers[question][:40]!r}, "
                f"{answer[:40]!r}); keep one answer each."
            )
    return answers


def _predictions(path: Path, file: DataFile) -> list[Example]:
    examples, bad = [], list(file.broken)
    for number, value in file.values:
        texts = [value.get(key) for key in ("instruction", "input", "response")] if isinstance(value, dict) else [None]
        if all(isinstance(text, str) for text in texts):
            examples.append(Example(*texts))
        else:
            expected = "expected an object with the texts instruction, input and response, as in Self-Instruct's"
            bad.append((number, f"{expected} predictions, not {json.dumps(value, default=str)[:60]}"))
    if bad:
        raise refused(path, file.unit, sorted(bad), len(file.values) + len(file.broken))
    return examples


def _question(instruction: str, context: str) -> tuple[str, str]:
    return instruction.strip(), context.strip()


def references_of(items: Sequence[Item], path: str) -> dict[str, str]:
    """By item id the answer that the file at `path` has, or without one the item's own where it comes from a file.

    Builtin tasks have one right answer each, of which exact match says more. PacosError where the file answers none.
    """
    if not path:
        return {item.id: item.reference for item in items if item.reference and not item.skill}
    answers = read_references(Path(path))
    questions = {item.id: _question(item.instruction, item.input) for item in items}
    found = {item: answers[question] for item, question in questions.items() if question in answers}
    if not found:
        raise PacosError(
            f"evaluate.references {path}: answers none of the {len(items):,} items; "
            "expected answers to the very questions in evaluate.instructions."
        )
    return found


def measure_overlap(answers: Answers, references: Mapping[str, str], baseline: str, seed: int) -> RougeL | None:
    """Every model's mean ROUGE-L over the items with a reference, and how much more each candidate's is than the
    baseline's; None where no item has one. Intervals are the bootstrap's, items drawn with replacement; one item alone
    says nothing of others, and its intervals are all that there can be."""
    if not references:
        return None
    scores = {
        label: [rouge_l(text, given[item].text) for item, text in references.items()]
        for label, given in answers.items()
    }
    gains = {
        label: [own - other for own, other in zip(each, scores[baseline], strict=True)]
        for label, each in scores.items()
        if label != baseline
    }
    return RougeL(
        items=len(references),
        means={label: mean(each) for label, each in scores.items()},
        intervals={label: _interval(each, 0.0, seed) for label, each in scores.items()},
        gains={label: mean(each) for label, each in gains.items()},
        gain_intervals={label: _interval(each, -1.0, seed) for label, each in gains.items()},
    )


def _interval(values: Sequence[float], least: float, seed: int) -> Interval:
    return bootstrap_interval(values, seed=seed) if len(values) > 1 else Interval(least, 1.0)
