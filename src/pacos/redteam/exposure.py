"""How likely a local model finds a suspected text, beside strings of the same shape: one pass forward for all of them.

In the manner of Carlini et al. 2019 (exposure): where a text was drawn at random from some space, and the model never
saw it, its rank among others drawn from there is uniform, so rank / (controls + 1) is a p-value.
"""

import random
import re
from collections import defaultdict
from collections.abc import Sequence
from functools import cached_property
from math import log, log2
from statistics import median

from pacos.core.errors import PacosError
from pacos.engines.local.text import token_text
from pacos.redteam.own_logits import OwnLogits
from pacos.redteam.whitebox_report import Exposure

CONTROLS = 999
# A word gives way to one of so many, of its own length and of those nearest to it.
FEWEST_WORDS = 100
_PIECE = re.compile(r"[^\W\d_]+|\d")


class Controls:
    """Strings of the same shape as a text: each digit is drawn anew, each word from the whole words of a vocabulary.

    Capitals and whatever is neither word nor digit stay.
    """

    def __init__(self, logits: OwnLogits, text: str) -> None:
        self._logits, self._text = logits, text

    def draw(self, wanted: int, seed: int) -> list[str]:
        """So many different strings, none of them the text; fewer where its shape has fewer, PacosError where none."""
        rng = random.Random(f"controls/{seed}/{self._text}")
        drawn = dict[str, None]()
        for _ in range(20 * wanted):
            drawn[_PIECE.sub(lambda found: self._other(found[0], rng), self._text)] = None
            drawn.pop(self._text, None)
            if len(drawn) == wanted:
                break
        if not drawn:
            raise PacosError(f"{self._text!r}: no other string is of its shape; give a text with a digit or a word.")
        return list(drawn)

    def _other(self, piece: str, rng: random.Random) -> str:
        if piece.isdigit():
            return rng.choice("0123456789")
        word = rng.choice(self._words_like(len(piece)) or [piece])
        return word.upper() if piece.isupper() and len(piece) > 1 else word.title() if piece.istitle() else word

    def _words_like(self, length: int) -> list[str]:
        words = list[str]()
        for away in range(max(self._words, default=0) + length):
            words += [word for size in {length - away, length + away} for word in self._words.get(size, ())]
            if len(words) >= FEWEST_WORDS:
                break
        return words

    @cached_property
    def _words(self) -> dict[int, list[str]]:
        """The vocabulary's words by length: its tokens of small letters that begin with a blank."""
        found = defaultdict[int, set[str]](set)
        for token in range(min(self._logits.vocabulary, len(self._logits.tokenizer))):
            text = token_text(self._logits.tokenizer, token)
            if text.startswith(" ") and (word := text[1:]).isalpha() and word.islower():
                found[len(word)].add(word)
        return {length: sorted(words) for length, words in found.items()}


def exposures(
    logits: OwnLogits,
    text: str,
    prompts: Sequence[str],
    base: OwnLogits | None,
    seed: int,
    num_controls: int = CONTROLS,
) -> tuple[Exposure, ...]:
    """A text's cost and rank by itself, and as the beginning of the answer to each prompt.

    With a `base`, what is ranked is how much likelier a string is than in the base, so that ordinary words gain nothing
    by being ordinary. A prompt that was searched for with this text says nothing here: it favours the text over any
    control. Raises PacosError where text or prompt is empty or longer than the model holds.
    """
    own = logits.text_ids(text)
    for prompt in ("", *prompts):
        logits.check_length(len(_head(logits, prompt)), own)
    strings = [text, *Controls(logits, text).draw(num_controls, seed)]
    return tuple(_exposure(logits, strings, prompt, base) for prompt in ("", *prompts))


def _exposure(logits: OwnLogits, strings: Sequence[str], prompt: str, base: OwnLogits | None) -> Exposure:
    own, tokens = _logprobs(logits, strings, prompt)
    before = _logprobs(base, strings, prompt) if base else None
    worth = [mine - (before[0][place] if before else 0.0) for place, mine in enumerate(own)]
    rank = 1 + sum(other >= worth[0] for other in worth[1:])
    bits = [-total / number / log(2) for total, number in zip(own, tokens, strict=True)]
    return Exposure(
        prompt=prompt,
        tokens=tokens[0],
        bits=bits[0],
        base_bits=-before[0][0] / before[1][0] / log(2) if before else None,
        controls=len(strings) - 1,
        median_control_bits=median(bits[1:]),
        rank=rank,
        p_value=rank / len(strings),
        exposure=log2(len(strings)) - log2(rank),
    )


def _logprobs(logits: OwnLogits, strings: Sequence[str], prompt: str) -> tuple[list[float], list[int]]:
    """Each string's natural log-probability after the prompt, and its number of tokens."""
    head = _head(logits, prompt)
    rows = [logits.text_ids(string) for string in strings]
    logits.check_length(len(head), max(rows, key=len))
    return [sum(each) for each in logits.scores(head, rows).logprobs], [len(row) for row in rows]


def _head(logits: OwnLogits, prompt: str) -> list[int]:
    return logits.prompt_ids(prompt) if prompt else logits.begin_ids()
