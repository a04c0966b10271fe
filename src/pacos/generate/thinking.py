"""What a thinking model writes before its answer, where the server leaves it in the text."""

import re

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
    r"|Here is my thought process:)",
    re.I | re.M,
)
_OTHER_CLOSES = r"<\|channel\|>final\b[^<\n]*(?:<\|constrain\|>\w+)?<\|message\|>|<channel\|>|^Here is my response:"
_CLOSES = re.compile(rf"[<\[◁]\|?(?:/|END_|end_of_){_WHAT}\|?[>\]▷]|{_OTHER_CLOSES}", re.I | re.M)
# What closes a block that the prompt had opened. In the middle of a line it is somebody's words.
_CLOSES_THINKING = rf"[<\[◁]\|?(?:/|END_|end_of_){_THINKING}\|?[>\]▷]"
_ENDS_AT_A_LINE = re.compile(rf"^[^\S\n]*{_CLOSES_THINKING}|{_CLOSES_THINKING}[^\S\n]*$|{_OTHER_CLOSES}", re.I | re.M)
_WRAPPER = re.compile(r"\s*<(\|begin_of_solution\||answer|response|final_answer|solution)>(.*)", re.I | re.S)
_WRAPPER_END = re.compile(r"(?:</(?:answer|response|final_answer|solution)>|<\|end_of_solution\|>)\Z", re.I)
_SPECIAL_TOKENS = re.compile(r"(?:<\|\w+\|>\s*)+\Z")


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
    rest = _SPECIAL_TOKENS.sub("", rest.rstrip()).rstrip()
    wrapped = _WRAPPER.match(rest)
    return _WRAPPER_END.sub("", wrapped[2]) if wrapped else rest
