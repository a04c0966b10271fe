"""The labels of a reply: where they stand, and what each stands for.

A label is known by its shape: at the start of a line, with whatever Markdown or brackets put around it, perhaps with a
number, and a colon of any script behind it, or as a heading. What it stands for is known by the name that was asked
for, else by a usual one, else by its place in an order that comes again task after task.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

from pacos.generate.words import says_no_input
from pacos.text.tokens import COLONS

Roles = Mapping[str, str]
ASKED: Roles = {
    "instruction": "instruction",
    "instructions": "instruction",
    "classification": "classification",
    "input": "input",
    "inputs": "input",
    "output": "output",
    "outputs": "output",
}
USUAL: Roles = {
    **ASKED,
    **dict.fromkeys(("task", "question", "prompt", "query", "request", "problem", "q"), "instruction"),
    **dict.fromkeys(("context", "passage", "example input", "sample input"), "input"),
    **dict.fromkeys(
        ("response", "answer", "solution", "completion", "result", "expected output", "sample output", "a"), "output"
    ),
}

# Whatever may stand before a label; quotes and signs of programs are none of it, so that no line of code is read.
DECORATION = r"(?:[^\w\n\"'`$/\\=%&@;!?,.:{}|“”‘’]|_)"
_NUMBER = r"(?:\d{1,3}|[①-⓿❶-➓]|[一二三四五六七八九十百]{1,4})"
_NAME = rf"[^\W\d_][^\n\d_*<>()\[\]【】〔〕《》〈〉「」『』（）#\"“”.,;!?。，、；！？|/\\={{}}{COLONS}]{{0,32}}?"
_LABEL = re.compile(
    # What no label can do without, looked for first: most lines have none of it.
    rf"^(?=[^\n]{{0,120}}?(?:[{COLONS}\]】〕》〉>」』*#_]|[-–—][^\S\n]|(?:put|ion)s?[^\w\n]*$))"
    rf"(?P<lead>{DECORATION}{{0,20}})"
    rf"(?:(?:(?P<word>[^\W\d_]{{1,12}})[ #№]{{0,3}})?"
    rf"(?P<number>{_NUMBER})(?:\.\d|[a-d])?(?P<mid>(?:[^\w\n]|_){{1,8}}))?"
    rf"(?P<name>{_NAME})(?:(?:[ ]?[#(（№]?|[_-])(?P<suffix>{_NUMBER})[)）]?)?"
    rf"(?P<close>(?:[ ]?[(（][^()（）\n]{{1,30}}[)）])?(?:[^\w\n{COLONS}\"'`=,.;!?]|_){{0,6}}?)"
    rf"(?:(?P<colon>[{COLONS}])|(?P<dash>[^\S\n]+[-–—](?=[^\S\n]))|(?<=[\]】〕》〉>」』])|(?=[^\S\n]*$))",
    re.M,
)
_EMPHASIS = re.compile(r"[*_]+(?!\s)|(?<=\S)[*_]+")
_CLOSING = re.compile(r"[^\S\n]*[*_]{1,3}")
MARKUP = re.compile(r"\*\*|__|#|[\[【〔《〈<「『]")
# A task's own heading: "Task 5", "### 5. Sentiment", "第5题".
HEADING = re.compile(r"[^\w\n]*(?P<word>[^\W\d_]{0,12})[^\w\n]{0,4}(?P<number>\d{1,3})(?P<rest>\D.{0,80})?")


@dataclass(frozen=True, slots=True)
class Label:
    """A label of the text from `start` to `end`; `number` stands before its name and `suffix` behind it, or "".

    `marks` is the markup around it, without blanks; `opened` what its value is to close, as in "**Input: x**".
    """

    start: int
    end: int
    name: str
    number: str = ""
    suffix: str = ""
    marks: str = ""
    opened: str = ""

    @property
    def key(self) -> str:
        """The number of its task, or ""."""
        return self.number or self.suffix


def find_labels(text: str) -> list[Label]:
    """Whatever has the shape of a label; most of it usually is one, and some is text."""
    labels = []
    for match in _LABEL.finditer(text):
        lead, mid, close = match["lead"], match["mid"] or "", match["close"]
        name, number, suffix = _folded(match["name"]), _folded(match["number"]), _folded(match["suffix"])
        around, end = lead + mid, match.end()
        if match["word"] and name not in ASKED and (colon := re.search(rf"[{COLONS}]", mid)):
            # "Task 4: Write a line about: rain".
            name, number, suffix = _folded(match["word"]), "", number
            around, close, end = lead, mid[: colon.start()], match.start("mid") + colon.end()
        elif not (match["colon"] or MARKUP.search(around) or (name in ASKED and (match["dash"] or not number))):
            # A dash, or nothing at all, makes a label only of a name that was asked for.
            continue
        emphasis = _EMPHASIS.findall(f"{around}x{close}")
        is_open = len(emphasis) % 2 == 1
        if is_open and (closing := _CLOSING.match(text, end)):
            # "**Input:** x" closes behind the colon what it opened before the name.
            is_open, end = False, closing.end()
        marks = "".join((lead + close).split())
        labels.append(Label(match.start(), end, name, number, suffix, marks, emphasis[-1] if is_open else ""))
    return labels


@lru_cache(4096)
def _folded(text: str | None) -> str:
    folded = " ".join(unicodedata.normalize("NFKC", text or "").casefold().split())
    return str(int(folded)) if folded.isdecimal() else folded


def infer_roles(text: str) -> Roles:
    """What labels stand for that have other names than the asked ones, by their order; {} where that is not sound.

    Sound are three names that come again in one order: instruction, input, output. Two are read as instruction and
    output only where they are numbered, as two speakers of a dialogue also take turns.
    """
    labels = find_labels(text)
    # Labels that are numbered, or in bold type, are hardly ever part of what a teacher writes in its fields.
    for some in ([label for label in labels if label.key], [label for label in labels if "**" in label.marks], labels):
        turns = _turns(some)
        num_names = len({label.name for label in turns})
        windows = [turns[at : at + num_names] for at in range(len(turns) - num_names + 1)]
        is_numbered = all(label.key for label in turns)
        if is_numbered:
            windows = [window for window in windows if len({label.key for label in window}) == 1]
        elif num_names == 3 and _begins_a_task(text, turns):
            windows = [window for window in windows if window[0].name == turns[0].name]
        else:
            continue
        order = _order(windows)
        roles = dict(
            zip(
                order, ("instruction", "input", "output") if num_names == 3 else ("instruction", "output"), strict=False
            )
        )
        inputs = [text[label.end : after.start] for label, after in pairwise(turns) if roles.get(label.name) == "input"]
        # A name that is known says more than its place.
        agrees = all(USUAL.get(name, role) == role for name, role in roles.items())
        if roles and agrees and (is_numbered or any(label.key for label in turns) or are_translated(order, inputs)):
            return roles
    return {}


def infer_item_roles(text: str) -> Roles:
    """The same for two labels under instructions that have a number and no label: input, output."""
    turns = _turns([label for label in find_labels(text) if not label.key])
    if len({label.name for label in turns}) != 2:
        return {}
    order = _order([turns[at : at + 2] for at in range(0, len(turns) - 1, 2)])
    return dict(zip(order, ("input", "output"), strict=False)) if are_translated(order, ()) else {}


def _turns(labels: Sequence[Label]) -> list[Label]:
    """The labels whose names come again, two or three of them; [] where there are others."""
    counts = Counter(label.name for label in labels)
    most = max(counts.values(), default=0)
    names = {name for name, count in counts.items() if count >= max(2, most / 8)}
    turns = [label for label in labels if label.name in names]
    if len(names) == 4 and {label.name for label in turns if label.key} == {turns[0].name}:
        # A heading that counts the tasks above three fields without a number.
        names.remove(turns[0].name)
        turns = [label for label in turns if label.name in names]
    return turns if len(names) in (2, 3) else []


def _order(windows: Iterable[Sequence[Label]]) -> tuple[str, ...]:
    """The names that most often follow one another, if they do so more than once."""
    rows = [tuple(label.name for label in window) for window in windows]
    orders = Counter(row for row in rows if len(set(row)) == len(row))
    order, times = orders.most_common(1)[0] if orders else ((), 0)
    return order if times >= 2 else ()


def are_translated(names: Sequence[str], inputs: Iterable[str]) -> bool:
    """Whether names are the asked ones in other words, and not those of some other list, "Title" and "Author".

    Letters that English has not tell, or that an input says there is none.
    """
    return not "".join(names).isascii() or any(map(says_no_input, inputs))


def _begins_a_task(text: str, turns: Sequence[Label]) -> bool:
    """Whether the first label is an instruction's, and not one below an instruction that goes on after our label."""
    before = text[: turns[0].start]
    last = before.rstrip().rpartition("\n")[2].strip()
    if not re.search(r"\w", last) or last[-1] in COLONS:
        return True
    heading = HEADING.fullmatch(last)
    if heading and (MARKUP.search(last) or len(re.findall(r"\w", heading["rest"] or "")) <= 2):
        return True
    # A greeting, with a blank line behind it and only whole tasks below.
    counts = Counter(label.name for label in turns)
    return before.endswith("\n\n") and len(set(counts.values())) == 1
