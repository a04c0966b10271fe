"""ROUGE-L novelty: is a text too near to any text so far? Exact, by pruning that never drops a right answer."""

import math
from array import array
from functools import cache

import numpy as np
from rapidfuzz.distance import LCSseq
from rapidfuzz.process import cdist

from pacos.core.errors import PacosError
from pacos.text.tokens import Tokenizer, rouge_tokens

_WORDS = 2  # 64-bit words of a signature
_UNKNOWN = "\0"  # stands for every token that no text of the pool has
# Bounds are compared loosely by this much, so that rounding can never prune; scores themselves are not rounded.
_MARGIN = 1e-9
# Below this many texts, or where the postings name more than an eighth of them, looking at all is faster.
_SMALL = 4096
_DENSE_SHARE = 8
# How many texts are scored before their best score prunes the rest.
_CHUNK = 512
# Shares of the threshold, each the floor of one search: a high one prunes nearly everything, so the search widens
# only for a text that is near to nothing.
_FLOORS = (1.0, 0.7, 0.5, 0.3, 0.0)
_NONE: "array[int]" = array("i")


class Novelty:
    """A pool of texts that tells how near a new text comes to any of them.

    Nearness is the ROUGE-L F-measure over tokens, with the very floats of rouge_score's
    `RougeScorer(["rougeL"], use_stemmer=False)`, so that decisions at a tie are also its decisions.
    A text without tokens has score 0 against everything.

    Three bounds prune, none of which can drop a text that scores above the floor searched for: such a text is of
    a like length, it holds one of the new text's rarest tokens (postings by length class), and the tokens that
    the two can have in common (signatures of 128 bits) are enough for the common subsequence the floor needs.
    """

    def __init__(self, threshold: float = 0.7, tokenizer: Tokenizer = rouge_tokens) -> None:
        self.threshold = threshold
        self.tokenizer = tokenizer
        self._texts: list[str] = []
        self._codes: list[str] = []
        self._code_of: dict[str, str] = {}
        # One index for each class of lengths: (token) -> the rows of that class that hold it.
        self._postings: dict[int, dict[str, array[int]]] = {}
        self._signatures = np.zeros((_WORDS, 1024), np.uint64)
        self._lengths = np.zeros(1024, np.int32)
        # How many of a text's tokens share a bit with another of its tokens: the signature cannot see those.
        self._hidden = np.zeros(1024, np.int32)

    def __len__(self) -> int:
        return len(self._texts)

    def add(self, text: str) -> None:
        """Puts a text into the pool."""
        row = len(self._texts)
        if row == len(self._lengths):
            self._grow()
        code = "".join(map(self._code, self.tokenizer(text)))
        bits, num_bits = _signature(code)
        self._signatures[:, row] = bits
        self._lengths[row] = len(code)
        self._hidden[row] = len(code) - num_bits
        self._texts.append(text)
        self._codes.append(code)
        postings = self._postings.setdefault(_length_class(len(code)), {})
        for token in set(code):
            postings.setdefault(token, array("i")).append(row)

    def is_novel(self, text: str) -> bool:
        """Whether no text of the pool scores above the threshold."""
        score, row = self._search(self._encode(text), self.threshold)
        return row is None or not score > self.threshold

    def nearest(self, text: str) -> tuple[float, str | None]:
        """The highest score and the text it belongs to, the earliest added of equals; (0.0, None) where all are 0."""
        code = self._encode(text)
        for share in _FLOORS:
            floor = share * self.threshold
            score, row = self._search(code, floor)
            if row is not None and score > floor:
                return score, self._texts[row]
        return 0.0, None

    def _code(self, token: str) -> str:
        """The token's own character, so that texts become strings that compare at C speed."""
        code = self._code_of.get(token)
        if code is None:
            number = len(self._code_of) + 1
            number += 0x800 if number >= 0xD800 else 0  # surrogates are no characters
            if number > 0x10FFFF:
                raise PacosError(f"novelty: more than {len(self._code_of):,} distinct tokens; the pool is too large.")
            code = self._code_of[token] = chr(number)
        return code

    def _encode(self, text: str) -> str:
        code_of = self._code_of
        return "".join([code_of.get(token, _UNKNOWN) for token in self.tokenizer(text)])

    def _grow(self) -> None:
        size = 2 * len(self._lengths)
        self._signatures = np.hstack([self._signatures, np.zeros_like(self._signatures)])
        self._lengths = np.resize(self._lengths, size)
        self._hidden = np.resize(self._hidden, size)

    def _search(self, code: str, floor: float) -> tuple[float, int | None]:
        """The best (score, row); exact whenever some score is above `floor`, else anything not above it."""
        rows = self._sharing_a_rare_token(code, floor) if code else None
        if rows is None:
            return 0.0, None
        rows, bounds = self._bounded(code, rows, floor)
        best, best_row = 0.0, None
        while len(rows):
            if len(rows) > _CHUNK:
                # The most promising first: their scores prune the rest.
                order = np.argpartition(-bounds, _CHUNK)
                rows, bounds = rows[order], bounds[order]
            head, rows, bounds = rows[:_CHUNK], rows[_CHUNK:], bounds[_CHUNK:]
            scores = self._scores(code, head)
            top = float(scores.max())
            if top >= best:
                row = int(head[scores == top].min())
                best_row = row if top > best or best_row is None else min(row, best_row)
                best = top
            keep = bounds >= best - _MARGIN
            rows, bounds = rows[keep], bounds[keep]
        return best, best_row

    def _sharing_a_rare_token(self, code: str, floor: float) -> "np.ndarray | slice | None":
        """Rows that hold one of the text's rarest tokens: every row above the floor is among them.

        With m tokens here and n there, F = 2L/(m+n) and n >= L, so F > floor needs L > floor*(m+n)/2 and
        L > m*floor/(2-floor). At most m-L tokens go unmatched, hence among any m-L+1 of them one is matched.
        """
        everything = slice(0, len(self._texts))
        if len(self._texts) < _SMALL:
            return everything
        length = len(code)
        tokens = [token for token in code if token != _UNKNOWN]
        found: list[array[int]] = []
        for length_class, postings in self._postings.items():
            shortest, longest = _class_lengths(length_class)
            if 2 * min(length, longest) <= (floor - _MARGIN) * (length + min(length, longest)):
                continue
            needed = int(floor * max(length / (2 - floor), (length + shortest) / 2) - _MARGIN) + 1
            num_probes = len(tokens) - needed + 1
            if num_probes <= 0:
                continue
            lists = sorted([postings.get(token, _NONE) for token in tokens], key=len)[:num_probes]
            # A token that stands twice in the text is looked up once.
            found += {id(rows): rows for rows in lists if rows}.values()
        if sum(map(len, found)) * _DENSE_SHARE > len(self._texts):
            return everything
        return np.concatenate([np.frombuffer(rows, np.int32) for rows in found]).astype(np.intp) if found else None

    def _bounded(self, code: str, rows: "np.ndarray | slice", floor: float) -> "tuple[np.ndarray, np.ndarray]":
        """The rows whose length and signature allow a score above the floor, with those upper bounds."""
        length = len(code)
        bits, num_bits = _signature(code)
        common = np.bitwise_count(self._signatures[0, rows] & bits[0])
        for word in range(1, _WORDS):
            common += np.bitwise_count(self._signatures[word, rows] & bits[word])
        hidden = length - code.count(_UNKNOWN) - num_bits
        most = common + np.minimum(self._hidden[rows], hidden)
        bounds = 2.0 * most / (length + self._lengths[rows])
        passing = np.flatnonzero(bounds > floor - _MARGIN)
        kept = passing if isinstance(rows, slice) else rows[passing]
        bounds = bounds[passing]
        if not isinstance(rows, slice):
            kept, first = np.unique(kept, return_index=True)
            bounds = bounds[first]
        return kept, bounds

    def _scores(self, code: str, rows: np.ndarray) -> np.ndarray:
        """ROUGE-L F of the rows, operation for operation as rouge_score computes it."""
        codes = [self._codes[row] for row in rows.tolist()]
        common = cdist([code], codes, scorer=LCSseq.similarity, dtype=np.int32)[0]
        precision = common / np.maximum(self._lengths[rows], 1)
        recall = common / len(code)
        # Without a common token the formula is 0/0 and the score 0.
        scores: np.ndarray = 2 * precision * recall / np.where(common > 0, precision + recall, 1.0)
        return scores


def _signature(code: str) -> tuple[list[np.uint64], int]:
    """One bit for each distinct token (many tokens share a bit), as 64-bit words, and how many bits are set."""
    bits = 0
    for token in set(code):
        if token != _UNKNOWN:
            bits |= 1 << (ord(token) % (64 * _WORDS))
    return [np.uint64(bits >> (64 * word) & 0xFFFFFFFFFFFFFFFF) for word in range(_WORDS)], bits.bit_count()


@cache
def _length_class(length: int) -> int:
    """Lengths in the same class differ by less than half."""
    return length if length < 4 else int(2 * math.log2(length))


@cache
def _class_lengths(length_class: int) -> tuple[int, int]:
    """The shortest and the longest length of a class."""
    if length_class < 4:
        return length_class, length_class
    return math.ceil(2 ** (length_class / 2)), math.ceil(2 ** ((length_class + 1) / 2)) - 1
