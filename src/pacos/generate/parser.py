"""A teacher's reply as blocks: each an example, or a piece of text with the rule why it is none."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from pacos.core.records import Example
from pacos.engines import Reply
from pacos.engines.thinking import without_thinking
from pacos.generate.labels import ASKED
from pacos.generate.prompts import NO_INPUT
from pacos.generate.structured import read_json_tasks, read_table
from pacos.generate.tasks import STYLES, Task, other_readings, read_tasks

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
    number that the teacher skipped, loses the block there too. What a model thinks aloud first is none of its reply.
    """
    pieces = f"{first}. Instruction:{without_thinking(reply.text)}".split("###")
    blocks = []
    for position, piece in enumerate(pieces):
        if position == len(pieces) - 1 and reply.finish_reason == "length":
            blocks.append(Block(piece.strip(), rule="truncated"))
            continue
        parts = re.split(rf"{first + position}\.\s+(?:Instruction|Input|Output):", piece)
        if len(parts) == 4:
            instruction, given, output = (part.strip() for part in parts[1:])
            example = Example(instruction, "" if given.lower() == NO_INPUT else given, output)
            blocks.append(Block(piece.strip(), (example,)))
        elif piece.strip():
            blocks.append(Block(piece.strip(), rule="malformed"))
    return blocks


# More of one task than this is repetition. Source: Self-Instruct.
MOST_INSTANCES = 5


def parse_tolerant(reply: Reply, first: int) -> list[Block]:
    """Reads tasks by their labels, whatever stands around them and whatever they are called.

    Of all that a reply may be read as, the first counts that makes examples of at least half of its tasks; where none
    does, the asked labels. So a reply in the asked format is read as that and as nothing else.
    """
    return _read_tasks(reply, first, _one_example)


def parse_instances(reply: Reply, first: int) -> list[Block]:
    """The same for tasks that say whether they classify and have up to five instances, in either order of fields."""
    return _read_tasks(reply, first, _several_examples)


_Fields = list[tuple[str, str]]


def _read_tasks(reply: Reply, first: int, read: Callable[[str, _Fields], Block]) -> list[Block]:
    text = without_thinking(reply.text).replace("\r\n", "\n")
    rule = _UNFINISHED.get(reply.finish_reason, "")
    if reply.text.strip() and not text.strip():
        return [Block(reply.text.strip(), rule=rule or "malformed")]
    asked: list[Block] = []
    for tasks, is_asked, is_whole in _readings(text, first):
        blocks = [read(task.text, task.fields) for task in tasks]
        # JSON says itself whether its last task is whole.
        if blocks and rule and not is_whole:
            blocks[-1] = Block(blocks[-1].text, rule=rule)
        readable = _num_readable(blocks)
        if readable and readable * 2 >= len(blocks):
            return blocks
        if is_asked and (not asked or readable > _num_readable(asked)):
            asked = blocks
    return asked


def _num_readable(blocks: list[Block]) -> int:
    return sum(not block.rule for block in blocks)


def _readings(text: str, first: int) -> Iterator[tuple[list[Task], bool, bool]]:
    """What the text may be read as, the surest first; whether by the asked labels; whether its last task is whole."""
    for style in STYLES:
        yield read_tasks(text, first, ASKED, style), True, False
    if "{" in text:
        tasks, is_broken = read_json_tasks(text)
        yield tasks, False, not is_broken
    if "|" in text:
        yield read_table(text), False, False
    for tasks in other_readings(text, first):
        yield tasks, False, False


def _one_example(text: str, fields: _Fields) -> Block:
    values = dict(fields)
    if [name for name, _ in fields] not in (["instruction", "input", "output"], ["instruction", "output"]):
        return Block(text, rule="malformed")
    return Block(text, (Example(values["instruction"], values.get("input", ""), values["output"]),))


def _several_examples(text: str, fields: _Fields) -> Block:
    if [name for name, _ in fields[:1]] != ["instruction"]:
        return Block(text, rule="malformed")
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
