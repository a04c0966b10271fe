"""What stages and parts hand on: examples, conversations and seed tasks, and readers that say where bad ones stand."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pacos.core.data_files import kind, read_data_file, shown
from pacos.core.errors import PacosError
from pacos.core.files import atomic_open
from pacos.core.record_shapes import Conversation, Example, Reading, Record, check_doubled, examples_of
from pacos.core.typed import MisfitError, check_whole

__all__ = [
    "Conversation",
    "Dataset",
    "Example",
    "Record",
    "SeedTask",
    "examples_of",
    "listed",
    "read_categorised",
    "read_dataset",
    "read_examples",
    "read_instructions",
    "read_seed_tasks",
    "refused",
    "write_examples",
]  # fmt: skip
MOST_SHOWN = 10
# Where evaluation sets name a question's kind: MT-Bench's and Vicuna's, Self-Instruct's, AlpacaEval's.
CATEGORY_KEYS = ("category", "motivation_app", "dataset")
EXPECTED = "expected an object with instruction, input, output, or a conversation in messages with role and content"


@dataclass(frozen=True, slots=True)
class SeedTask:
    """One human-written task in Self-Instruct's schema; `examples` are its instances."""

    id: str
    name: str
    instruction: str
    examples: tuple[Example, ...]
    is_classification: bool


@dataclass(frozen=True)
class Dataset:
    """A file's records with their numbers, the bad ones with what is wrong, and the counts of what was left out."""

    path: Path
    form: str
    unit: str
    records: list[tuple[int, Record]]
    bad: list[tuple[int, str]]
    unknown_keys: dict[str, int]
    """How many records have each key that is not read, the commonest first; in a turn it is named "messages.KEY"."""
    as_text: int
    """Records with a number or true/false that is read as text."""
    unanswered: int
    """Conversations whose last user turns, having no answer, are left out."""

    def sound(self) -> list[Record]:
        """The records; PacosError counts the bad ones, where there are any, and shows the first ten."""
        if self.bad:
            raise refused(self.path, self.unit, self.bad, len(self.bad) + len(self.records))
        return [record for _, record in self.records]

    def told(self) -> str:
        """In one line what is in the file beside its examples; "" where there is nothing to say."""
        conversations = sum(isinstance(record, Conversation) for _, record in self.records)
        parts = [f"conversations: {conversations:,}"] if conversations else []
        parts += [f"last turns without an answer, left out: {self.unanswered:,}"] if self.unanswered else []
        parts += [f"numbers or true/false, read as text: {self.as_text:,}"] if self.as_text else []
        if self.unknown_keys:
            parts.append(f"keys that are not read: {listed(self.unknown_keys)}")
        return "; ".join(parts)


def listed(counts: Mapping[str, int]) -> str:
    """The first ten names, each with its number of records."""
    shown = ", ".join(f"{name} ({count:,})" for name, count in list(counts.items())[:MOST_SHOWN])
    return f"{shown} and {len(counts) - MOST_SHOWN} more" if len(counts) > MOST_SHOWN else shown


def read_dataset(path: Path) -> Dataset:
    """Every record of a data file in any form of `read_data_file`: an Alpaca record is an Example, or with `history` or
    `system` a Conversation, and so is one with `messages` (role, content) or `conversations` (from, value).

    Null and missing are one. Raises PacosError where nothing in the file is a record.
    """
    file = read_data_file(path, "dataset")
    reading = Reading()
    records: list[tuple[int, Record]] = []
    bad = list(file.broken)
    for number, value in file.values:
        try:
            records.append((number, reading.record(value)))
        except MisfitError as misfit:
            bad.append((number, str(misfit)))
    bad.sort()
    if not records and not bad:
        raise PacosError(f"{path}: the dataset is empty; expected at least one record.")
    if not records:
        raise refused(path, file.unit, bad, len(bad))
    unknown = dict(sorted(reading.unknown_keys.items(), key=lambda item: (-item[1], item[0])))
    return Dataset(path, file.form, file.unit, records, bad, unknown, reading.as_text, reading.unanswered)


def read_examples(path: Path) -> list[Example]:
    """Reads a data file's examples; a conversation has one for each answer.

    Raises PacosError that counts the records that are none and shows the first ten; a missing `input` is read as "", as
    Alpaca's own trainer does.
    """
    return [example for record in read_dataset(path).sound() for example in examples_of(record)]


