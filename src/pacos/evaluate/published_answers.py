"""Answers that others published, in the place of a model: Self-Instruct's predictions, AlpacaEval's model outputs."""

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from pacos.core.data_files import DataFile, read_data_file
from pacos.core.errors import PacosError
from pacos.core.record_shapes import check_doubled
from pacos.core.records import refused
from pacos.core.typed import MisfitError, check_whole
from pacos.evaluate.items import Item

EXPECTED = (
    "expected an object with the texts instruction, output and generator, as in AlpacaEval's model outputs, or "
    "instruction, input and response, as in Self-Instruct's predictions"
)

# The name is a file's, which may have 255 bytes, and where other tools read it non-ASCII letters take nine each.
LONGEST_LABEL = 150


@dataclass(frozen=True)
class Published:
    """A model's answers by `question_key`, and what it is called."""

    label: str
    texts: dict[str, str]


def question_key(instruction: str, context: str) -> str:
    """What answers are joined by, and never their place in a file: the words of instruction and input.

    AlpacaEval writes an input into the instruction, so where one ends and the other begins plays no part.
    """
    return " ".join(f"{instruction} {context}".split())


def is_answers_file(name: str) -> bool:
    """Whether a candidate's name is that of a file of answers, there or not."""
    return Path(name).suffix in (".json", ".jsonl") and not Path(name).is_dir()


def read_published(path: Path) -> Published:
    """The answers in a file; PacosError for records of neither shape, a question with two answers, or two models."""
    file = read_data_file(path, "published answers")
    records = list(answer_records(path, file))
    generators = list(dict.fromkeys(generator for _, _, generator in records))
    if len(generators) > 1:
        raise PacosError(
            f"{path}: holds answers of {len(generators)} models ({', '.join(map(repr, generators[:3]))}); expected "
            "those of one. Put each model's answers into a file of its own."
        )
    texts: dict[str, str] = {}
    for question, text, _ in records:
        if texts.setdefault(question, text) != text:
            raise PacosError(
                f"{path}: answers {question[:60]!r} twice and differently ({texts[question][:40]!r}, {text[:40]!r}); "
                "keep one answer each."
            )
    if not texts:
        raise PacosError(f"{path}: holds no answer; {EXPECTED}.")
    # What the tool that wrote it calls a file of predictions is no part of the model's name.
    return Published(_label(generators[0] or path.stem.removesuffix("_predictions")), texts)


def check_published(texts: Mapping[str, str], items: Sequence[Item], path: str) -> None:
    """PacosError where the answers lack an item; answers beyond the items, and empty ones, are told."""
    keys = {question_key(item.instruction, item.input): item for item in items}
    missing = [item for key, item in keys.items() if key not in texts]
    if len(missing) == len(keys):
        raise PacosError(
            f"{path}: answers none of the {len(keys):,} items, as in {missing[0].instruction[:60]!r}; expected answers "
            "to the very questions in evaluate.instructions."
        )
    if missing:
        raise PacosError(
            f"{path}: lacks an answer to {len(missing):,} of {len(keys):,} items, the first is "
            f"{missing[0].instruction[:60]!r}; models are compared on the same items. Add it, or leave those items out "
            "of evaluate.instructions."
        )
    beyond = len(texts.keys() - keys.keys())
    empty = sum(not texts[key].strip() for key in keys)
    for count, what in ((beyond, "answers to other questions are left out"), (empty, "answers are empty and count so")):
        if count:
            print(f"evaluate: {path}: {count:,} of {len(texts):,} {what}", file=sys.stderr)


def answer_records(path: Path, file: DataFile) -> Iterator[tuple[str, str, str]]:
    """(question key, answer, generator) of every record; PacosError for records of neither shape."""
    bad, records = list(file.broken), []
    for number, value in file.values:
        try:
            records.append(_record(value))
        except MisfitError as misfit:
            bad.append((number, str(misfit)))
    if bad:
        raise refused(path, file.unit, sorted(bad), len(file.values) + len(file.broken))
    yield from records


def _record(value: Any) -> tuple[str, str, str]:
    unfit = MisfitError(f"{EXPECTED}, not {json.dumps(value, default=str)[:60]}")
    if not isinstance(value, dict):
        raise unfit
    check_doubled(value)
    instruction, answer = value.get("instruction"), value.get("response", value.get("output"))
    context, generator = value.get("input") or "", value.get("generator") or ""
    texts = [each for each in (instruction, answer, context, generator) if isinstance(each, str)]
    if len(texts) < 4 or not texts[0].strip():
        raise unfit
    for text in texts:
        check_whole(text)
    instruction, answer, context, generator = texts
    return question_key(instruction, context), answer.strip(), generator


def _label(name: str) -> str:
    label = "".join(letter if letter.isalnum() or letter in "_.-" else "-" for letter in name[:LONGEST_LABEL]).strip(
        "-."
    )
    while len(quote(label)) > LONGEST_LABEL:
        label = label[:-1]
    return label.strip("-.") or "published"
