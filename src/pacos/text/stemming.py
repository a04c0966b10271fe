"""Porter's stemmer (Program 14, 1980, 130-137), as rouge_score has it: with the departures that NLTK's makes."""

from collections.abc import Callable, Sequence
from functools import lru_cache
from itertools import pairwise

Rule = tuple[str, str, Callable[[str], bool]]
"""What a word ends in, what stands there instead, and the condition on what is before it."""

IRREGULAR = {
    "sky": "sky", "skies": "sky", "dying": "die", "lying": "lie", "tying": "tie", "news": "news", "innings": "inning",
    "inning": "inning", "outings": "outing", "outing": "outing", "cannings": "canning", "canning": "canning",
    "howe": "howe", "proceed": "proceed", "exceed": "exceed", "succeed": "succeed",
}  # fmt: skip


@lru_cache(maxsize=2**16)
def stem(word: str) -> str:
    """The stem of a lower-case English word."""
    if word in IRREGULAR or len(word) <= 2:
        return IRREGULAR.get(word, word)
    word = _past_and_gerund(_plural(word))
    word = _replaced(word, [("y", "i", lambda s: len(s) > 1 and _consonants(s)[-1])])
    word = _replaced(_double_suffix(word), [(a, b, _has_measure) for a, b in _SUFFIXES])
    word = _replaced(word, _ENDINGS)
    if word.endswith("e") and (_measure(word[:-1]) > 1 or (_measure(word[:-1]) == 1 and not _ends_cvc(word[:-1]))):
        word = word[:-1]
    return word[:-1] if word.endswith("ll") and _measure(word[:-1]) > 1 else word


def _plural(word: str) -> str:
    if word.endswith("ies"):
        return word[:-1] if len(word) == 4 else word[:-2]
    if word.endswith("sses"):
        return word[:-2]
    return word[:-1] if word.endswith("s") and not word.endswith("ss") else word


def _past_and_gerund(word: str) -> str:
    if word.endswith("ied"):
        return word[:-1] if len(word) == 4 else word[:-2]
    if word.endswith("eed"):
        return word[:-1] if _measure(word[:-3]) > 0 else word
    base = next(
        (word[: -len(end)] for end in ("ed", "ing") if word.endswith(end) and _has_vowel(word[: -len(end)])), ""
    )
    if not base:
        return word
    if base.endswith(("at", "bl", "iz")):
        return base + "e"
    if len(base) > 1 and base[-1] == base[-2] and _consonants(base)[-1]:
        return base if base[-1] in "lsz" else base[:-1]
    return base + "e" if _measure(base) == 1 and _ends_cvc(base) else base


def _double_suffix(word: str) -> str:
    if word.endswith("alli") and _has_measure(word[:-4]):
        return _double_suffix(word[:-2])
    rules: list[Rule] = [(end, new, _has_measure) for end, new in _DOUBLE_SUFFIXES]
    # The l counts for what is before it, so that geo and theo are as archaeo and philo.
    return _replaced(word, [*rules, ("logi", "log", lambda before: _has_measure(before + "l"))])


def _replaced(word: str, rules: Sequence[Rule]) -> str:
    """By the first rule that the end fits, or as it is where the rule's condition does not hold."""
    for end, new, holds in rules:
        if word.endswith(end):
            before = word[: len(word) - len(end)]
            return before + new if holds(before) else word
    return word


def _consonants(word: str) -> list[bool]:
    """Of each letter whether it is a consonant; a y is one at the beginning and after a vowel."""
    found: list[bool] = []
    for letter in word:
        found.append(letter not in "aeiou" and (letter != "y" or not found or not found[-1]))
    return found


def _measure(word: str) -> int:
    """How often a consonant follows a vowel."""
    return sum(after and not before for before, after in pairwise(_consonants(word)))


def _has_measure(word: str) -> bool:
    return _measure(word) > 0


def _has_vowel(word: str) -> bool:
    return not all(_consonants(word))


def _ends_cvc(word: str) -> bool:
    """Whether it ends in consonant, vowel, consonant other than w, x and y; or is a vowel and a consonant."""
    kinds = _consonants(word)
    return (kinds[-3:] == [True, False, True] and word[-1] not in "wxy") or kinds == [False, True]


_DOUBLE_SUFFIXES = (
    ("ational", "ate"), ("tional", "tion"), ("enci", "ence"), ("anci", "ance"), ("izer", "ize"), ("bli", "ble"),
    ("alli", "al"), ("entli", "ent"), ("eli", "e"), ("ousli", "ous"), ("ization", "ize"), ("ation", "ate"),
    ("ator", "ate"), ("alism", "al"), ("iveness", "ive"), ("fulness", "ful"), ("ousness", "ous"), ("aliti", "al"),
    ("iviti", "ive"), ("biliti", "ble"), ("fulli", "ful"),
)  # fmt: skip
_SUFFIXES = (
    ("icate", "ic"), ("ative", ""), ("alize", "al"), ("iciti", "ic"), ("ical", "ic"), ("ful", ""), ("ness", ""),
)  # fmt: skip
_DROPPED = (
    "al", "ance", "ence", "er", "ic", "able", "ible", "ant", "ement", "ment", "ent", "ion", "ou", "ism", "ate", "iti",
    "ous", "ive", "ize",
)  # fmt: skip
_ENDINGS: tuple[Rule, ...] = tuple(
    (end, "", (lambda s: _measure(s) > 1 and s[-1] in "st") if end == "ion" else (lambda s: _measure(s) > 1))
    for end in _DROPPED
)
