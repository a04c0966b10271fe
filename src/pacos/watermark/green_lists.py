"""Which tokens are green after which: by permutations as the published code draws them, or by a keyed function."""

import threading
from collections import OrderedDict
from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from pacos.watermark.permutation import Ints, Targets, are_among_first, first_ids, first_places, swap_targets
from pacos.watermark.schemes import Scheme
from pacos.watermark.threefry import as_word, threefry

if TYPE_CHECKING:
    import torch

Bits = NDArray[np.uint8]
Bools = NDArray[np.bool_]
KNOWN_BYTES = 128 * 2**20
"""Green lists of common contexts are kept, a whole vocabulary of 49,152 in 6 kB."""
KNOWN_ANSWERS = 2**21
WHOLE_LIST = 20
"""From so many tokens on it is cheaper to draw the list than to follow each."""


def are_set(lists: Sequence[Bits], places_N: Ints, tokens_N: Ints) -> Bools:
    """Whether each token's bit is set in the list of its place; a token beyond them is in none."""
    length = len(lists[0])
    # A byte each: to lay whole lists beside each other would read all of them.
    pairs = zip(places_N.tolist(), (tokens_N >> 3).tolist(), strict=True)
    bytes_N = np.fromiter((lists[n].item(at) if at < length else 0 for n, at in pairs), np.int64, len(tokens_N))
    return (bytes_N >> (7 - (tokens_N & 7)) & 1).astype(bool)


class GreenLists(Protocol):
    """`windows` [N, context_width] are the tokens that choose the lists, `tokens` [N] the ones asked about."""

    def ids(self, window: Sequence[int]) -> list[int]:
        """The green list after one window."""

    def prepare(self) -> None:
        """Draws and keeps the lists of the commonest tokens, as many as are kept, which takes seconds."""

    def bits(self, windows: Ints) -> Bits:
        """Whole lists as bits [N, vocab_size / 8], in numpy's order of bits."""

    def are_green(self, windows: Ints, tokens: Ints) -> Bools:
        """[N], far cheaper than lists."""


class _Known:
    """The latest lists by what chose them, so that a common context's is drawn once."""

    def __init__(self, vocab_size: int) -> None:
        self.most = KNOWN_BYTES * 8 // vocab_size + 1
        self._lists: OrderedDict[int, Bits] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, name: int) -> Bits | None:
        with self._lock:
            found = self._lists.get(name)
            if found is not None:
                self._lists.move_to_end(name)
            return found

    def keep(self, name: int, bits: Bits) -> None:
        with self._lock:
            self._lists[name] = bits
            if len(self._lists) > self.most:
                self._lists.popitem(last=False)


class DrawnLists:
    """The first `num_green` places of a permutation seeded by the scheme, bit for bit as on a CPU."""

    def __init__(self, scheme: Scheme, vocab_size: int, num_green: int, key: int) -> None:
        self._scheme, self._vocab_size, self._num_green, self._key = scheme, vocab_size, num_green, key
        self._known = _Known(vocab_size)
        # Answers that were given: a place for each, which a later one of the same place takes over. Each is the seed
        # and the token above one bit, green or not; what has all bits set is none.
        self._answers = np.full(KNOWN_ANSWERS, 2**64 - 1, dtype=np.uint64) if scheme.self_salted else None

    def ids(self, window: Sequence[int]) -> list[int]:
        """In the order drawn."""
        (seed,) = self._seeds(np.array([window], dtype=np.int64)).tolist()
        ids: list[int] = first_ids(self._targets(seed)).tolist()
        return ids

    def prepare(self) -> None:
        """A tokenizer's first ids are its commonest; where lists are not self-salted, one token makes a seed."""
        if self._scheme.self_salted:
            return
        for first in range(0, min(self._known.most, self._vocab_size), 256):
            ids = np.arange(first, min(first + 256, self._known.most, self._vocab_size))
            for seed in self._seeds(np.repeat(ids[:, None], self._scheme.context_width, axis=1)).tolist():
                self._row(seed)

    def bits(self, windows: Ints) -> Bits:
        """Each row from memory where it can be."""
        return np.stack(self.rows(windows))

    def rows(self, windows: Ints) -> list[Bits]:
        """The same, not yet beside each other."""
        return [self._row(seed) for seed in self._seeds(windows).tolist()]

    def are_green(self, windows: Ints, tokens: Ints) -> Bools:
        """Each seed's permutation is drawn once, and none whose list or whose answer is known."""
        seeds = self._seeds(windows)
        if self._answers is None:
            return self._examine(seeds, tokens)
        # A seed has 32 bits and a token fewer than 31.
        names = (seeds << 31 | tokens).astype(np.uint64)
        places = (names * 0x61C8864680B583EB >> 20) % KNOWN_ANSWERS
        found = self._answers[places]
        unknown = np.flatnonzero(found >> 1 != names)
        if len(unknown):
            first = unknown[np.unique(names[unknown], return_index=True)[1]]
            green = self._examine(seeds[first], tokens[first])
            self._answers[places[first]] = names[first] << 1 | green
            order = names[first]
            found[unknown] = green[np.searchsorted(order, names[unknown])]
        green_ones: Bools = (found & 1).astype(bool)
        return green_ones

    def _seeds(self, windows: Ints) -> Ints:
        return self._scheme.seeds(windows, self._key)

    def _targets(self, seed: int) -> Targets:
        return swap_targets(seed, self._vocab_size, self._num_green)

    def _row(self, seed: int) -> Bits:
        bits = self._known.get(seed)
        if bits is None:
            bits = np.packbits(first_places(self._targets(seed), self._vocab_size))
            self._known.keep(seed, bits)
        return bits

    def _examine(self, seeds: Ints, tokens: Ints) -> Bools:
        green = np.zeros(len(seeds), dtype=bool)
        order = np.argsort(seeds, kind="stable")
        starts = np.flatnonzero(np.diff(seeds[order], prepend=-1))
        for group in np.split(order, starts[1:]) if len(order) else []:
            seed = int(seeds[group[0]])
            asked = tokens[group]
            bits = self._row(seed) if len(group) > WHOLE_LIST else self._known.get(seed)
            if bits is None:
                green[group] = are_among_first(self._targets(seed), asked.tolist())
            else:
                green[group] = are_set([bits], np.zeros(len(group), dtype=np.int64), asked)
        return green


