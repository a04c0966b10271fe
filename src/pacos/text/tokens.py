"""Two ways to cut a text into tokens: as rouge_score does, and one that knows every script."""

import re
import unicodedata
from collections.abc import Callable
from itertools import groupby

Tokenizer = Callable[[str], list[str]]

_ROUGE_TOKEN = re.compile(r"[a-z0-9]+")
# Scripts written without spaces: here a "word" would be a whole sentence, so each character is a token.
_UNSPACED = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
    "\U00020000-\U0003ffff]"
)


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
    folded = unicodedata.normalize("NFKC", text).casefold()
    # Marks belong to their letter: without them an Indic word falls apart into consonants.
    runs = groupby(folded, key=lambda character: unicodedata.category(character)[0] in "LMN")
    words = ["".join(run) for is_word, run in runs if is_word]
    return [token for word in words for token in (list(word) if _UNSPACED.search(word) else [word])]
