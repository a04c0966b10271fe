"""Detection in text: what `pacos detect` and the server's page call."""

import re
from dataclasses import dataclass, replace
from pathlib import Path

from tokenizers import Tokenizer

from pacos.core.errors import PacosError
from pacos.core.files import sha256_file
from pacos.core.lookalikes import drawn_like, is_invisible
from pacos.watermark.detection import Detection, search_passages
from pacos.watermark.settings import WatermarkSettings

TOKENIZER_FILE = "tokenizer.json"
_LINE_END = re.compile(r"\r\n?|[\x0b\x0c\x1c-\x1e\x85\u2028\u2029]")
_BLANK = re.compile(r"[^\S\n\t]")
# Not at the beginning of a line, where blanks are the text's own.
_WIDE_GAP = re.compile(r"(?<=[^\s])[ \t]{2,}(?=[^\s])|[ \t]+(?=\n|$)")
_WORD = re.compile(r"[^\W\d_]+")
_SENTENCE_START = re.compile(r"(?:^|[.!?:][\"')]?\s+|\n\s*)[\"'(]?[a-z]|\bi\b")


@dataclass(frozen=True)
class MarkedToken:
    """A piece of the text as it was read; `is_green` is None where it was not scored, being a repeat or without enough
    context."""

    text: str
    is_green: bool | None


@dataclass(frozen=True)
class TextDetection:
    """What was found in `text`, which is the one of the readings that looks marked most."""

    found: Detection
    text: str
    ends: tuple[int, ...]
    """Where each token ends in the text."""

    def tokens(self) -> list[MarkedToken]:
        """The whole text, piece by piece: a token each, and tokens of one character together."""
        mask, counted = self.found.green_token_mask, self.found.counted_mask
        unscored = len(self.ends) - len(mask)
        marked, start = [], 0
        for number, end in enumerate(self.ends):
            place = number - unscored
            if end > start:
                is_green = mask[place] if place >= 0 and counted[place] else None
                marked.append(MarkedToken(self.text[start:end], is_green))
                start = end
        return [*marked, MarkedToken(self.text[start:], None)] if start < len(self.text) else marked

    def passage(self) -> tuple[int, int] | None:
        """Where in the text the passage is that says more than the whole, if there is one."""
        if self.found.passage is None or not self.found.is_in_passage:
            return None
        unscored = len(self.ends) - len(self.found.green_token_mask)
        first, last = self.found.passage.start + unscored, self.found.passage.end + unscored - 1
        return (self.ends[first - 1] if first else 0), self.ends[last]


class TextDetector:
    """Looks for the mark of `settings` in texts, tokenised as the model in `tokenizer_folder` does.

    Raises PacosError where the folder holds no tokenizer.json that can be read, or another one than the settings name.
    """

    def __init__(self, tokenizer_folder: Path, settings: WatermarkSettings) -> None:
        self._tokenizer = _load_tokenizer(tokenizer_folder / TOKENIZER_FILE, settings.tokenizer_sha256)
        self.mark = settings.watermark()

    def detect_unchanged(self, text: str) -> Detection:
        """What is found in a text that nobody had in hand: the whole of it, as it is."""
        return self.mark.detect(self._tokenizer.encode(text, add_special_tokens=False).ids)

    def detect(self, text: str) -> TextDetection:
        """The verdict on a text, without special tokens, as a whole and in passages.

        A text with odd white space, invisible characters or other scripts' look-alikes is read in two ways, as it is
        and with these put right; one in small letters alone also with capitals where sentences begin. The p-value is of
        all of them.
        """
        plain = put_right(text)
        readings = sorted({text, plain, cased_again(plain)})
        encoded = [self._tokenizer.encode(each, add_special_tokens=False) for each in readings]
        found = [search_passages(each) for each in self.mark.detect_all([each.ids for each in encoded])]
        best = min(range(len(readings)), key=lambda place: found[place].exact_p_value)
        ends = tuple(end for _, end in encoded[best].offsets)
        return TextDetection(replace(found[best], readings=len(readings)), readings[best], ends)


def detect_text(text: str, tokenizer_folder: Path, settings: WatermarkSettings) -> Detection:
    """`TextDetector.detect` of one text, without where it was found."""
    return TextDetector(tokenizer_folder, settings).detect(text).found


def _load_tokenizer(path: Path, sha256: str) -> Tokenizer:
    if not path.is_file():
        raise PacosError(f"{path}: no such file; expected the tokenizer of the model that wrote the text.")
    if sha256 not in ("", sha256_file(path)):
        raise PacosError(
            f"{path}: not the tokenizer that the marked answers were written with, whose SHA-256 is {sha256}. "
            "Put that file there: by another one no mark can be found."
        )
    try:
        return Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises nothing narrower
        raise PacosError(f"{path}: not a tokenizer.json that can be read ({error}).") from None


def cased_again(text: str) -> str:
    """A text without any capital letter, with capitals where sentences begin; any other as it is.

    Names stay in small letters: which words those are nobody can tell without knowing the language.
    """
    if text != text.lower() or not re.search(r"[a-z]{2}", text):
        return text
    return _SENTENCE_START.sub(lambda start: start[0].upper(), text)


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
