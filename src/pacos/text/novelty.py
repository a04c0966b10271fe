"""ROUGE-L novelty: is a text too near to any text so far? Exact, by pruning that never drops a right answer."""

import math
from array import array
from functools import cache, cached_property

import numpy as np
from rapidfuzz.distance import LCSseq
from rapidfuzz.process import cdist

from pacos.core.errors import PacosError
from pacos.text.tokens import Tokenizer, rouge_tokens

# 64-bit words of the two signatures: all rows are screened by a coarse one, those that pass by a fine one.
_COARSE, _FINE = 2, 8
_UNKNOWN = "\0"  # stands for every token that no text of the pool has
# Bounds are compared loosely by this much, so that rounding can never prune; scores themselves are not rounded.
_MARGIN = 1e-9
# Below this many texts, or where the postings name more than a fifth of them, looking at all is faster.
_SMALL = 4096
_DENSE_SHARE = 5
# How many texts are scored before their best score prunes the rest; so few are scored unseen.
_CHUNK = 512
# Shares of the threshold, each the floor of one search: a high one prunes nearly everything, so the search widens
# only for a text that is near to nothing.
_FLOORS = (0.75, 0.55, 0.4, 0.25, 0.0)
_Rows = np.ndarray | slice


class Novelty:
    """A pool of texts that tells how near a new text comes to any of them.

    Nearness is the ROUGE-L F-measure over tokens, with the very floats of rouge_score's
    `RougeScorer(["rougeL"], use_stemmer=False)`, so that decisions at a tie are also its decisions.
    A text without tokens has score 0 against everything.

    Three bounds prune, none of which can drop a text that scores above the floor searched for: such a text is of
    a like length, it holds one of the new text's rarest tokens (postings by length class), and the tokens that
    the two can have in common (signatures of 128, then of 512 bits) are enough for the common subsequence that the
    floor needs.
    """

    def __init__(self, threshold: float = 0.7, tokenizer: Tokenizer = rouge_tokens) -> None:
        self.threshold = threshold
        self.tokenizer = tokenizer
        self._texts: list[str] = []
        self._codes: list[str] = []
        self._code_of: dict[str, str] = {}
        # One index for each class of lengths: (token) -> the rows of that class that hold it.
        self._postings: dict[int, dict[str, array[int]]] = {}
        # In how many texts a token stands.
        self._frequency: dict[str, int] = {}
        self._lengths = np.zeros(1024, np.int32)
        self._coarse, self._fine = _Signatures(_COARSE), _Signatures(_FINE)

    def __len__(self) -> int:
        return len(self._texts)

    def add(self, text: str) -> None:
        """Puts a text into the pool."""
        row = len(self._texts)
        if row == len(self._lengths):
            self._lengths = np.resize(self._lengths, 2 * row)
        code = "".join(map(self._code, self.tokenizer(text)))
        self._texts.append(text)
        self._codes.append(code)
        self._lengths[row] = len(code)
        self._coarse.put(row, code)
        self._fine.put(row, code)
        postings = self._postings.setdefault(_length_class(len(code)), {})
        for token in set(code):
            postings.setdefault(token, array("i")).append(row)
            self._frequency[token] = self._frequency.get(token, 0) + 1

    def is_novel(self, text: str) -> bool:
        """Whether no text of the pool scores above the threshold."""
        score, row = self._search(self._query(text), self.threshold)
        return row is None or not score > self.threshold

    def nearest(self, text: str) -> tuple[float, str | None]:
        """The highest score and the text it belongs to, the earliest added of equals; (0.0, None) where all are 0."""
        query, score = self._query(text), 0.0
        for share in _FLOORS if len(self) >= _SMALL else (0.0,):
            # What one search came across, the next one reaches: no floor need lie far below it.
            floor = max(share * self.threshold, score - 2 * _MARGIN)
            score, row = self._search(query, floor)
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

    def _query(self, text: str) -> "_Query":
        code = "".join([self._code_of.get(token, _UNKNOWN) for token in self.tokenizer(text)])
        known = code.replace(_UNKNOWN, "")
        rarest_first = "".join(sorted(known, key=self._frequency.__getitem__))
        return _Query(code, rarest_first)

    def _search(self, query: "_Query", floor: float) -> tuple[float, int | None]:
        """The best (score, row); exact whenever some score is above `floor`, else anything not above it."""
        if not query.rarest_first:
            return 0.0, None
        if len(self) <= _CHUNK:
            rows, bounds = np.arange(len(self)), np.ones(len(self))
        else:
            rows, bounds = self._bounded(query, self._sharing_a_rare_token(query, floor), floor)
        best, best_row = 0.0, None
        for start in range(0, len(rows), _CHUNK):
            if bounds[start] < best - _MARGIN:
                break
            head = rows[start : start + _CHUNK]
            scores = self._scores(query.code, head)
            top = float(scores.max())
            if top >= best:
                row = int(head[scores == top].min())
                best_row = row if top > best or best_row is None else min(row, best_row)
                best = top
        return best, best_row

    def _sharing_a_rare_token(self, query: "_Query", floor: float) -> _Rows:
        """Rows that hold one of the text's rarest tokens: every row above the floor is among them.

        With m tokens here and n there, F = 2L/(m+n) and n >= L, so F > floor needs L > floor*(m+n)/2 and
        L > m*floor/(2-floor). At most m-L tokens go unmatched, hence among any m-L+1 of them one is matched.
        """
        everything = slice(0, len(self))
        if len(self) < _SMALL:
            return everything
        length = len(query.code)
        found: list[array[int]] = []
        for length_class, postings in self._postings.items():
            shortest, longest = _class_lengths(length_class)
            if 2 * min(length, longest) <= (floor - _MARGIN) * (length + min(length, longest)):
                continue
            needed = int(floor * max(length / (2 - floor), (length + shortest) / 2) - _MARGIN) + 1
            # Tokens that nothing in the pool has are never matched: of the others so many fewer may go unmatched.
            num_probes = max(0, len(query.rarest_first) - needed + 1)
            found += [postings[token] for token in set(query.rarest_first[:num_probes]) if token in postings]
        if sum(map(len, found)) * _DENSE_SHARE > len(self):
            return everything
        arrays = [np.frombuffer(rows, np.int32) for rows in found] or [np.empty(0, np.int32)]
        return np.concatenate(arrays).astype(np.intp)

    def _bounded(self, query: "_Query", rows: _Rows, floor: float) -> tuple[np.ndarray, np.ndarray]:
        """The rows whose lengths and signatures allow a score above the floor, and these bounds, the highest first."""
        length = len(query.code)
        most = self._coarse.most_common(query.coarse, rows)
        passing = np.flatnonzero(2.0 * most > (floor - _MARGIN) * (length + _pick(self._lengths, rows)))
        if not len(passing):
            return passing, passing
        passing = passing if isinstance(rows, slice) else rows.take(passing)
        bounds = 2.0 * self._fine.most_common(query.fine, passing) / (length + self._lengths.take(passing))
        allowed = np.flatnonzero(bounds > floor - _MARGIN)
        # A row stands here once for each of the rare tokens it holds.
        passing, first = np.unique(passing.take(allowed), return_index=True)
        bounds = bounds.take(allowed).take(first)
        order = np.argsort(-bounds)
        return passing.take(order), bounds.take(order)

    def _scores(self, code: str, rows: np.ndarray) -> np.ndarray:
        """ROUGE-L F of the rows, operation for operation as rouge_score computes it."""
        codes = [self._codes[row] for row in rows.tolist()]
        common = cdist([code], codes, scorer=LCSseq.similarity, dtype=np.int32)[0]
        precision = common / np.maximum(self._lengths.take(rows), 1)
        recall = common / len(code)
        # Without a common token the formula is 0/0 and the score 0.
        scores: np.ndarray = 2 * precision * recall / np.where(common > 0, precision + recall, 1.0)
        return scores


