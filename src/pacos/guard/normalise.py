"""Undoes the usual disguises of a word: look-alike letters, invisible ones, spelling out, digits for letters."""

import re
import unicodedata
from collections.abc import Collection

from pacos.core.lookalikes import drawn_like, is_invisible

SENTENCE_END = "."
MOST_MARKS = 30
EMPTY_LINE = "¶"
# Stands where something invisible stood, until it is known whether that parted two words or one.
_UNSEEN = "\x00"
_CONTROL = re.compile(r"[\x00-\x08\x0e-\x1b\x7f]")

_LEET = str.maketrans("013456789@$!|+l", "oieasbtbgasiiti")
_WORD_OR_END = re.compile(r"[a-z0-9]+|[.!?;]|\n\s*\n")
# Nothing is tried twice: one word of 32,000 letters would hold up every other answer for half a minute.
_PARTED = re.compile(rf"(?<![a-z0-9@$!|+])[a-z0-9@$!|+]++(?:{_UNSEEN}++[a-z0-9@$!|+]++)+")
_LETTERS_AND_SIGNS = re.compile(r"(?<![a-z0-9@$!|+])(?=[a-z]*[0-9@$!|+])(?=[0-9@$!|+]*[a-z])[a-z0-9@$!|+]*[a-z0-9@$]")
_SPELLED_OUT = re.compile(r"(?<![a-z0-9'])[a-z0-9@$](?:[^a-z0-9\n@$]{1,3}[a-z0-9@$](?![a-z0-9@$'])){3,}")


class Normaliser:
    """Text to words, knowing the words that matter: only those are looked for under a disguise."""

    def __init__(self, vocabulary: Collection[str]) -> None:
        # "l", "i", "1" and "!" stand for one another, so disguised words are compared by what all of them fold to.
        self._undisguised = {word.translate(_LEET): word for word in vocabulary}
        self._vocabulary = frozenset(vocabulary)
        self._longest = max(map(len, vocabulary))
        longest_first = sorted((word for word in vocabulary if len(word) > 1), key=len, reverse=True)
        self._segments = re.compile("|".join(map(re.escape, longest_first)) + "|[a-z0-9]")

    def words(self, text: str) -> list[str]:
        """Lower-case Latin words in order, with "." where a sentence ends and "¶" for empty lines."""
        text = _PARTED.sub(self._join_parts, fold(text)).replace(_UNSEEN, "")
        if _SPELLED_OUT.search(text):
            text = _SPELLED_OUT.sub(self._join_letters, text)
        text = _LETTERS_AND_SIGNS.sub(self._read_signs, text)
        found = _WORD_OR_END.findall(text.replace("'", ""))
        return [word if word.isalnum() else EMPTY_LINE if word.isspace() else SENTENCE_END for word in found]

    def _join_parts(self, match: re.Match[str]) -> str:
        """Parts of a text with something invisible between them: those that make a word that matters are one, and what
        is left between such words is one."""
        parts, words, rest = re.split(f"{_UNSEEN}+", match[0]), [], ""
        at = 0
        while at < len(parts):
            word, until = "", at
            for end in range(at, min(at + self._longest, len(parts))):
                word += parts[end]
                if word in self._vocabulary or (_has_signs(word) and word.translate(_LEET) in self._undisguised):
                    until = end + 1
                if len(word) > self._longest:
                    break
            if until > at:
                words += [rest, "".join(parts[at:until])]
                rest, at = "", until
            else:
                rest, at = rest + parts[at], at + 1
        return " ".join([*words, rest])

    def _read_signs(self, match: re.Match[str]) -> str:
        return self._undisguised.get(match[0].translate(_LEET), match[0])

    def _join_letters(self, match: re.Match[str]) -> str:
        """Letters one by one have lost their word bounds: cut where words that matter begin and end."""
        letters = re.sub(r"[^a-z0-9@$]", "", match[0])
        if not letters.isalpha():
            letters = letters.translate(_LEET)
        return " ".join(self._segments.findall(letters))


def _has_signs(word: str) -> bool:
    return not word.isalpha() and any(char.isalpha() for char in word)


def fold(text: str) -> str:
    """Case, accents and look-alike letters taken away, and NUL for what is invisible; ASCII text loses its case."""
    if text.isascii():
        return _CONTROL.sub(_UNSEEN, text.lower()) if _CONTROL.search(text) else text.lower()
    # Twice: a capital is compared before it becomes a small letter, and what that gives may come apart again.
    drawn = "".join(map(drawn_like, unicodedata.normalize("NFKD", _with_few_marks(text))))
    decomposed = unicodedata.normalize("NFKD", drawn.casefold())
    seen = (_UNSEEN if is_invisible(char) else char for char in decomposed if not _is_mark(char))
    return "".join(map(drawn_like, seen))


def _with_few_marks(text: str) -> str:
    """At most so many marks over one letter as any language has and more (UAX 15 allows 30): sorting thousands, which
    Unicode's normal forms do, takes seconds in which no other thread runs."""
    kept, run = [], 0
    for char in text:
        run = run + 1 if unicodedata.combining(char) else 0
        if run <= MOST_MARKS:
            kept.append(char)
    return "".join(kept)


def _is_mark(char: str) -> bool:
    return unicodedata.category(char) in ("Mn", "Me") and not is_invisible(char)
