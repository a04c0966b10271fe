"""ROUGE-L novelty: is a text too near to any text so far? Exact, by pruning that never drops a right answer."""

import math
from array import array
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from rapidfuzz.distance import LCSseq
from rapidfuzz.process import cdist

from pacos.core.errors import PacosError
from pacos.text.tokens import Tokenizer, rouge_tokens

_UNKNOWN = "\0"  # stands for every token that no text of the pool has
# Bounds are compared loosely by this much, so that rounding can never prune; scores themselves are not rounded.
_MARGIN = 1e-9
# Up to this many texts, scoring all of them unseen is fastest.
_CHUNK = 512
# From this many texts on, the so many most frequent tokens have a bit each in one word for every text.
_SMALL = 1024
_NUM_COMMON = 64
# Where the postings name more than a fifth of the texts, looking at all is faster.
_DENSE_SHARE = 5
# Texts whose bound is at least this share of the highest bound are scored first. They are few, and the best score is
# mostly theirs; it prunes nearly all others.
_HEAD = 0.85

_Best = tuple[float, int | None]  # a score, and the row that has it


class Novelty:
    """A pool of texts that tells how near a new text comes to any of them.

    Nearness is the ROUGE-L F-measure over tokens, with the very floats of rouge_score's
    `RougeScorer(["rougeL"], use_stemmer=False)`, so that decisions at a tie are also its decisions.
    A text without tokens has score 0 against everything.

    A score is bounded by how many tokens two texts share in whatever order. That number is counted exactly: the most
    frequent tokens are bits in a word of every text, all other tokens have postings, which are short. First come the
    texts that hold one of the new text's rare tokens; what holds none can only share its common ones, and is looked
    at only where those could be enough to reach the best score so far.
    """

    def __init__(self, threshold: float = 0.7, tokenizer: Tokenizer = rouge_tokens) -> None:
        self.threshold = threshold
        self.tokenizer = tokenizer
        self._texts: list[str] = []
        self._codes: list[str] = []
        self._code_of: dict[str, str] = {}
        # The rows that hold a token, each once.
        self._postings: dict[str, array[int]] = {}
        # The most frequent tokens as of when the pool last doubled, the most frequent first, and the bit of each.
        self._common: list[str] = []
        self._bit_of: dict[str, int] = {}
        self._bits = np.zeros(1024, np.uint64)
        # At least 1, so that one can divide by it.
        self._lengths = np.ones(1024)
        # How many of a text's tokens are repetitions: neither bits nor postings count those.
        self._repeats = np.zeros(1024, np.int32)

    def __len__(self) -> int:
        return len(self._texts)

    def add(self, text: str) -> None:
        """Puts a text into the pool."""
        row = len(self._texts)
        if row == len(self._lengths):
            self._bits = np.resize(self._bits, 2 * row)
            self._lengths, self._repeats = np.resize(self._lengths, 2 * row), np.resize(self._repeats, 2 * row)
        if row >= _SMALL and row & (row - 1) == 0:
            self._choose_common()
        code = "".join(map(self._code, self.tokenizer(text)))
        distinct = set(code)
        self._texts.append(text)
        self._codes.append(code)
        self._lengths[row] = max(1, len(code))
        self._repeats[row] = len(code) - len(distinct)
        bits = 0
        for token in distinct:
            bits |= self._bit_of.get(token, 0)
            postings = self._postings.get(token)
            if postings is None:
                self._postings[token] = array("i", (row,))
            else:
                postings.append(row)
        self._bits[row] = bits

    def is_novel(self, text: str) -> bool:
        """Whether no text of the pool scores above the threshold."""
        return not self._search(text, self.threshold)[0] > self.threshold

    def nearest(self, text: str) -> tuple[float, str | None]:
        """The highest score and the text it belongs to, the earliest added of equals; (0.0, None) where all are 0."""
        score, row = self._search(text, 0.0)
        return (score, self._texts[row]) if row is not None and score > 0 else (0.0, None)

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

    def _choose_common(self) -> None:
        """Gives the bits to the tokens that are now the most frequent: any choice is exact, this one is fast."""
        by_frequency = sorted(self._postings, key=lambda token: len(self._postings[token]), reverse=True)
        self._common = by_frequency[:_NUM_COMMON]
        self._bit_of = {token: 1 << number for number, token in enumerate(self._common)}
        self._bits[:] = 0
        for token, bit in self._bit_of.items():
            self._bits[np.frombuffer(self._postings[token], np.int32)] |= np.uint64(bit)

    def _query(self, text: str) -> "_Query":
        code = "".join([self._code_of.get(token, _UNKNOWN) for token in self.tokenizer(text)])
        known = code.replace(_UNKNOWN, "")
        distinct = set(known)
        rare = [token for token in distinct if token not in self._bit_of]
        # The most frequent token has the lowest bit.
        common = sorted([self._bit_of[token] for token in known if token in self._bit_of], reverse=True)
        return _Query(code, rare, common, np.uint64(sum(set(common))), len(known) - len(distinct))

    def _search(self, text: str, floor: float) -> _Best:
        """The best score and its row; exact whenever some score is above `floor`, else anything not above it."""
        query, size = self._query(text), len(self)
        best: _Best = (floor, None)
        if not query.rare and not query.common:
            return best
        if size <= _CHUNK:
            return self._scored(query, np.arange(size), best)
        if query.rare:
            rows = self._holding(query.rare)
            # A row stands here once for each rare token that it shares.
            shared = np.bincount(rows, minlength=size).take(rows) + self._shared_common(query, rows)
            best = self._bounded(query, rows, shared, best)
        # What is left shares only common tokens, at least `needed` of them. The most frequent ones make up for all of
        # these but one, so it also holds one of the others.
        num_probes = max(0, len(query.common) - query.needed(best[0]) + 1)
        if not num_probes:
            return best
        probes = {self._common[bit.bit_length() - 1] for bit in query.common[:num_probes]}
        if sum(len(self._postings[token]) for token in probes) * _DENSE_SHARE > size:
            return self._best_of_all(query, best)
        rows = self._holding(probes)
        return self._bounded(query, rows, self._shared_common(query, rows), best)

    def _best_of_all(self, query: "_Query", best: _Best) -> _Best:
        """The better of `best` and the best row by the tokens that have bits."""
        rows = slice(0, len(self))
        shared = most = self._shared_common(query, rows)
        if not query.rare:
            # Nothing is scored yet: a few of the likeliest, so that their best prunes.
            best = self._scored(query, np.flatnonzero(shared == shared.max())[:_CHUNK], best)
        if query.num_repeats:
            most = most + np.minimum(self._repeats[rows], query.num_repeats)
        kept = np.flatnonzero(most >= (self._lengths[rows] + len(query.code)) * (best[0] / 2 - _MARGIN))
        return self._bounded(query, kept, shared.take(kept), best)

    def _holding(self, tokens: Iterable[str]) -> np.ndarray:
        """The rows that hold any of the tokens, once for each of them."""
        return np.frombuffer(b"".join([self._postings[token] for token in tokens]), np.int32).astype(np.intp)

    def _shared_common(self, query: "_Query", rows: np.ndarray | slice) -> np.ndarray:
        """How many of the tokens that have bits each of the rows shares."""
        # `take` is several times as fast as indexing by an array.
        bits = self._bits[rows] if isinstance(rows, slice) else self._bits.take(rows)
        shared: np.ndarray = np.bitwise_count(bits & query.mask)
        return shared

    def _bounded(self, query: "_Query", rows: np.ndarray, shared: np.ndarray, best: _Best) -> _Best:
        """The better of `best` and the best of the rows, which share so many distinct tokens with the text."""
        least = query.needed(best[0]) - query.num_repeats
        if least > 1:
            kept = np.flatnonzero(shared >= least)
            rows, shared = rows.take(kept), shared.take(kept)
        if query.num_repeats:
            shared = shared + np.minimum(self._repeats.take(rows), query.num_repeats)
        bounds = 2.0 * shared / (self._lengths.take(rows) + float(len(query.code)))
        while len(rows):
            bar = max(_HEAD * float(bounds.max()), best[0] - _MARGIN)
            best = self._scored(query, rows[bounds >= bar], best)
            rest = np.flatnonzero((bounds < bar) & (bounds >= best[0] - _MARGIN))
            rows, bounds = rows.take(rest), bounds.take(rest)
        return best

    def _scored(self, query: "_Query", rows: np.ndarray, best: _Best) -> _Best:
        """The better of `best` and the best of the rows, the earliest of equals; every row is scored.

        Scores are ROUGE-L F, operation for operation as rouge_score computes it.
        """
        if not len(rows):
            return best
        codes = [self._codes[row] for row in rows.tolist()]
        common = cdist([query.code], codes, scorer=LCSseq.similarity, dtype=np.int32)[0]
        precision = common / self._lengths.take(rows)
        recall = common / len(query.code)
        # Without a common token the formula is 0/0 and the score 0; with one the sum is far above this number.
        scores = 2 * precision * recall / np.maximum(precision + recall, 1e-300)
        score = float(scores.max())
        if score < best[0]:
            return best
        row = int(rows[scores == score].min())
        return (score, row) if score > best[0] or best[1] is None or row < best[1] else best


@dataclass
class _Query:
    """A new text as the search needs it."""

    code: str
    # Its distinct tokens that have postings only, and the bits of its other tokens, repetitions too, the rarest first.
    rare: list[str]
    common: list[int]
    mask: np.uint64
    # How many of its tokens that the pool has are repetitions.
    num_repeats: int

    def needed(self, score: float) -> int:
        """How many tokens a text must share, in order, to reach the score.

        With m tokens here and n there, F = 2L/(m+n) and n >= L, so F >= score needs L >= m*score/(2-score).
        """
        return max(1, math.ceil(len(self.code) * score / (2 - score) - _MARGIN))
