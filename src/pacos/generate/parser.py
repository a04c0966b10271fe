"""A teacher's reply as blocks: each an example, or a piece of text with the rule why it is none."""

import re
from dataclasses import dataclass

from pacos.core.records import Example
from pacos.engines import Reply
from pacos.generate.prompts import NO_INPUT, NUM_DEMONSTRATIONS

FIRST = NUM_DEMONSTRATIONS + 1
# The finish reasons that leave the last block unfinished, and the rule that rejects it.
_UNFINISHED = {"length": "truncated", "content_filter": "content_filter"}


@dataclass(frozen=True, slots=True)
class Block:
    """One block of a reply; `rule` is "" where it is an example."""

    text: str
    example: Example | None = None
    rule: str = ""


def parse_published(reply: Reply) -> list[Block]:
    """Splits a reply as the released code does, where a block's number must be its position.

    Source: stanford_alpaca/generate_instruction.py, `post_process_gpt3_response`. "###" inside an output, or a
    number that the teacher skipped, loses the block there too.
    """
    pieces = f"{FIRST}. Instruction:{reply.text}".split("###")
    blocks = []
    for position, piece in enumerate(pieces):
        if position == len(pieces) - 1 and reply.finish_reason == "length":
            blocks.append(Block(piece.strip(), rule="truncated"))
            continue
        parts = re.split(rf"{FIRST + position}\.\s+(?:Instruction|Input|Output):", piece)
        if len(parts) == 4:
            instruction, input, output = (part.strip() for part in parts[1:])
            example = Example(instruction, "" if input.lower() == NO_INPUT else input, output)
            blocks.append(Block(piece.strip(), example))
        elif piece.strip():
            blocks.append(Block(piece.strip(), rule="malformed"))
    return blocks


_LABEL = re.compile(
    r"^[ \t>*_#-]*(?P<number>\d+)[ \t]*[.):][ \t*_]*(?P<field>Instruction|Input|Output)[ \t*_]*:[ \t*_]*", re.I | re.M
)
_UNNUMBERED_LABEL = re.compile(
    r"^[ \t>*_#-]*(?P<number>)(?P<field>Instruction|Input|Output)[ \t*_]*:[ \t*_]*", re.I | re.M
)
_SEPARATOR = re.compile(r"(?:\s*^[ \t]*(?:#{3,}|-{3,})[ \t]*$)+\s*\Z", re.M)
_FENCE = re.compile(r"\s*^```\w*[ \t]*$\s*\Z", re.M)


def parse_tolerant(reply: Reply) -> list[Block]:
    """Reads tasks by their labels, whatever stands around them: prose, fences, repeated or restarted numbers.

    A block begins at every "k. Instruction:"; its fields are the labels with the same k, so that text which only
    looks like a label stays text.
    """
    text = reply.text
    label = _LABEL if _LABEL.search(text) or not _UNNUMBERED_LABEL.search(text) else _UNNUMBERED_LABEL
    if not _begins_with_own_label(text, label):
        text = f"{FIRST}. Instruction:{text}" if label is _LABEL else f"Instruction:{text}"
    starts = [match.start() for match in label.finditer(text) if match["field"].lower() == "instruction"]
    fenced = reply.text.lstrip().startswith("```") or bool(re.match(r"[^\n]*\n+```", reply.text.lstrip()))
    blocks = [
        _tolerant_block(_trim(text[start:end], fenced), label)
        for start, end in zip(starts, [*starts[1:], len(text)], strict=True)
    ]
    if blocks and reply.finish_reason in _UNFINISHED:
        blocks[-1] = Block(blocks[-1].text, rule=_UNFINISHED[reply.finish_reason])
    return blocks


def _begins_with_own_label(text: str, label: re.Pattern[str]) -> bool:
    """Whether the teacher wrote the first label itself, as chat models do, instead of going on after ours."""
    first = label.search(text)
    if first is None or first["field"].lower() != "instruction":
        return False
    return not text[: first.start()].strip() or first["number"] in ("", "1", str(FIRST))


def _trim(text: str, fenced: bool) -> str:
    text = _FENCE.sub("", text) if fenced else text
    return _SEPARATOR.sub("", text.rstrip()).strip()


def _tolerant_block(text: str, label: re.Pattern[str]) -> Block:
    labels = list(label.finditer(text))
    number = labels[0]["number"]
    own = [match for match in labels if match["number"] == number]
    fields = [match["field"].lower() for match in own]
    if fields not in (["instruction", "input", "output"], ["instruction", "output"]):
        return Block(text, rule="malformed")
    ends = [match.start() for match in own[1:]] + [len(text)]
    values = {field: text[match.end() : end].strip() for field, match, end in zip(fields, own, ends, strict=True)}
    return Block(text, Example(values["instruction"], values.get("input", ""), values["output"]))
