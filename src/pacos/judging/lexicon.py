"""Swear words, by a list: the project's own or a file of the user's."""

import re
from collections.abc import Callable
from importlib import resources
from pathlib import Path

from pacos.core.errors import PacosError
from pacos.core.files import read_text
from pacos.judging.linear_regex import compile_linear, encodable

# Letters and digits of any script: a word inside another is not that word.
_NO_WORD = r"[^\p{L}\p{M}\p{N}]"
_WORD_START = re.compile(r"(?<![^\W_])\S")


def word_finder(path: str = "") -> Callable[[str], str]:
    """The first word of the list that stands in a text by itself, "" where there is none; case is the same to it.

    `path` is a file with a word or phrase a line, lines that begin with "#" aside; "" is the list that comes along.
    """
    where = path or "lexicon.txt"
    text = read_text(Path(path), "lexicon") if path else resources.files(__package__).joinpath(where).read_text("utf-8")
    lines = {" ".join(line.lower().split()) for line in encodable(text).splitlines() if not line.startswith("#")} - {""}
    if not lines:
        raise PacosError(f"{where}: no word in it; expected a word or phrase a line. Fill it, or name another file.")
    choice = "|".join(r"\s+".join(map(re.escape, line.split())) for line in sorted(lines))
    finds = compile_linear(f"(?i)(?:^|{_NO_WORD})(?:{choice})(?:$|{_NO_WORD})", where)
    longest = max(map(len, lines))

    def first_word(text: str) -> str:
        text = encodable(text)
        if not finds(text):
            return ""
        # The engine says only whether: the shortest beginning that has a word ends with it and what parts it from the
        # next. A letter put after it keeps a word that was cut from being another.
        high = 64
        while high < len(text) and not finds(text[:high] + "a"):
            high *= 2
        high = min(high, len(text))
        low = 0
        while low < high:
            middle = (low + high) // 2
            low, high = (low, middle) if finds(text[:middle] + "a") else (middle + 1, high)
        ending = text[max(0, low - 2 * longest) : low].lower()
        for start in reversed([match.start() for match in _WORD_START.finditer(ending)]):
            for words in (ending[start:], ending[start:-1]):
                if " ".join(words.split()) in lines:
                    return words
        return "a word of the list"

    return first_word