class _Query:
    """A new text as the searches need it: its code, and those of its tokens that stand in the pool."""

    def __init__(self, code: str, rarest_first: str) -> None:
        self.code, self.rarest_first = code, rarest_first

    @cached_property
    def coarse(self) -> tuple[np.ndarray, int]:
        return _signature(self.rarest_first, _COARSE)

    @cached_property
    def fine(self) -> tuple[np.ndarray, int]:
        return _signature(self.rarest_first, _FINE)


class _Signatures:
    """One bit for each distinct token of a text (many tokens share a bit), for all rows."""

    def __init__(self, num_words: int) -> None:
        self._words = np.zeros((num_words, 1024), np.uint64)
        # How many of a text's tokens share a bit with another of its tokens: the signature cannot see those.
        self._hidden = np.zeros(1024, np.int32)

    def put(self, row: int, code: str) -> None:
        """Sets the signature of one row; rows come in order."""
        if row == len(self._hidden):
            self._words = np.hstack([self._words, np.zeros_like(self._words)])
            self._hidden = np.resize(self._hidden, 2 * row)
        self._words[:, row], self._hidden[row] = _signature(code, len(self._words))

    def most_common(self, signature: tuple[np.ndarray, int], rows: _Rows) -> np.ndarray:
        """How many tokens each of the rows can at most have in common with a text of that signature."""
        bits, hidden = signature
        most: np.ndarray = np.minimum(_pick(self._hidden, rows), hidden)
        for words, mask in zip(self._words, bits, strict=True):
            if mask:
                most += np.bitwise_count(_pick(words, rows) & mask)
        return most


def _signature(code: str, num_words: int) -> tuple[np.ndarray, int]:
    """The bits as 64-bit words, and how many tokens have none of their own."""
    bits = 0
    for token in code:
        bits |= 1 << (ord(token) % (64 * num_words))
    return np.frombuffer(bits.to_bytes(8 * num_words, "little"), "<u8"), len(code) - bits.bit_count()


def _pick(values: np.ndarray, rows: _Rows) -> np.ndarray:
    # Several times as fast as values[rows] where rows is an array.
    return values[rows] if isinstance(rows, slice) else values.take(rows)


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
