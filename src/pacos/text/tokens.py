"""Two ways to cut a text into tokens: as rouge_score does, and one that knows every script."""

import re
import unicodedata
from collections.abc import Callable, Iterable
from itertools import groupby

Tokenizer = Callable[[str], list[str]]

# Punctuation that Unicode names a colon, with the signs that are typed for one.
COLONS = ":：﹕︓꞉∶፥፦᠄꛴܃܄܅܆܇܈܉"
# What ends a sentence (Unicode's Sentence_Terminal that are in use today), and what ends a question.
QUESTION_MARKS = "?？؟\u037e՞፧⁇⁈﹖꘏"
SENTENCE_ENDS = ".!。｡．﹒！﹗‼⁉…۔।॥։።፨၊။។៕᠃᠉꓿" + QUESTION_MARKS

_ROUGE_TOKEN = re.compile(r"[a-z0-9]+")
# Scripts written without spaces: here a "word" would be a whole sentence, so each character is a token. By how many of
# their characters say what an English word says: about 1.7 ideographs, 2.5 kana, and 5 letters and vowel signs of
# Thai, Lao, Burmese, Khmer and the other scripts of that family.
_IDEOGRAPHS = "\u3005-\u3007\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_SYLLABLES = "\u3040-\u312f\u31a0-\u31bf\u31f0-\u31ff\U0001aff0-\U0001b16f"
_LETTERS = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u1950-\u19ff\u1a20-\u1aaf\u1b00-\u1b7f\ua980-\ua9ff\uaa60-\uaadf"
_UNSPACED = re.compile(f"[{_IDEOGRAPHS}{_SYLLABLES}{_LETTERS}]")
_PIECE = re.compile(f"{_UNSPACED.pattern}|[^{_IDEOGRAPHS}{_SYLLABLES}{_LETTERS}]+")
# In tenths of a word.
WORD = 10
_TENTHS = ((re.compile(f"[{_IDEOGRAPHS}]"), 6), (re.compile(f"[{_SYLLABLES}]"), 4), (re.compile(f"[{_LETTERS}]"), 2))
# Signs that show how to join, break or direct what stands beside them, or which picture to draw.
_INVISIBLE = re.compile("[\u00ad\u034f\u200c-\u200f\u202a-\u202e\u2060-\u206f\ufe00-\ufe0f\ufeff\U000e0100-\U000e01ef]")
_BLANKS = re.compile(r"[\s\u0f0b\u0f0c\u1361\u200b]+")
# What Unicode's names say of signs that open a sentence and have no class of their own.
_OPENING_NAMES = ("QUOTATION MARK", "APOSTROPHE", "GERESH", "GERSHAYIM", "INVERTED", "HEAD MARK", "YIG MGO", "BIRGA")


def rouge_tokens(text: str) -> list[str]:
    """The tokens of rouge_score without a stemmer: runs of a-z and 0-9 in the lower-cased text.

    Text in other scripts has no token at all. Source: rouge_score/tokenize.py, release 0.1.2.
    """
    return _ROUGE_TOKEN.findall(text.lower())


def unicode_tokens(text: str) -> list[str]:
    """Words of any script, case-folded; single characters where a script writes no spaces.

    ASCII text gives exactly `rouge_tokens`.
    """
    if text.isascii():
        return rouge_tokens(text)
    folded = _INVISIBLE.sub("", unicodedata.normalize("NFKC", text).casefold())
    # Marks belong to their letter: without them an Indic word falls apart into consonants.
    runs = groupby(folded, key=lambda character: unicodedata.category(character)[0] in "LMN")
    words = ["".join(run) for is_word, run in runs if is_word]
    return [token for word in words for token in (_PIECE.findall(word) if _UNSPACED.search(word) else [word])]


def tenths_of_words(tokens: Iterable[str]) -> list[int]:
    """What each of `unicode_tokens` counts for in tenths of a word; less than ten in a script without spaces."""
    return [next((tenths for one, tenths in _TENTHS if one.match(token)), WORD) for token in tokens]


def num_words(text: str) -> int:
    """How many words a text has; estimated where a script does not show them."""
    if text.isascii():
        return len(text.split())
    if not _UNSPACED.search(text):
        return len([word for word in _BLANKS.split(text) if word])
    return -(-sum(tenths_of_words(unicode_tokens(text))) // WORD)


def may_begin_sentence(text: str) -> bool:
    """Whether the first character begins sentences: by Unicode's classes a letter, a digit, an opening bracket, a
    quotation mark, a currency sign, or an inverted mark."""
    if text[:1].isascii() and text[:1].isalnum():
        return True
    first = unicodedata.normalize("NFKC", _INVISIBLE.sub("", text[:8])[:1])[:1]
    if not first:
        return False
    category = unicodedata.category(first)
    if category[0] in "LN" or category in ("Ps", "Pi", "Pf", "Sc"):
        return True
    named = category in ("Po", "So") and any(name in unicodedata.name(first, "") for name in _OPENING_NAMES)
    return named or first == "`"
