"""Detection in text: what `pacos detect` calls."""

import re
from dataclasses import replace
from pathlib import Path

from tokenizers import Tokenizer

from pacos.core.errors import PacosError
from pacos.core.files import sha256_file
from pacos.core.lookalikes import drawn_like, is_invisible
from pacos.watermark.detection import Detection
from pacos.watermark.settings import WatermarkSettings

TOKENIZER_FILE = "tokenizer.json"
_LINE_END = re.compile(r"\r\n?|[\x0b\x0c\x1c-\x1e\x85\u2028\u2029]")
_BLANK = re.compile(r"[^\S\n\t]")
# Not at the beginning of a line, where blanks are the text's own.
_WIDE_GAP = re.compile(r"(?<=[^\s])[ \t]{2,}(?=[^\s])|[ \t]+(?=\n|$)")
_WORD = re.compile(r"[^\W\d_]+")


def detect_text(text: str, tokenizer_folder: Path, settings: WatermarkSettings) -> Detection:
    """Looks for the mark in `text`, tokenised as the model in `tokenizer_folder` does, without special tokens.

    A text with odd white space, invisible characters or other scripts' look-alikes is read in two ways, as it is and
    with these put right; the p-value is of both. Raises PacosError where the folder holds no tokenizer.json that can be
    read, or another one than the settings name.
    """
    path = tokenizer_folder / TOKENIZER_FILE
    if not path.is_file():
        raise PacosError(f"{path}: no such file; expected the tokenizer of the model that wrote the text.")
    if settings.tokenizer_sha256 not in ("", sha256_file(path)):
        raise PacosError(
            f"{path}: not the tokenizer that the marked answers were written with, whose SHA-256 is "
            f"{settings.tokenizer_sha256}. Put that file there: by another one no mark can be found."
        )
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises nothing narrower
        raise PacosError(f"{path}: not a tokenizer.json that can be read ({error}).") from None
    mark, readings = settings.watermark(), {text, put_right(text)}
    found = [mark.detect(tokenizer.encode(each, add_special_tokens=False).ids) for each in sorted(readings)]
    return replace(min(found, key=lambda each: each.exact_p_value), readings=len(found))


def put_right(text: str) -> str:
    """The text with plain single blanks between words, nothing invisible, and Latin letters for those drawn like them
    where a tenth of the letters and more are Latin."""
    text = _BLANK.sub(" ", _LINE_END.sub("\n", text))
    text = _WIDE_GAP.sub(lambda gap: " " if gap.end() < len(text) and text[gap.end()] != "\n" else "", text)
    text = "".join(char for char in text if not is_invisible(char))
    letters = [char for char in text if char.isalpha()]
    if 10 * sum(char.isascii() for char in letters) < len(letters):
        return text
    return _WORD.sub(_latin, text)


def _latin(match: re.Match[str]) -> str:
    """A word with every letter of another script replaced, or as it is where one has no Latin look-alike."""
    word = match[0]
    if word.isascii():
        return word
    latin = [_latin_letter(char) for char in word]
    return "".join(latin) if all(latin) else word


def _latin_letter(char: str) -> str:
    # Accented letters are Latin ones, and a language's own.
    if char.isascii() or char in _OWN_LETTERS:
        return char
    like = drawn_like(char)
    if not (like.isascii() and like.isalpha()):
        return ""
    return like.upper() if char.isupper() else like


_OWN_LETTERS = frozenset(map(chr, (*range(0xC0, 0x250), *range(0x1E00, 0x1F00))))
