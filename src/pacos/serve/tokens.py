"""The served model's tokens: what a prompt becomes, what an answer has, and what each token is as text and bytes."""

import re
from functools import lru_cache
from threading import Lock

from transformers import PreTrainedTokenizerBase
from transformers.convert_slow_tokenizer import bytes_to_unicode

from pacos.engines import Prompt, Usage
from pacos.engines.local.text import token_text
from pacos.engines.local.tokenizer import continued, load_tokenizer, prompt_ids

_BYTE = re.compile(r"<0x([0-9A-F]{2})>")
_BYTES_BY_LETTER = {letter: byte for byte, letter in bytes_to_unicode().items()}  # type: ignore[no-untyped-call]


class Tokens:
    """The checkpoint's tokenizer, read a second time: the engine's is at work in another thread.

    Any thread may ask, and all but `text` and `bytes` wait for one another: whether special tokens are parsed is a
    state of the tokenizer, which transformers changes while others encode.
    """

    def __init__(self, path: str) -> None:
        self.tokenizer: PreTrainedTokenizerBase = load_tokenizer(path)
        self._lock = Lock()

    def of_prompt(self, prompt: Prompt, *, parse_special_tokens: bool, begun: str = "") -> tuple[int, ...]:
        """A prompt's ids as the local engine has them, and those of an answer to go on with.

        PacosError where the chat template refuses the conversation.
        """
        with self._lock:
            ids = prompt_ids(self.tokenizer, prompt, parse_special_tokens=parse_special_tokens)
            return tuple(continued(self.tokenizer, ids, begun) if begun else ids)

    def of_text(self, text: str, *, add_special_tokens: bool) -> tuple[int, ...]:
        """A text's ids, special tokens read by their names, with or without those that open and close every text."""
        with self._lock:
            return tuple(self.tokenizer(text, add_special_tokens=add_special_tokens)["input_ids"])

    def decode(self, ids: tuple[int, ...]) -> str:
        """The text of ids, special tokens by their names; ids that are none are left to the engine to refuse."""
        known = [each for each in ids if 0 <= each < len(self.tokenizer)]
        with self._lock:
            return str(self.tokenizer.decode(known, clean_up_tokenization_spaces=False))

    def names(self, ids: tuple[int, ...]) -> list[str]:
        """Each token as the vocabulary spells it."""
        with self._lock:
            return [str(self.tokenizer.convert_ids_to_tokens(token)) for token in ids]

    def usage(self, num_prompt_tokens: int, text: str) -> Usage:
        """Of an answer that the engine was not let finish."""
        return Usage(num_prompt_tokens, len(self.of_text(text, add_special_tokens=False)))

    def text(self, token: int) -> str:
        """As `TokenLogprob.text` has it."""
        return token_text(self.tokenizer, token)

    def bytes(self, token: int) -> bytes:
        """A token's UTF-8, also where it is only a part of a character."""
        return _token_bytes(self.tokenizer, token)


@lru_cache(maxsize=2**14)
def _token_bytes(tokenizer: PreTrainedTokenizerBase, token: int) -> bytes:
    text = token_text(tokenizer, token)
    if "\N{REPLACEMENT CHARACTER}" not in text:
        return text.encode()
    piece = str(tokenizer.convert_ids_to_tokens(token))
    if match := _BYTE.fullmatch(piece):
        return bytes([int(match[1], 16)])
    if all(letter in _BYTES_BY_LETTER for letter in piece):
        return bytes(_BYTES_BY_LETTER[letter] for letter in piece)
    return text.encode()
