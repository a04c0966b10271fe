"""The tasks of a reply by its labels: which labels belong to one task, and where it ends."""

import re
import textwrap
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from pacos.generate.labels import (
    DECORATION,
    HEADING,
    MARKUP,
    USUAL,
    Label,
    Roles,
    find_labels,
    infer_item_roles,
    infer_roles,
)

Style = Literal["numbered", "plain", "marked"]
STYLES: tuple[Style, ...] = ("numbered", "plain", "marked")

_ITEM = re.compile(
    rf"^(?P<lead>{DECORATION}{{0,20}})(?P<number>\d{{1,3}})(?P<close>[^\w\n]{{0,3}}[.):、．）\]】][*_]{{0,3}}[^\S\n]*)",
    re.M,
)
_YAML_BLOCK = re.compile(r"[^\S\n]*[|>][+-]?[^\S\n]*\n(?=[^\S\n])")
# A name in at least this share of the tasks is part of how they are written.
_MOST_TASKS = 0.8


@dataclass(frozen=True, slots=True)
class Task:
    """One task of a reply: its text, and (role, value) of its labels in their order."""

    text: str
    fields: list[tuple[str, str]]


def read_tasks(text: str, first: int, roles: Roles, style: Style) -> list[Task]:
    """The tasks of a text that goes on after "`first`. Instruction:" or writes that label itself.

    A task begins at each label of an instruction. Its fields are the labels with its own number where the style is
    "numbered", so that text which only looks like a label stays text; else also those without one, or of these only
    those with markup.
    """
    numbered = style == "numbered"
    labels = _of_style(find_labels(text), style)
    known = [label for label in labels if label.name in roles]
    outputs = [label for label in known if roles[label.name] == "output"]
    if not numbered and len(outputs) > 1 and not any(roles[label.name] == "instruction" for label in known):
        # Several tasks whose instructions have another label, or none.
        return []
    if not known or not _is_own(text, known[0], first, roles):
        name = next((name for name, role in roles.items() if role == "instruction"), "instruction").capitalize()
        text = f"**{first}. {name}:**{text}" if style == "marked" else f"{first}. {name}:{text}"
        labels = _of_style(find_labels(text), style)
    starts = [label for label in labels if roles.get(label.name) == "instruction"]
    return _cut(text, first, labels, starts, roles, numbered)


def _of_style(labels: list[Label], style: Style) -> list[Label]:
    if style == "numbered":
        return [label for label in labels if label.key]
    return [label for label in labels if style == "plain" or MARKUP.search(label.marks)]


def read_items(text: str, first: int, roles: Roles) -> list[Task]:
    """The tasks of a text that has its instructions as numbered items, without a label, above labelled fields."""
    labels = [label for label in find_labels(text) if roles.get(label.name) in ("input", "output")]
    if labels and not _ITEM.search(text, 0, labels[0].start):
        return read_items(f"{first}. {text.lstrip()}", first, roles)
    starts: list[Label] = []
    end, number = 0, 0
    for place, label in enumerate(labels):
        if place and roles[label.name] == "output" and roles[labels[place - 1].name] == "input":
            end = label.end
            continue
        items = [item for item in _ITEM.finditer(text, end, label.start) if not number or int(item["number"]) == number]
        if items:
            item = items[-1]
            number = int(item["number"]) + 1
            # An item in bold type may close it at the end of its line.
            opened = "**" if (item["lead"] + item["close"]).count("**") == 1 else ""
            starts.append(Label(item.start(), item.end(), "instruction", opened=opened))
        else:
            starts.append(Label(label.start, label.start, ""))
        end = label.end
    if not starts:
        return []
    labels = sorted([*labels, *starts], key=lambda label: label.start)
    return _cut(text, first, labels, starts, {**roles, "instruction": "instruction"}, False)


def _is_own(text: str, label: Label, first: int, roles: Roles) -> bool:
    """Whether the teacher wrote the first label itself, as chat models do, instead of going on after ours."""
    if roles[label.name] != "instruction":
        return False
    return not text[: label.start].strip() or label.key in ("", "1", str(first)) or not label.key.isdecimal()


