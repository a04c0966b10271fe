"""The blocklist's small pattern language, compiled to regular expressions over normalised words.

A pattern is elements with blanks between: a word, alternatives (`a|an|the`), a list by name (`{explosive}`), `^` for
the beginning of a sentence, `...` for up to four words of the same sentence, none of them a word that turns the
meaning round (prevent, detect, against). `?` after an element makes it optional.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pacos.core.errors import PacosError

MAX_WORDS_BETWEEN = 4


@dataclass(frozen=True)
class Pattern:
    """A compiled pattern. `needs` has, for each element that must occur, one word of each of its alternatives."""

    category: str
    needs: tuple[frozenset[str], ...]
    regex: re.Pattern[str]

    def lacks(self, words: set[str]) -> bool:
        """Whether a text with these words of the vocabulary cannot match: nearly always, and quickly known."""
        return any(words.isdisjoint(need) for need in self.needs)


def compile_pattern(
    category: str, pattern: str, lists: Mapping[str, Sequence[str]], never_between: Sequence[str]
) -> Pattern:
    """Compiles one pattern; PacosError where it names no list, or holds nothing that must occur."""
    needs, parts = [], [r"\b"]
    for element in pattern.split():
        name, optional = element.removesuffix("?"), element.endswith("?")
        if name == "^":
            parts.append(r"(?<=\. )")
        elif name == "...":
            barred = "|".join(map(re.escape, never_between))
            parts.append(rf"(?:(?!(?:{barred}) )\w+ ){{0,{MAX_WORDS_BETWEEN}}}")
        else:
            phrases = _phrases(name, lists, pattern)
            alternatives = f"(?:(?:{'|'.join(map(re.escape, phrases))}) )"
            parts.append(alternatives + ("?" if optional else ""))
            if not optional:
                needs.append(frozenset(max(phrase.split(), key=len) for phrase in phrases))
    if not needs:
        raise PacosError(f"blocklist pattern {pattern!r}: every element is optional; it would match any text.")
    return Pattern(category, tuple(sorted(needs, key=len)), re.compile("".join(parts)))


def pattern_words(pattern: str, lists: Mapping[str, Sequence[str]]) -> set[str]:
    """Every word that occurs in a pattern, optional ones too."""
    names = (element.removesuffix("?") for element in pattern.split())
    return {
        word
        for name in names
        if name not in ("^", "...")
        for phrase in _phrases(name, lists, pattern)
        for word in phrase.split()
    }


def _phrases(name: str, lists: Mapping[str, Sequence[str]], pattern: str) -> Sequence[str]:
    if not name.startswith("{"):
        return name.split("|")
    if name[1:-1] not in lists:
        raise PacosError(f"blocklist pattern {pattern!r}: no list is named {name}.")
    return lists[name[1:-1]]
