"""A teacher's reply as blocks: each an example, or a piece of text with the rule why it is none."""

import re
from collections.abc import Callable
from dataclasses import dataclass

from pacos.core.records import Example
from pacos.engines import Reply
from pacos.generate.prompts import NO_INPUT

# The finish reasons that leave the last block unfinished, and the rule that rejects it.
_UNFINISHED = {"length": "truncated", "content_filter": "content_filter"}


@dataclass(frozen=True, slots=True)
class Block:
    """One task of a reply: one example or, with instances, several; or `rule`, why it is none.

    `is_classification` is False where the mode does not ask.
    """

    text: str
    examples: tuple[Example, ...] = ()
    rule: str = ""
    is_classification: bool = False


def parse_published(reply: Reply, first: int) -> list[Block]:
    """Splits a reply, which goes on after "`first`. Instruction:", as the released code does: by position.

    Source: stanford_alpaca/generate_instruction.py, `post_process_gpt3_response`. "###" inside an output, or a
    number that the teacher skipped, loses the block there too.
    """
    pieces = f"{first}. Instruction:{reply.text}".split("###")
    blocks = []
    for position, piece in enumerate(pieces):
        if position == len(pieces) - 1 and reply.finish_reason == "length":
            blocks.append(Block(piece.strip(), rule="truncated"))
            continue
        parts = re.split(rf"{first + position}\.\s+(?:Instruction|Input|Output):", piece)
        if len(parts) == 4:
            instruction, input, output = (part.strip() for part in parts[1:])
            example = Example(instruction, "" if input.lower() == NO_INPUT else input, output)
            blocks.append(Block(piece.strip(), (example,)))
        elif piece.strip():
            blocks.append(Block(piece.strip(), rule="malformed"))
    return blocks


_SEPARATOR = re.compile(r"[ \t]*(?:#{3,}|-{3,})?[ \t]*")
_FENCE = re.compile(r"```\w*[ \t]*")


def _labels(*fields: str) -> tuple[re.Pattern[str], re.Pattern[str]]:
    """Labels such as "4. Input:" and bare ones such as "Input:", with whatever Markdown puts around them."""
    names = rf"(?P<field>{'|'.join(fields)})[ \t*_]*:[ \t*_]*"
    numbered = rf"^[ \t>*_#-]*(?P<number>\d+)[ \t]*[.):][ \t*_]*{names}"
    bare = rf"^[ \t>*_#-]*(?P<number>){names}"
    return re.compile(numbered, re.I | re.M), re.compile(bare, re.I | re.M)


_LABELS = _labels("Instruction", "Input", "Output")
_INSTANCE_LABELS = _labels("Instruction", "Classification", "Input", "Output")
# More of one task than this is repetition. Source: Self-Instruct.
MOST_INSTANCES = 5


def parse_tolerant(reply: Reply, first: int) -> list[Block]:
    """Reads tasks by their labels, whatever stands around them: prose, fences, repeated or restarted numbers.

    A task begins at every "k. Instruction:"; its fields are the labels with the same k, so that text which only
    looks like a label stays text.
    """
    return _read_tasks(reply, first, _LABELS, _one_example)


def parse_instances(reply: Reply, first: int) -> list[Block]:
    """The same for tasks that say whether they classify and have up to five instances, in either order of fields."""
    return _read_tasks(reply, first, _INSTANCE_LABELS, _several_examples)


def _read_tasks(
    reply: Reply,
    first: int,
    labels: tuple[re.Pattern[str], re.Pattern[str]],
    read: Callable[[str, list[tuple[str, str]]], Block],
) -> list[Block]:
    numbered, bare = labels
    text = reply.text
    label = numbered if numbered.search(text) or not bare.search(text) else bare
    if not _begins_with_own_label(text, label, first):
        text = f"{first}. Instruction:{text}" if label is numbered else f"Instruction:{text}"
    starts = [match.start() for match in label.finditer(text) if match["field"].lower() == "instruction"]
    fenced = reply.text.lstrip().startswith("```") or bool(re.match(r"[^\n]*\n+```", reply.text.lstrip()))
    blocks = []
    for start, end in zip(starts, [*starts[1:], len(text)], strict=True):
        task = _trim(text[start:end], fenced)
        blocks.append(read(task, _fields(task, label)))
    if blocks and reply.finish_reason in _UNFINISHED:
        blocks[-1] = Block(blocks[-1].text, rule=_UNFINISHED[reply.finish_reason])
    return blocks


def _begins_with_own_label(text: str, label: re.Pattern[str], first: int) -> bool:
    """Whether the teacher wrote the first label itself, as chat models do, instead of going on after ours."""
    found = label.search(text)
    if found is None or found["field"].lower() != "instruction":
        return False
    return not text[: found.start()].strip() or found["number"] in ("", "1", str(first))


def _trim(text: str, fenced: bool) -> str:
    """The task without what ends it: blank lines and separators, and one fence where the whole reply stands in one."""
    lines = text.rstrip().split("\n")
    if fenced and _FENCE.fullmatch(lines[-1]):
        lines.pop()
    while lines and _SEPARATOR.fullmatch(lines[-1]):
        lines.pop()
    return "\n".join(lines).strip()


def _fields(text: str, label: re.Pattern[str]) -> list[tuple[str, str]]:
    """(name in lower case, value) of the task's own labels in their order."""
    found = list(label.finditer(text))
    own = [match for match in found if match["number"] == found[0]["number"]]
    ends = [match.start() for match in own[1:]] + [len(text)]
    return [(match["field"].lower(), text[match.end() : end].strip()) for match, end in zip(own, ends, strict=True)]


def _one_example(text: str, fields: list[tuple[str, str]]) -> Block:
    values = dict(fields)
    if [name for name, _ in fields] not in (["instruction", "input", "output"], ["instruction", "output"]):
        return Block(text, rule="malformed")
    return Block(text, (Example(values["instruction"], values.get("input", ""), values["output"]),))


def _several_examples(text: str, fields: list[tuple[str, str]]) -> Block:
    instruction, rest = fields[0][1], fields[1:]
    classification = "no"
    if rest and rest[0][0] == "classification":
        classification, rest = rest[0][1].lower(), rest[1:]
    examples = []
    while rest:
        pair = dict(rest[:2])
        if pair.keys() == {"input", "output"}:
            rest = rest[2:]
        elif rest[0][0] == "output":
            pair, rest = {"input": "", "output": rest[0][1]}, rest[1:]
        else:
            break
        examples.append(Example(instruction, pair["input"], pair["output"]))
    if rest or not examples or not classification.startswith(("yes", "no")):
        return Block(text, rule="malformed")
    return Block(text, tuple(examples[:MOST_INSTANCES]), is_classification=classification.startswith("yes"))