def _cut(
    text: str, first: int, labels: Sequence[Label], starts: Sequence[Label], roles: Roles, numbered: bool
) -> list[Task]:
    extras = _extras(text, labels, starts, roles, numbered)
    begun = set(starts)
    labels = [label for label in labels if label.name in roles or label.name in extras or label in begun]
    ends = [*_ends(text, first, labels, starts, extras), len(text)]
    tasks = []
    for place, (start, end) in enumerate(zip(starts, ends, strict=True)):
        whole = _trim(text[start.start : end])
        end = start.start + len(whole)
        after = starts[place + 1] if place + 1 < len(starts) else start
        own = _between(labels, start.start, end)
        # What was not asked for may stand above the next instruction, with its number.
        own = [
            label
            for label in own
            if _belongs(label, start, numbered) or (label.name in extras and _belongs(label, after, numbered))
        ]
        tasks.append(Task(whole.strip(), _fields(text, own, end, {**roles, **extras})))
    return tasks


def _ends(text: str, first: int, labels: Sequence[Label], starts: Sequence[Label], extras: Roles) -> Iterator[int]:
    """Where each task but the last ends: at the next instruction, or at a heading above it that counts the tasks."""
    heading_of: dict[int, tuple[int, str, int]] = {}
    for place, start in enumerate(starts):
        num_above = _num_before(labels, start.start)
        at = start.start
        while True:
            above = labels[num_above - 1] if num_above else None
            line, begin = _line_above(text, at)
            match = HEADING.fullmatch(line)
            if match and (not above or begin > above.start):
                # A lone number that is all of an output is no heading.
                if match["word"] or not above or re.search(r"\w", text[above.end : begin]):
                    heading_of[place] = (begin, match["word"], int(match["number"]) - place)
                break
            if not above or above.name not in extras:
                break
            at, num_above = above.start, num_above - 1
    counts = Counter((word, number) for _, word, number in heading_of.values())
    for place, start in enumerate(starts[1:], start=1):
        begin, word, number = heading_of.get(place, (start.start, "", 0))
        times, boundaries = counts[word, number], len(starts) - 1
        counts_tasks = times >= max(2, boundaries / 2) if boundaries > 1 else bool(word) and number in (first, 1)
        yield begin if counts_tasks else start.start


def _num_before(labels: Sequence[Label], place: int) -> int:
    """How many labels, which are in the order of the text, begin before a place."""
    return bisect_left(labels, place, key=lambda label: label.start)


def _between(labels: Sequence[Label], first: int, end: int) -> Sequence[Label]:
    return labels[_num_before(labels, first) : _num_before(labels, end)]


def _line_above(text: str, at: int) -> tuple[str, int]:
    """The last line before the place that holds more than signs, and where it begins."""
    end = at
    while end > 0:
        begin = text.rfind("\n", 0, end) + 1
        if re.search(r"\w", text[begin:end]):
            return text[begin:end].strip(), begin
        end = begin - 1
    return "", 0


def _belongs(label: Label, start: Label, numbered: bool) -> bool:
    if numbered:
        return label.number == start.number and (bool(start.number) or label.suffix == start.suffix)
    # Behind its name a label may have the number of its instance, where the instruction has none there.
    return label.number in ("", start.number) and (not start.suffix or label.suffix in ("", start.suffix))


def _fields(text: str, own: Sequence[Label], end: int, roles: Roles) -> list[tuple[str, str]]:
    ends = [label.start for label in own[1:]] + [end]
    return [
        (role, _value(text[label.end : stop], label))
        for label, stop in zip(own, ends, strict=True)
        if (role := roles.get(label.name, ""))
    ]