class KeyedLists:
    """Green is a token of which Threefry's word, by a secret key of 128 bits and the token before, is below a limit.

    Word `c % 4` of the block of counter (c // 4, previous token, 0, 0) decides on token c; so many of 2**32 words are
    below the limit as gamma says, and a list's length varies about gamma of the vocabulary.
    """

    def __init__(self, vocab_size: int, gamma: float, key: int) -> None:
        self._vocab_size, self._limit = vocab_size, int(gamma * 2**32)
        self._key = [key >> 32 * place & 0xFFFFFFFF for place in range(4)]
        self._known = _Known(vocab_size)

    def ids(self, window: Sequence[int]) -> list[int]:
        """In ascending order."""
        bits = self.bits(np.array([window], dtype=np.int64))
        ids: list[int] = np.flatnonzero(np.unpackbits(bits[0], count=self._vocab_size)).tolist()
        return ids

    def prepare(self) -> None:
        """A tokenizer's first ids are its commonest."""
        for token in range(min(self._known.most, self._vocab_size)):
            self.bits(np.array([[token]], dtype=np.int64))

    def bits(self, windows: Ints) -> Bits:
        """Each row from memory where it can be."""
        rows = []
        for previous in windows[:, 0].tolist():
            bits = self._known.get(previous)
            if bits is None:
                blocks = np.arange(-(-self._vocab_size // 4), dtype=np.uint32)
                words = self._words(blocks, np.full_like(blocks, previous))
                green = np.stack([word < self._limit for word in words], axis=1).ravel()
                bits = np.packbits(green[: self._vocab_size])
                self._known.keep(previous, bits)
            rows.append(bits)
        return np.stack(rows)

    def are_green(self, windows: Ints, tokens: Ints) -> Bools:
        """All at once."""
        words = np.stack(self._words((tokens >> 2).astype(np.uint32), windows[:, 0].astype(np.uint32)), axis=1)
        chosen = np.take_along_axis(words, (tokens & 3)[:, None], axis=1)[:, 0]
        green: Bools = (chosen < self._limit) & (tokens < self._vocab_size)
        return green

    def on_device(self, windows_B1: "torch.Tensor") -> "torch.Tensor":
        """Whole lists as booleans [B, vocab_size], computed where the windows are, by the same words."""
        count = -(-self._vocab_size // 4)
        previous_BK = windows_B1[:, -1:].int().expand(-1, count).clone()
        blocks_BK = previous_BK.new_ones(previous_BK.shape).cumsum(-1, dtype=previous_BK.dtype) - 1
        zeros = [previous_BK.new_zeros(previous_BK.shape) for _ in range(2)]
        words = threefry([blocks_BK, previous_BK, *zeros], self._key)
        green = previous_BK.new_zeros((*previous_BK.shape, 4)).bool()
        for place, word in enumerate(words):
            # Signed words keep their order with the highest bit turned.
            green[:, :, place] = (word ^ -(2**31)) < as_word(self._limit ^ 2**31, is_signed=True)
        return green.flatten(1)[:, : self._vocab_size]

    def _words(self, blocks: NDArray[np.uint32], previous: NDArray[np.uint32]) -> list[NDArray[np.uint32]]:
        return threefry([blocks.copy(), previous.copy(), np.zeros_like(blocks), np.zeros_like(blocks)], self._key)
