"""Rules that reject an example, each a small pure function with a name."""

import re
import string
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from pacos.core.records import Example
from pacos.text import unicode_tokens

MIN_WORDS, MAX_WORDS = 4, 150
# What a model of text cannot look at or make; the released recipe's eighteen.
BLACKLIST = (
    *("image", "images", "graph", "graphs", "picture", "pictures", "file", "files", "map", "maps"),
    *("draw", "plot", "go to", "video", "audio", "music", "flowchart", "diagram"),
)
_BLACKLIST = re.compile(rf"\b(?:{'|'.join(BLACKLIST)})\b", re.I)
_OPENING = "\"'“‘«¿¡([`$"
_NO_INPUT = re.compile(r"[<\[({]?\s*(?:no\s*-?_?input|none|n/?a|not applicable|empty|-+)\s*[>\])}]?\.?", re.I)
_NO_OUTPUT = re.compile(r"[<\[({]?\s*(?:no\s*-?_?output|none|n/?a|empty|-+)\s*[>\])}]\.?|no\s*-?_?output\.?", re.I)
_INNER_LABEL = re.compile(r"^\W*(?:\d+[.)]\s*(?:Instruction|Input|Output)|Instruction)\s*:|^#{3,}\s*\d+\.", re.M)
_URL = re.compile(r"(?:https?://|www\.)\S+")


@dataclass(frozen=True, slots=True)
class Rule:
    """`rejects(example)` is true where the example breaks the rule."""

    name: str
    rejects: Callable[[Example], bool]


def first_broken(example: Example, rules: Iterable[Rule]) -> str | None:
    """The name of the first rule that rejects the example, or None."""
    return next((rule.name for rule in rules if rule.rejects(example)), None)


def _num_words(text: str) -> int:
    # Scripts without spaces have many tokens in what looks like one word.
    return len(text.split()) if text.isascii() else max(len(text.split()), len(unicode_tokens(text)))


def _bad_first_character(example: Example) -> bool:
    first = example.instruction[:1]
    return first in string.punctuation or not first.isascii()


def _repeats_the_question(example: Example) -> bool:
    # A word may rightly be its own answer, as the plural of "fish" is; a sentence hardly ever.
    output = example.output.strip()
    return len(output.split()) > 3 and output in (example.instruction.strip(), example.input.strip())


def _is_only_a_link(example: Example) -> bool:
    links = _URL.findall(example.input)
    return bool(links) and len(_URL.sub("", example.input).split()) <= 2


# The released rules, in the released order. Source: stanford_alpaca/generate_instruction.py.
PUBLISHED_RULES = (
    Rule("too_short", lambda e: len(e.instruction.split()) < MIN_WORDS),
    Rule("too_long", lambda e: len(e.instruction.split()) > MAX_WORDS),
    Rule("blacklist_word", lambda e: _BLACKLIST.search(e.instruction) is not None),
    Rule("write_a_program", lambda e: e.instruction.startswith("Write a program")),
    Rule("bad_first_character", _bad_first_character),
)

# The same idea over the whole record and in any script.
FIXED_RULES = (
    Rule("too_short", lambda e: _num_words(e.instruction) < MIN_WORDS),
    Rule("too_long", lambda e: _num_words(e.instruction) > MAX_WORDS),
    Rule("blacklist_word", lambda e: _BLACKLIST.search(e.instruction) is not None),
    Rule("write_a_program", lambda e: e.instruction.lower().startswith("write a program")),
    Rule("bad_first_character", lambda e: not (e.instruction[:1].isalnum() or e.instruction[:1] in _OPENING)),
    Rule("empty_output", lambda e: not e.output.strip() or _NO_OUTPUT.fullmatch(e.output.strip()) is not None),
    Rule("merged_record", lambda e: any(_INNER_LABEL.search(text) for text in (e.instruction, e.input, e.output))),
    Rule("output_equals_input", _repeats_the_question),
    Rule("url_input", _is_only_a_link),
)

# And over instances, which a teacher that lost the thread ends in a colon. Source: Self-Instruct.
INSTANCE_RULES = (
    *FIXED_RULES,
    Rule("ends_in_colon", lambda e: e.input.rstrip().endswith(":") or e.output.rstrip().endswith(":")),
)


def keep_as_written(example: Example) -> Example:
    """The released recipe changes nothing but the exact "<noinput>", which its parser has already read."""
    return example


def normalise_input(example: Example) -> Example:
    """Every spelling of "no input" becomes the empty input."""
    if _NO_INPUT.fullmatch(example.input.strip()):
        return Example(example.instruction, "", example.output)
    return example
