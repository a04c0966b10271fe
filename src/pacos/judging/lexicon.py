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
_PART = 512
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
    overlap = 2 * max(map(len, lines))

    def first_word(text: str) -> str:
        text = encodable(text)
        if not finds(text):
            return ""
        # The engine says only whether. Letters around a part keep a word that was cut from being another.
        parts = (text[max(0, at - overlap) : at + _PART] for at in range(0, len(text), _PART))
        part = next((part for part in parts if finds(f"a{part}a")), text)
        low, high = 0, len(part)
        while low < high:
            middle = (low + high) // 2
            low, high = (low, middle) if finds(part[:middle] + "a") else (middle + 1, high)
        # The shortest beginning that has a word ends with it, or with what parts it from the next.
        ending = part[:low].lower()
        for start in reversed([match.start() for match in _WORD_START.finditer(ending)]):
            for end in (len(ending), len(ending) - 1):
                if (word := " ".join(ending[start:end].split())) in lines:
                    return word
        return "a word of the list"

    return first_word