def _value(text: str, label: Label) -> str:
    if label.marks.endswith("<>"):
        closing = re.search(rf"</\s*{re.escape(label.name)}\s*>", text, re.I)
        text = text[: closing.start()] if closing else text
    if block := _YAML_BLOCK.match(text):
        text = textwrap.dedent(text[block.end() :])
    return text.strip().removesuffix(label.opened) if label.opened else text.strip()


def _extras(text: str, labels: Sequence[Label], starts: Sequence[Label], roles: Roles, numbered: bool) -> Roles:
    """Names that nobody asked for and that most tasks have, such as "Category" or "Explanation": no part of a field.

    A number or markup like the instruction's tells them from what recipes and letters have in their lines; without
    either they have to stand in a paragraph with the next instruction. One that may be the input by another name makes
    its task unreadable.
    """
    if len(starts) < 3:
        return {}
    counts: Counter[str] = Counter()
    doubtful = set()
    for start, after in zip(starts, [*starts[1:], None], strict=True):
        end = after.start if after else len(text)
        inside = _between(labels, start.start, end)
        names = set()
        for before, label in pairwise(inside):
            if label.name in roles:
                continue
            if before.name in roles and not text[before.end : label.start].strip(" \n*_#"):
                # What opens a field is what the field says.
                break
            if label.key:
                is_extra = label.key in (start.key, after.key if after else "")
            elif MARKUP.search(label.marks):
                is_extra = label.marks == start.marks
            else:
                above = text[max(label.start - 2, 0) : label.start]
                is_extra = "\n\n" not in text[label.start : end] and above in ("\n\n", "-\n", "#\n")
            if is_extra:
                names.add(label.name)
                fields = [roles.get(other.name) for other in inside]
                if "input" not in fields and "output" not in fields[: inside.index(label)]:
                    doubtful.add(label.name)
        counts.update(names)
    # The last task may be cut, and what stands above an instruction is found with the task before it.
    most = _MOST_TASKS * (len(starts) - 1)
    return {name: "unreadable" if name in doubtful else "" for name, count in counts.items() if count >= most}


_SEPARATOR = re.compile(r"[^\S\n]*(?:#{3,}|[-*_—–─━]{3,}|={5,})?[^\S\n]*")
_FENCE = re.compile(r"[^\S\n]*```\w*[^\S\n]*")


def _trim(text: str) -> str:
    """The task without what ends it: blank lines, separators, and the end of a fence around all of it."""
    lines = text.rstrip().split("\n")
    fences = sum(bool(re.match(r"\s*```", line)) for line in lines)
    while lines:
        if _FENCE.fullmatch(lines[-1]) and (fences % 2 or _opens_nothing(lines)):
            fences -= 1
        elif not _SEPARATOR.fullmatch(lines[-1]):
            break
        lines.pop()
    return "\n".join(lines)


def _opens_nothing(lines: Sequence[str]) -> bool:
    """Whether the last fence stands right behind another one."""
    before = next((line for line in reversed(lines[:-1]) if line.strip()), "")
    return bool(_FENCE.fullmatch(before))


def other_readings(text: str, first: int) -> Iterator[list[Task]]:
    """What the text may be read as by other labels than the asked ones, the surest first."""
    others = {name: role for name, role in USUAL.items() if role in ("input", "output")}
    # A "Task" may be what to do, or the heading above a "Question".
    for name in dict.fromkeys(label.name for label in find_labels(text)):
        if USUAL.get(name) == "instruction":
            for style in STYLES:
                yield read_tasks(text, first, {name: "instruction"} | others, style)
    yield read_items(text, first, USUAL)
    if roles := infer_item_roles(text):
        yield [_unless_doubtful(task) for task in read_items(text, first, roles)]
    if roles := infer_roles(text):
        for style in STYLES:
            yield [_unless_doubtful(task) for task in read_tasks(text, first, roles, style)]


def _unless_doubtful(task: Task) -> Task:
    """By their order alone labels are told apart only where no other line of the question looks like one."""
    questions = [value for role, value in task.fields if role == "instruction"]
    return Task(task.text, []) if any(find_labels(f"\n{value}") for value in questions) else task
