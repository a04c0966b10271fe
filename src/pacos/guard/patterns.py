"""The blocklist's small pattern language, compiled to regular expressions over normalised words.

A pattern is elements with blanks between: a word, alternatives (`a|an|the`), a list by name (`{explosive}`), `^` for
the beginning of a sentence or paragraph, `...` for up to four words of the same sentence, none of them a word that
turns the meaning round (prevent, detect, against). `?` after an element makes it optional. An empty line ends no
sentence: it may stand between any two words.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

MAX_WORDS_BETWEEN = 4
_EMPTY_LINES = "(?:¶ )*"


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
    """Compiles one pattern; `lists` are those it may name, and "..." steps over no word of `never_between`."""
    needs, parts = [], [r"\b"]
    for element, optional in _elements(pattern):
        if element == "^":
            parts.append(r"(?<=[.¶] )")
        elif element == "...":
            parts.append(rf"(?:(?!(?:{'|'.join(never_between)}) )\w+ {_EMPTY_LINES}){{0,{MAX_WORDS_BETWEEN}}}")
        else:
            phrases = _phrases(element, lists)
            choice = "|".join(phrase.replace(" ", f" {_EMPTY_LINES}") for phrase in phrases)
            parts.append(f"(?:(?:{choice}) {_EMPTY_LINES})" + ("?" if optional else ""))
            if not optional:
                needs.append(frozenset(max(phrase.split(), key=len) for phrase in phrases))
    return Pattern(category, tuple(sorted(needs, key=len)), re.compile("".join(parts)))


def pattern_words(pattern: str, lists: Mapping[str, Sequence[str]]) -> set[str]:
    """Every word that a pattern names, optional ones too."""
    named = (element for element, _ in _elements(pattern) if element not in ("^", "..."))
    return {word for element in named for phrase in _phrases(element, lists) for word in phrase.split()}


def _elements(pattern: str) -> list[tuple[str, bool]]:
    return [(element.removesuffix("?"), element.endswith("?")) for element in pattern.split()]


def _phrases(element: str, lists: Mapping[str, Sequence[str]]) -> Sequence[str]:
    return lists[element[1:-1]] if element.startswith("{") else element.split("|")
