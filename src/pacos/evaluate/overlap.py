"""How near open answers come to reference answers, without a judge: ROUGE-L."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from pacos.core.data_files import read_data_file
from pacos.core.errors import PacosError
from pacos.core.records import read_instructions
from pacos.evaluate.answer_files import Answers
from pacos.evaluate.items import Item
from pacos.evaluate.measurement import mean_of
from pacos.evaluate.published_answers import answer_records, question_key
from pacos.evaluate.report import RougeL
from pacos.text import rouge_l

OPEN_WORDS, NEARLY_ALL = 10, 0.9


def read_references(path: Path) -> dict[str, list[str]]:
    """Right answers by `question_key`, stripped: of a data file of questions, or of Self-Instruct's predictions, which
    have a `response`. A question may have several; empty ones are left out.

    Raises PacosError for a file of neither shape.
    """
    file = read_data_file(path, "reference answers")
    is_predictions = any(isinstance(value, dict) and "response" in value for _, value in file.values[:1])
    if is_predictions:
        pairs = [(key, answer) for key, answer, _ in answer_records(path, file)]
    else:
        pairs = [(question_key(each.instruction, each.input), each.output.strip()) for each in read_instructions(path)]
    answers: dict[str, list[str]] = {}
    for key, answer in pairs:
        known = answers.setdefault(key, [])
        known += [answer] if answer and answer not in known else []
    return answers


def references_of(items: Sequence[Item], path: str) -> dict[str, list[str]]:
    """By item id the answers that the file at `path` has, or without one the item's own where it comes from a file.

    Builtin tasks have one right answer each, of which exact match says more. PacosError where the file answers none.
    """
    if not path:
        return {item.id: [item.reference] for item in items if item.reference and not item.skill}
    answers = read_references(Path(path))
    keys = {item.id: question_key(item.instruction, item.input) for item in items}
    found = {item: known for item, key in keys.items() if (known := answers.get(key))}
    if not found:
        raise PacosError(
            f"evaluate.references {path}: answers none of the {len(items):,} items; "
            "expected answers to the very questions in evaluate.instructions."
        )
    return found


def measure_overlap(
    answers: Answers, references: Mapping[str, Sequence[str]], baseline: str, seed: int, absent: Mapping[str, str]
) -> RougeL | None:
    """Every model's mean ROUGE-L over the items with a reference, of several the nearest, and how much more each
    candidate's is than the baseline's; None where no item has one. Models in `absent` are not measured.
    """
    if not references:
        return None
    scores = {
        label: [max(rouge_l(text, given[item].text) for text in texts) for item, texts in references.items()]
        for label, given in answers.items()
        if label not in absent
    }
    found = mean_of(scores, baseline, seed)
    return RougeL(
        items=len(references),
        means=found.values,
        # One item alone says nothing of others, and its intervals are all that there can be.
        intervals=dict.fromkeys(found.values, (0.0, 1.0)) | found.intervals,
        gains=found.gains,
        gain_intervals=dict.fromkeys(found.gains, (-1.0, 1.0)) | found.gain_intervals,
        absent=dict(absent),
    )


def repeating(answers: Answers, references: Mapping[str, Sequence[str]]) -> dict[str, float]:
    """Models whose answers are nearly all references word for word, and the share: no two authors write the same.

    Short references are left out: two words or a number are the same by being right.
    """
    long = {item: [each.split() for each in known] for item, known in references.items()}
    long = {item: known for item, known in long.items() if all(len(words) >= OPEN_WORDS for words in known)}
    if not long:
        return {}
    shares = {
        label: sum(given[item].text.split() in known for item, known in long.items()) / len(long)
        for label, given in answers.items()
    }
    return {label: share for label, share in shares.items() if share >= NEARLY_ALL}
