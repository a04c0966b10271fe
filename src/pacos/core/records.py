"""What crosses rooms: examples and seed tasks, with the readers that say where a bad record stands."""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pacos.core.errors import PacosError
from pacos.core.files import atomic_open, read_json, read_json_lines


@dataclass(frozen=True, slots=True)
class Example:
    """One instruction, its input ("" for none) and the answer."""

    instruction: str
    input: str
    output: str

    @property
    def id(self) -> str:
        """Sixteen hex digits of the content's SHA-256: the same example has the same id in every room."""
        content = json.dumps([self.instruction, self.input, self.output])
        return hashlib.sha256(content.encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class SeedTask:
    """One human-written task in Self-Instruct's schema; `examples` are its instances."""

    id: str
    name: str
    instruction: str
    examples: tuple[Example, ...]
    is_classification: bool


def read_examples(path: Path) -> list[Example]:
    """Reads an Alpaca-format file: a JSON list, or one JSON object a line where the name ends in .jsonl.

    Raises PacosError naming the record (counted from 1) that is not an object with a text `instruction` and
    `output`; a missing `input` is read as "", as Alpaca's own trainer does.
    """
    if path.suffix == ".jsonl":
        records = list(read_json_lines(path, "dataset"))
    else:
        value = read_json(path, "dataset")
        if not isinstance(value, list):
            raise PacosError(
                f"{path}: holds a JSON {_kind(value)}; a dataset is a list of objects with instruction, input, output."
            )
        records = list(enumerate(value, start=1))
    if not records:
        raise PacosError(f"{path}: the dataset is empty; expected at least one record.")
    where = "line" if path.suffix == ".jsonl" else "record"
    return [_example(record, f"{path}: {where} {number}") for number, record in records]


def _example(record: Any, where: str) -> Example:
    if not isinstance(record, dict):
        raise PacosError(f"{where} is a JSON {_kind(record)}; expected an object with instruction, input, output.")
    for key in ("instruction", "output"):
        if key not in record:
            raise PacosError(
                f"{where} has no '{key}' (it has: {', '.join(map(str, record)) or 'nothing'}); "
                "expected instruction, input, output. Add the key or remove that record."
            )
    values = (record["instruction"], record.get("input", ""), record["output"])
    for key, value in zip(("instruction", "input", "output"), values, strict=True):
        if not isinstance(value, str):
            raise PacosError(f"{where} has a {_kind(value)} for '{key}'; expected text.")
        if any("\ud800" <= character <= "\udfff" for character in value):
            raise PacosError(f"{where} has half a surrogate pair in '{key}', which no file can hold; remove it.")
    return Example(*values)


def _kind(value: Any) -> str:
    if value is None:
        return "null"
    return {dict: "object", list: "list", str: "text", bool: "true/false"}.get(type(value), "number")


def read_instructions(path: Path) -> list[Example]:
    """Reads an evaluation set: Alpaca's format, AlpacaEval's, or Self-Instruct's user-oriented one (has `instances`).

    Raises PacosError naming the record that is not of that shape.
    """
    if path.suffix != ".jsonl":
        return read_examples(path)
    lines = list(read_json_lines(path, "evaluation instructions"))
    if not lines or not isinstance(lines[0][1], dict) or "instances" not in lines[0][1]:
        return read_examples(path)
    return [example for number, value in lines for example in _instances(value, f"{path}:{number}", output="")]


def _instances(value: Any, where: str, **defaults: str) -> tuple[Example, ...]:
    """A task's instances as examples; `defaults` stand for keys that an instance may lack."""
    try:
        instances = [defaults | instance for instance in value["instances"]]
        examples = tuple(Example(value["instruction"], i["input"], i["output"]) for i in instances)
    except (KeyError, TypeError, AttributeError):
        examples = ()
    texts = [text for e in examples for text in (e.instruction, e.input, e.output)]
    if not examples or not all(isinstance(text, str) for text in texts):
        raise PacosError(
            f"{where}: expected an object with a text instruction and at least one of instances, with text input and "
            f"output each, as in Self-Instruct's schema, not {json.dumps(value)[:60]}. Mend or remove that line."
        )
    return examples


def write_examples(path: Path, examples: Iterable[Example]) -> None:
    """Writes exactly Alpaca's format: a list, three keys, four spaces, ASCII-escaped, no final newline."""
    rows = [{"instruction": e.instruction, "input": e.input, "output": e.output} for e in examples]
    with atomic_open(path) as file:
        json.dump(rows, file, indent=4)


def read_seed_tasks(path: Path) -> list[SeedTask]:
    """Reads Self-Instruct's schema, one task a line; PacosError names the file and line of a bad one."""
    tasks = []
    for number, value in read_json_lines(path, "seed tasks"):
        examples = _instances(value, f"{path}:{number}")
        instruction = examples[0].instruction
        if not instruction.strip():
            raise PacosError(f"{path}:{number}: this seed task's instruction is empty. Mend or remove that line.")
        identity, name = str(value.get("id", f"seed_task_{number - 1}")), str(value.get("name", ""))
        tasks.append(SeedTask(identity, name, instruction, examples, bool(value.get("is_classification", False))))
    if len(tasks) < 3:
        raise PacosError(f"{path}: holds {len(tasks)} seed tasks; a prompt shows three, so at least three are needed.")
    return tasks
