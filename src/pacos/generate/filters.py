"""Rules that reject an example, each a small pure function with a name."""

import re
import string
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from pacos.core.records import Example
from pacos.generate.words import says_no_input, says_no_output
from pacos.text.tokens import COLONS, may_begin_sentence, num_words, unicode_tokens

MIN_WORDS, MAX_WORDS = 4, 150
# What a model of text cannot look at or make; the released recipe's eighteen.
BLACKLIST = (
    *("image", "images", "graph", "graphs", "picture", "pictures", "file", "files", "map", "maps"),
    *("draw", "plot", "go to", "video", "audio", "music", "flowchart", "diagram"),
)
_BLACKLIST = re.compile(rf"\b(?:{'|'.join(BLACKLIST)})\b", re.I)
# A task of its own has numbered labels; a bare "Instruction:" may also be what the task is about.
_INNER_LABEL = re.compile(
    r"^[^\w\n]*\d+[.)][ \t]*(?:Instruction|Input|Output)[ \t]*[" + COLONS + r"]|^#{3,}\s*\d+\.", re.M
)
# An address ends where a script without spaces goes on.
_URL = re.compile(r"!\[[^\]\n]*\]|(?:https?://|www\.)[!-~]+", re.I)
# What may stand beside a link without adding to it: "Article 1:", an image's caption.
_CAPTION = re.compile(rf"^[ \t]*[\w ]{{1,24}}[{COLONS}]|" + r"\[[^\]\n]*\]|\"[^\"\n]*\"\)?|\(\S*\)", re.M)
_COLONS = tuple(COLONS)
_MAY_REPEAT = re.compile(
    r"\b(?:sort|order|rank|arrange|match|organi[sz]e|sequence|classify|transcribe|read|paste|copy|repeat|cite|all)\b",
    re.I,
)
# Tasks about the address itself need nothing from behind it.
_ABOUT_ADDRESSES = re.compile(
    r"\b(?:ur[li]s?|crawler|program|script|code|domain|hyperlinks?|web address|html|api|http\w*|link to|"
    r"bookmark|redirect|block|classify|categori[sz]e)\b",
    re.I,
)
_NEEDS_THE_PAGE = re.compile(
    r"\b(?:summar\w*|content\w*|open|visit|read|describe|title|questions|photo|image|figure)\b", re.I
)


@dataclass(frozen=True, slots=True)
class Rule:
    """`rejects(example)` is true where the example breaks the rule."""

    name: str
    rejects: Callable[[Example], bool]


def first_broken(example: Example, rules: Iterable[Rule]) -> str | None:
    """The name of the first rule that rejects the example, or None."""
    return next((rule.name for rule in rules if rule.rejects(example)), None)


def _is_too_short(example: Example) -> bool:
    # How many words a script without spaces has is an estimate: here each character counts as one, in the example's
    # favour.
    words = len(example.instruction.split())
    return words < MIN_WORDS and (example.instruction.isascii() or len(unicode_tokens(example.instruction)) < MIN_WORDS)


def _bad_first_character(example: Example) -> bool:
    first = example.instruction[:1]
    return first in string.punctuation or not first.isascii()


def _repeats_the_question(example: Example) -> bool:
    # A word may rightly be its own answer, as the plural of "fish" is, and a list be in order already; a sentence
    # hardly ever.
    output = example.output.strip()
    if num_words(output) <= 3 or output not in (example.instruction.strip(), example.input.strip()):
        return False
    return not _MAY_REPEAT.search(example.instruction)


def _is_empty_output(example: Example) -> bool:
    output = example.output.strip()
    return says_no_output(output) or (output == example.input.strip() and says_no_input(output))


def _is_only_a_link(example: Example) -> bool:
    if not _URL.search(example.input):
        return False
    beside = _CAPTION.sub(" ", _URL.sub(" ", example.input))
    about_address = _ABOUT_ADDRESSES.search(example.instruction) and not _NEEDS_THE_PAGE.search(example.instruction)
    return num_words(beside) <= 2 and not about_address


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
    Rule("too_short", _is_too_short),
    Rule("too_long", lambda e: num_words(e.instruction) > MAX_WORDS),
    Rule("blacklist_word", lambda e: _BLACKLIST.search(e.instruction) is not None),
    Rule("write_a_program", lambda e: e.instruction.lower().startswith("write a program")),
    Rule("bad_first_character", lambda e: not may_begin_sentence(e.instruction)),
    Rule("empty_output", _is_empty_output),
    Rule("merged_record", lambda e: any(_INNER_LABEL.search(text) for text in (e.instruction, e.input, e.output))),
    Rule("output_equals_input", _repeats_the_question),
    Rule("url_input", _is_only_a_link),
)

# And over instances, which a teacher that lost the thread ends in a colon. Source: Self-Instruct.
INSTANCE_RULES = (
    *FIXED_RULES,
    Rule("ends_in_colon", lambda e: e.input.rstrip().endswith(_COLONS) or e.output.rstrip().endswith(_COLONS)),
)

# What each reason for a rejection says, for reports; the last of them are the parser's and the pool's.
MEANINGS = {
    "too_short": "an instruction of three words or fewer",
    "too_long": "an instruction of more than 150 words",
    "blacklist_word": "about images, files, sound: what text cannot do",
    "write_a_program": "begins with “Write a program”",
    "bad_first_character": "begins with a character that begins no sentence",
    "empty_output": "no output, or one that only says so",
    "merged_record": "a field holds the labels of another task",
    "output_equals_input": "the output repeats the instruction or the input",
    "url_input": "the input is only a link, and the task needs what is behind it",
    "ends_in_colon": "the input or the output ends in a colon",
    "truncated": "the reply was cut at its token limit inside this task",
    "content_filter": "the server's filter ended the reply inside this task",
    "malformed": "not exactly one instruction and its inputs and outputs",
    "conflicting_instances": "two instances of the task have the same input",
    "contaminated": "gives away a question of an evaluation set",
    "not_novel": "too near, by ROUGE-L, to a seed task or to one kept before",
}


def keep_as_written(example: Example) -> Example:
    """The released recipe changes nothing but "<noinput>", in capitals or not, which its parser has already read."""
    return example


def normalise_input(example: Example) -> Example:
    """Every spelling of "no input" becomes the empty input."""
    if says_no_input(example.input):
        return Example(example.instruction, "", example.output)
    return example
