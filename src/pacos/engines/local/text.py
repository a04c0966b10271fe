"""From tokens to text that may be shown: never half a character, never part of a stop string."""

from collections.abc import Sequence
from functools import lru_cache

from transformers import PreTrainedTokenizerBase

PROMPT_TAIL_TOKENS = 6
REPLACEMENT = "\N{REPLACEMENT CHARACTER}"


def decoded(tokenizer: PreTrainedTokenizerBase, ids: list[int]) -> str:
    """The text of tokens, special ones left out."""
    # The tokenizer below the wrapper, where there is one: called twice a token, the wrapper took half of the time.
    fast = getattr(tokenizer, "backend_tokenizer", None)
    if fast is not None:
        return str(fast.decode(ids, skip_special_tokens=True))
    return str(tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False))


@lru_cache(maxsize=2**14)
def token_text(tokenizer: PreTrainedTokenizerBase, token: int) -> str:
    """What a token adds to a text before it: with its leading blank, which decoded alone some would lose; a special
    token's name; the replacement character for half a character."""
    text = str(tokenizer.decode([token], skip_special_tokens=False, clean_up_tokenization_spaces=False))
    before = _anchor(tokenizer)
    joined = str(tokenizer.decode([*before, token], skip_special_tokens=False, clean_up_tokenization_spaces=False))
    return joined[1:] if joined.startswith(_ANCHOR) else text


_ANCHOR = "x"


@lru_cache(maxsize=8)
def _anchor(tokenizer: PreTrainedTokenizerBase) -> tuple[int, ...]:
    return tuple(tokenizer(_ANCHOR, add_special_tokens=False)["input_ids"])


class ReplyText:
    """A reply's text, token by token; all pieces together are `text`, which ends before the first stop string."""

    def __init__(
        self, tokenizer: PreTrainedTokenizerBase, prompt_ids: Sequence[int], stop: tuple[str, ...] = ()
    ) -> None:
        self.text = ""
        self.stopped = False
        self._tokenizer = tokenizer
        self._stop = tuple(text for text in stop if text)
        # A tokenizer may decode a first token otherwise than a later one, so decoding begins in the prompt.
        self._ids = list(prompt_ids[-PROMPT_TAIL_TOKENS:])
        self._from, self._read = 0, len(self._ids)
        self._held = ""

    def add(self, ids: Sequence[int]) -> str:
        """Takes more tokens; returns what may be shown now."""
        self._ids += ids
        piece = self._decoded_since_read()
        # A trailing replacement character may be the first bytes of a character whose rest is still to come.
        if not piece or piece.endswith(REPLACEMENT):
            return ""
        self._from, self._read = self._read, len(self._ids)
        return self._release(piece)

    def end(self) -> str:
        """Returns what was held back, there being no more tokens; a character that is not whole is left out."""
        if self.stopped:
            return ""
        last = self._decoded_since_read()
        if last.endswith(REPLACEMENT) and not self._wrote_replacement():
            # One for all that is there of it, or one for each of its first three bytes, as tokenizers have it.
            last = last[:-3] + last[-3:].rstrip(REPLACEMENT)
        piece = self._release(last)
        rest = "" if self.stopped else self._held
        self.text += rest
        return piece + rest

    def _wrote_replacement(self) -> bool:
        """Whether the last tokens are those of the replacement character itself, and not half of another."""
        ids = self._tokenizer(REPLACEMENT, add_special_tokens=False)["input_ids"]
        return bool(self._ids[-len(ids) :] == ids)

    def _decoded_since_read(self) -> str:
        before = self._decode(self._ids[self._from : self._read])
        return self._decode(self._ids[self._from :])[len(before) :]

    def _decode(self, ids: list[int]) -> str:
        return decoded(self._tokenizer, ids)

    def _release(self, piece: str) -> str:
        self._held += piece
        found = min((place for stop in self._stop if (place := self._held.find(stop)) >= 0), default=-1)
        self.stopped = found >= 0
        cut = found if self.stopped else len(self._held) - self._stop_begun()
        shown, self._held = self._held[:cut], self._held[cut:]
        self.text += shown
        return shown

    def _stop_begun(self) -> int:
        """Length of the longest end of the held text that begins a stop string."""
        longest = min(len(self._held), max(map(len, self._stop), default=0))
        for length in range(longest, 0, -1):
            if any(stop.startswith(self._held[-length:]) for stop in self._stop):
                return length
        return 0
