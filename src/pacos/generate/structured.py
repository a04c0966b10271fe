"""Tasks that a teacher wrote as JSON, whatever stands around it, or as a Markdown table."""

import json
import re
from collections.abc import Iterator, Sequence
from itertools import pairwise, takewhile
from typing import Any

from pacos.generate.labels import USUAL, are_translated
from pacos.generate.tasks import Task

_DECODER = json.JSONDecoder(strict=False)
_TEXT = re.compile(r"\"\s*:\s*\"")
_OBJECT = re.compile(r"\{\s*\"")


def read_json_tasks(text: str) -> tuple[list[Task], bool]:
    """The tasks of JSON objects in a list, in a wrapping object, one a line or one after another.

    The second value is whether the last of them is broken off; it is then without fields.
    """
    found: list[tuple[str, dict[str, Any]]] = []
    at, broken_at = 0, -1
    while opening := _OBJECT.search(text, at):
        try:
            value, end = _DECODER.raw_decode(text, opening.start())
        except (ValueError, RecursionError):
            # The object around the tasks may be broken where most tasks are whole.
            broken_at, at = opening.start(), opening.end() - 1
            continue
        if _TEXT.search(lost := text[broken_at : opening.start()]) and broken_at >= 0:
            found.append((lost.strip(), {}))
        broken_at, at = -1, end
        inside = list(_task_objects(value))
        alone = len(inside) == 1
        found += [
            (text[opening.start() : end] if alone else json.dumps(task, ensure_ascii=False), task) for task in inside
        ]
    roles = _roles([task for _, task in found if task])
    if found and broken_at >= 0:
        found.append((text[broken_at:].strip(), {}))
    return [Task(source, list(_json_fields(task, roles))) for source, task in found], bool(found and broken_at >= 0)


def _task_objects(value: Any) -> Iterator[dict[str, Any]]:
    """The innermost objects that have texts, or the keys of a task, and are no instances of another one."""
    if isinstance(value, list):
        for item in value:
            yield from _task_objects(item)
    elif isinstance(value, dict):
        is_task = {"instruction", "output"} <= set(map(_role, value)) or "instances" in value
        if is_task or sum(isinstance(field, str) for field in value.values()) >= 2:
            yield value
        else:
            for item in value.values():
                yield from _task_objects(item)


def _roles(tasks: Sequence[dict[str, Any]]) -> dict[str, str]:
    """What the keys stand for: by their names, or three in one order all along as instruction, input and output."""
    keys = dict.fromkeys(key for task in tasks for key in task)
    instructions = [key for key in keys if _role(key) == "instruction"]
    if instructions and ("instances" in keys or any(_role(key) == "output" for key in keys)):
        # A "task" beside an "instruction" is its title.
        asked = next((key for key in instructions if _folded(key).startswith("instruction")), instructions[0])
        return {key: _role(key) for key in keys if key == asked or _role(key) not in ("", "instruction")}
    texts = [tuple(key for key, value in task.items() if isinstance(value, str)) for task in tasks]
    order = texts[0] if len(texts) >= 2 and len(set(texts)) == 1 else ()
    return _by_order(order, [task[order[1]] for task in tasks] if len(order) == 3 else [])


def _by_order(names: Sequence[str], inputs: Sequence[str]) -> dict[str, str]:
    if len(names) != 3 or any(map(_role, names)) or not are_translated(names, inputs):
        return {}
    return dict(zip(names, ("instruction", "input", "output"), strict=True))


def _folded(key: str) -> str:
    return " ".join(re.sub(r"[_-]+", " ", key).casefold().split())


def _role(key: str) -> str:
    return USUAL.get(_folded(key), "")


def _json_fields(task: dict[str, Any], roles: dict[str, str]) -> Iterator[tuple[str, str]]:
    for key, value in task.items():
        if key == "instances" and isinstance(value, list):
            for instance in value:
                if isinstance(instance, dict):
                    yield from _json_fields(instance, {name: _role(name) for name in instance})
        elif role := roles.get(key):
            # An object or a list is no text; as a field of another name it makes the task malformed.
            is_text = not isinstance(value, list | dict)
            yield role if is_text else "unreadable", _plain(value) if is_text else ""


def _plain(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "" if value is None else str(value).strip()


_CELL_END = re.compile(r"(?<!\\)\|")


def read_table(text: str) -> list[Task]:
    """The tasks of a Markdown table with columns for instruction and output; a row that does not fit has no fields."""
    lines = [line.strip() for line in text.split("\n")]
    for number, (header, rule) in enumerate(pairwise(lines)):
        if "|" not in header or not re.fullmatch(r"[|:\s-]*-[|:\s-]*", rule):
            continue
        names = [re.sub(r"[*_`]", "", cell) for cell in _cells(header)]
        rows = list(takewhile(lambda line: "|" in line, lines[number + 2 :]))
        roles = [_role(name) for name in names]
        if roles.count("instruction") != 1 or roles.count("output") != 1:
            named = [place for place, name in enumerate(names) if any(map(str.isalpha, name))]
            inputs = [cells[named[1]] for cells in map(_cells, rows) if len(cells) == len(names)] if named[1:] else []
            by_order = _by_order([names[place] for place in named], inputs)
            roles = [by_order.get(name, "") for name in names]
        return [Task(row, _row_fields(roles, _cells(row))) for row in rows] if any(roles) else []
    return []


def _row_fields(roles: Sequence[str], cells: Sequence[str]) -> list[tuple[str, str]]:
    return [(role, cell) for role, cell in zip(roles, cells, strict=True) if role] if len(roles) == len(cells) else []


def _cells(line: str) -> list[str]:
    cells = [re.sub(r"<br\s*/?>", "\n", cell.replace("\\|", "|")).strip() for cell in _CELL_END.split(line)]
    return cells[bool(line.startswith("|")) : len(cells) - bool(line.endswith("|"))]
