"""What a thinking model writes before its answer, where the server leaves it in the text."""

import re
from dataclasses import dataclass

# Source: the reasoning parsers of vllm-project/vllm (vllm/reasoning/), which name each family's marks: <think>,
# <seed:think>, [THINK], ◁think▷, <|START_THINKING|>, <|begin_of_thought|>, <|channel|>analysis<|message|>, and
# Granite's two sentences. A template that opens the block itself leaves only the closing mark in the reply.
_THINKING = r"(?:\w+:)?(?:think(?:ing)?|thoughts?)"
_WHAT = rf"(?:{_THINKING}|reasoning|reflection|analysis|scratchpad)"
# Below the beginning a line may be what a task is about; a model that thinks between its tasks says so in these words.
_OPENS = re.compile(
    rf"(?:\A\s*[<\[◁]\|?(?:START_|begin_of_)?{_WHAT}|^[^\S\n]*[<\[◁]\|?(?:START_|begin_of_)?{_THINKING})"
    r"(?:\s[^<>\n]*)?\|?[>\]▷]"
    r"|^[^\S\n]*(?:(?:<\|start\|>assistant)?<\|?channel\|?>\s*(?:analysis|commentary|thought)\b(?:<\|message\|>)?"
    r"|Here is my thought process:|\Aanalysis(?-i:(?=[A-Z])))",
    re.I | re.M,
)
_OTHER_CLOSES = (
    r"<\|channel\|>final\b[^<\n]*(?:<\|constrain\|>\w+)?<\|message\|>|<channel\|>|^Here is my response:"
    r"|assistantfinal(?-i:(?=[A-Z\W]))"
)
_ANSWER_FOLLOWS = re.compile(rf"(?:<\|start\|>assistant)?(?:{_OTHER_CLOSES})", re.I)
_CLOSES = re.compile(rf"[<\[◁]\|?(?:/|END_|end_of_){_WHAT}\|?[>\]▷]|{_OTHER_CLOSES}", re.I | re.M)
# What closes a block that the prompt had opened. In the middle of a line it is somebody's words.
_CLOSES_THINKING = rf"[<\[◁]\|?(?:/|END_|end_of_){_THINKING}\|?[>\]▷]"
_ENDS_AT_A_LINE = re.compile(rf"^[^\S\n]*{_CLOSES_THINKING}|{_CLOSES_THINKING}[^\S\n]*$|{_OTHER_CLOSES}", re.I | re.M)
_WRAPPER_START = re.compile(r"\s*<(?:\|begin_of_solution\||answer|response|final_answer|solution)>", re.I)
_WRAPPER = re.compile(rf"{_WRAPPER_START.pattern}(.*)", re.I | re.S)
_WRAPPER_END = re.compile(r"(?:</(?:answer|response|final_answer|solution)>|<\|end_of_solution\|>)\Z", re.I)
# Written on, as DeepSeek-R1 and GLM do: glued to the words on both sides and not in quotes, or behind a sentence.
_GLUED = re.compile(
    rf"(?<=[^\s`'\"]){_CLOSES_THINKING}(?=[^\s`'\",.;:)])|(?<=[.!?…。！？])[ \t]+{_CLOSES_THINKING}", re.I
)
_MENTIONED = re.compile(rf"[<\[◁]\|?(?:START_|begin_of_)?{_THINKING}(?:\s[^<>\n]*)?\|?[>\]▷]", re.I)
# The beginning of a text that may become an opening mark.
_MAY_OPEN = re.compile(
    r"(?:[<\[◁][^>\]▷\n]{0,40}|(?:<\|\w+\|?>[ \w]*)+(?:<[^>]{0,20})?|a|an|ana|anal\w{0,3}|analysis"
    r"|H|He|Her|Here|Here [ \w]{0,21})\Z",
    re.I,
)
_SPECIAL_TOKENS = re.compile(r"(?:<\|\w+\|>\s*)+\Z")


@dataclass(frozen=True, slots=True)
class Thought:
    """What `after_thinking` found: the text behind the thoughts, and what was said of them.

    `closes_alone` means that only the closing mark stood there; `is_cut` that the closing mark did not.
    """

    text: str
    thought: bool = False
    closes_alone: bool = False
    is_cut: bool = False


def after_thinking(text: str) -> Thought:
    """The text behind the thoughts that it begins with, as it is where it begins with none; "" where they do not end.

    Further down a mark is somebody's words, unless it closes what a template has opened.
    """
    rest, thought = text, False
    while opening := _OPENS.match(rest.lstrip()):
        closing = _CLOSES.search(rest.lstrip(), opening.end())
        if not closing:
            return Thought("", thought=True, is_cut=True)
        rest, thought = rest.lstrip()[closing.end() :], True
    mentioned = _MENTIONED.search(rest)
    unopened = rest[: mentioned.start()] if mentioned else rest
    closings = [*_ENDS_AT_A_LINE.finditer(unopened), *_GLUED.finditer(unopened)]
    closes_alone = bool(closings) and not thought
    if closings:
        last = max(closings, key=lambda closing: closing.end())
        # One too many behind the answer closes nothing.
        is_stray = thought and not rest[last.end() :].strip()
        rest, thought = rest[: last.start()] if is_stray else rest[last.end() :], True
    return Thought(_unwrapped(rest) if thought else text, thought, closes_alone)


def reply_start(text: str, opens_itself: bool = False) -> int | None:
    """Where the reply begins in a text that is still being written; None while nobody can know.

    `opens_itself` means that the server's template opens the block of thoughts.
    """
    at, thought = 0, False
    while True:
        at_word = len(text) - len(text[at:].lstrip())
        opening = _OPENS.match(text[at_word:])
        closing = _CLOSES.search(text, at_word + opening.end()) if opening else None
        if opening is None and opens_itself and not thought:
            closing = _CLOSES.search(text, at)
            if closing is None:
                return None
        elif opening is None and (closing := (_WRAPPER_START if thought else _ANSWER_FOLLOWS).match(text, at_word)):
            pass
        elif opening is None:
            is_open = at_word == len(text) or _MAY_OPEN.match(text[at_word:])
            return None if is_open else at_word if thought else 0
        elif closing is None:
            return None
        at, thought = closing.end(), True


def without_thinking(text: str) -> str:
    """The text after and between what the model thought aloud; "" where it did nothing else.

    A text without such marks comes back as it is. A block opens at the start of a line; one that never closes was cut.
    """
    rest, found = text, False
    while opening := _OPENS.search(rest):
        closing = _CLOSES.search(rest, opening.end())
        rest, found = rest[: opening.start()] + (rest[closing.end() :] if closing else ""), True
    if closings := list(_ENDS_AT_A_LINE.finditer(rest)):
        rest, found = rest[closings[-1].end() :], True
    if not found:
        return text
    return _unwrapped(rest)


def _unwrapped(text: str) -> str:
    """What follows thoughts, without what some put round it."""
    rest = _SPECIAL_TOKENS.sub("", text.rstrip()).strip()
    wrapped = _WRAPPER.match(rest)
    return _WRAPPER_END.sub("", wrapped[1]).strip() if wrapped else rest