def refused(path: Path, unit: str, bad: list[tuple[int, str]], total: int) -> PacosError:
    """One line for all bad records: how many, and what is wrong with each of the first ten."""
    expected = "" if any(reason.startswith("expected") for _, reason in bad) else f"; {EXPECTED}"
    if len(bad) == 1:
        ((number, reason),) = bad
        where = f"{path}:{number}: {reason}" if unit == "line" else f"{path}: {unit} {number} {reason}"
        return PacosError(f"{where}{expected}. Mend or remove that {unit}.")
    places: dict[str, list[str]] = {}
    for number, reason in bad[:MOST_SHOWN]:
        places.setdefault(reason, []).append(str(number))
    shown = "; ".join(f"{unit} {', '.join(numbers)} {reason}" for reason, numbers in places.items())
    more = f"; and {len(bad) - MOST_SHOWN:,} more" if len(bad) > MOST_SHOWN else ""
    return PacosError(
        f"{path}: {len(bad):,} of {total:,} records cannot be used: {shown}{more}{expected}. Mend or remove them."
    )


def read_instructions(path: Path) -> list[Example]:
    """Reads an evaluation set: examples, AlpacaEval's records, or Self-Instruct's user-oriented ones with `instances`.

    PacosError as below.
    """
    return [example for example, _ in read_categorised(path)]


def read_categorised(path: Path) -> list[tuple[Example, str]]:
    """Reads an evaluation set as above, each example with the category that its record names, "" where it names none.

    Raises PacosError that counts the records that are none; a conversation counts where it is one question.
    """
    file = read_data_file(path, "evaluation instructions")
    reading = Reading()
    examples: list[tuple[Example, str]] = []
    bad = list(file.broken)
    for number, value in file.values:
        try:
            category = _category(value)
            if isinstance(value, dict) and "instances" in value:
                examples += [(example, category) for example in _instances(value, output="")]
                continue
            record = reading.record(value)
            if isinstance(record, Conversation) and len(record.turns) != 2:
                raise MisfitError("is a conversation of more than a question and an answer")
            examples += [(example, category) for example in examples_of(record)]
        except MisfitError as misfit:
            bad.append((number, str(misfit)))
    if bad:
        raise refused(path, file.unit, sorted(bad), len(file.values) + len(file.broken))
    if not examples:
        raise PacosError(f"{path}: the set is empty; {EXPECTED}.")
    return examples


def _category(value: Any) -> str:
    named = [value.get(key) for key in CATEGORY_KEYS] if isinstance(value, dict) else []
    category = next((name.strip() for name in named if isinstance(name, str)), "")
    check_whole(category)
    return category


def _instances(value: Any, **defaults: str) -> tuple[Example, ...]:
    """A task's instances as examples; `defaults` stand for keys that an instance may lack. MisfitError for no task."""
    check_doubled(value)
    try:
        for at, instance in enumerate(value["instances"]):
            check_doubled(instance, f" at instances[{at}]")
        instances = [defaults | instance for instance in value["instances"]]
        examples = tuple(Example(value["instruction"], i["input"], i["output"]) for i in instances)
    except (KeyError, TypeError, AttributeError):
        examples = ()
    if not examples or not all(isinstance(text, str) for example in examples for text in example.texts):
        raise MisfitError(
            "expected an object with a text instruction and at least one of instances, with text input and output "
            f"each, as in Self-Instruct's schema, not {_in_short(value)}"
        )
    return examples


def _in_short(value: Any) -> str:
    keys = f"with {', '.join(map(shown, list(value)[:8]))}" if isinstance(value, dict) and value else ""
    return f"one {keys}" if keys else f"a JSON {kind(value)}"


def write_examples(path: Path, examples: Iterable[Example]) -> None:
    """Writes exactly Alpaca's format: a list, three keys, four spaces, ASCII-escaped, no final newline."""
    rows = [{"instruction": e.instruction, "input": e.input, "output": e.output} for e in examples]
    with atomic_open(path) as file:
        json.dump(rows, file, indent=4)


def read_seed_tasks(path: Path) -> list[SeedTask]:
    """Reads Self-Instruct's schema, one task a record; PacosError counts the bad ones and says where they stand."""
    file = read_data_file(path, "seed tasks")
    tasks, bad = [], list(file.broken)
    for number, value in file.values:
        try:
            examples = _instances(value)
            instruction = examples[0].instruction
            if not instruction.strip():
                raise MisfitError("has an empty instruction")
            classifies = value.get("is_classification")
            if not isinstance(classifies, bool | None):
                raise MisfitError(f"has a {kind(classifies)} for 'is_classification'; expected true or false")
        except MisfitError as misfit:
            bad.append((number, str(misfit)))
            continue
        identity, name = str(value.get("id", f"seed_task_{number - 1}")), str(value.get("name", ""))
        tasks.append(SeedTask(identity, name, instruction, examples, bool(classifies)))
    if bad:
        raise refused(path, file.unit, sorted(bad), len(bad) + len(tasks))
    if len(tasks) < 3:
        raise PacosError(f"{path}: holds {len(tasks)} seed tasks; a prompt shows three, so at least three are needed.")
    return tasks
