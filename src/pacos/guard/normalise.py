"""Undoes the usual disguises of a word: look-alike letters, invisible ones, spelling out, digits for letters."""

import re
import unicodedata
from collections.abc import Collection

SENTENCE_END = "."

# Cyrillic, Greek and other letters drawn like Latin ones; NFKD has already undone mathematical, circled and full-width
# letters, which Unicode declares compatible. Capitals go first where a capital looks unlike its small letter.
_LOOKALIKE_CAPITALS = str.maketrans("ΗΝВНР", "hnbhp")
_LOOKALIKES = (
    str.maketrans("абвгԁеѕіїјкмнорԛгстѵԝхуһѡьӏ", "abbrdesiijkmhopqrctvwxyhwbl")
    | str.maketrans("αβγεζηικνορτυχωϲϳℓ", "abyeznikvoptuxwcjl")
    | str.maketrans("ıłøđɡɑꞵ", "ilodgab")
    | str.maketrans("’ʼ`´", "''''")
)
_LEET = str.maketrans("013456789@$!|+l", "oieasbtbgasiiti")
_WORD_OR_END = re.compile(r"[a-z0-9]+|[.!?;]|\n\n")
_LETTERS_AND_SIGNS = re.compile(r"(?<![a-z0-9@$!|+])(?=[a-z]*[0-9@$!|+])(?=[0-9@$!|+]*[a-z])[a-z0-9@$!|+]*[a-z0-9@$]")
_SPELLED_OUT = re.compile(r"(?<![a-z0-9'])[a-z0-9@$](?:[^a-z0-9\n@$]{1,3}[a-z0-9@$](?![a-z0-9@$'])){3,}")


class Normaliser:
    """Text to words, knowing the words that matter: only those are looked for under a disguise."""

    def __init__(self, vocabulary: Collection[str]) -> None:
        # "l", "i", "1" and "!" stand for one another, so disguised words are compared by what all of them fold to.
        self._undisguised = {word.translate(_LEET): word for word in vocabulary}
        longest_first = sorted((word for word in vocabulary if len(word) > 1), key=len, reverse=True)
        self._segments = re.compile("|".join(map(re.escape, longest_first)) + "|[a-z0-9]")

    def words(self, text: str) -> list[str]:
        """Lower-case Latin words in order, with "." where a sentence ends."""
        text = fold(text)
        if _SPELLED_OUT.search(text):
            text = _SPELLED_OUT.sub(self._join_letters, text)
        text = _LETTERS_AND_SIGNS.sub(self._read_signs, text)
        return [word if word.isalnum() else SENTENCE_END for word in _WORD_OR_END.findall(text.replace("'", ""))]

    def _read_signs(self, match: re.Match[str]) -> str:
        return self._undisguised.get(match[0].translate(_LEET), match[0])

    def _join_letters(self, match: re.Match[str]) -> str:
        """Letters one by one have lost their word bounds: cut where words that matter begin and end."""
        letters = re.sub(r"[^a-z0-9@$]", "", match[0])
        if not letters.isalpha():
            letters = letters.translate(_LEET)
        return " ".join(self._segments.findall(letters))


def fold(text: str) -> str:
    """Case, accents, invisible characters and look-alike letters taken away; ASCII text only loses its case."""
    if text.isascii():
        return text.lower()
    capitals_folded = unicodedata.normalize("NFKD", text).translate(_LOOKALIKE_CAPITALS)
    decomposed = unicodedata.normalize("NFKD", capitals_folded.casefold())
    visible = "".join(char for char in decomposed if unicodedata.category(char) not in ("Mn", "Cf"))
    return visible.translate(_LOOKALIKES)
