"""Which tokens are green after which: by permutations as the published code draws them, or by a keyed function."""

import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from pacos.watermark.mark_kernels import MarkKernels
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
DRAWN_AT_ONCE = 64
# In numpy's order of bits.
BIT_OF_BYTE = np.array([128, 64, 32, 16, 8, 4, 2, 1], dtype=np.uint8)
WHOLE_LIST = 20
"""From so many tokens on it is cheaper to draw the list than to follow each."""


class GreenLists(Protocol):
    """`windows` [N, context_width] are the tokens that choose the lists, `tokens` [N] the ones asked about."""

    def ids(self, window: Sequence[int]) -> list[int]:
        """The green list after one window."""

    def prepare(self, kernels: MarkKernels | None) -> None:
        """Draws and keeps the lists of the commonest tokens, as many as are kept, which takes a second; from then on
        by the kernels, where there are some."""

    def bits(self, windows: Ints) -> Bits:
        """Whole lists as bits [N, vocab_size / 8], in numpy's order of bits."""

    def are_green(self, windows: Ints, tokens: Ints) -> Bools:
        """[N], far cheaper than lists."""


class _Known:
    """The latest lists by what chose them, so that a common context's is drawn once."""

    def __init__(self, vocab_size: int, draw: Callable[[list[int]], Bits]) -> None:
        self.most = KNOWN_BYTES * 8 // vocab_size + 1
        self._draw, self._places, self._uses = draw, dict[int, int](), 0
        # By place: a list's bits and a byte of none, the name it has, and which use was its last.
        self._bits = np.empty((0, -(-vocab_size // 8) + 1), dtype=np.uint8)
        self._names, self._last_use = list[int](), np.empty(0, dtype=np.int64)
        self._lock = threading.Lock()

    def bits(self, names: list[int]) -> Bits:
        """Whole lists, [N, vocab_size / 8]."""
        with self._lock:
            places = self._found(names)
            return self._bits[places, :-1]

    def are_set(self, names: list[int], lists_N: Ints, tokens_N: Ints) -> Bools:
        """Whether each token's bit is set in the list of names[lists_N]; a token beyond them is in none."""
        bytes_N = np.minimum(tokens_N >> 3, self._bits.shape[1] - 1)
        with self._lock:
            # A byte each: to lay whole lists beside each other would read all of them.
            places = self._found(names)[lists_N]
            set_ones: Bools = self._bits[places, bytes_N] & BIT_OF_BYTE[tokens_N & 7] != 0
        return set_ones

    def has(self, name: int) -> bool:
        """Whether it is in memory."""
        return name in self._places

    def draw(self, names: list[int]) -> None:
        """Keeps them, drawn beside whoever looks others up meanwhile."""
        drawn = self._draw(names)
        with self._lock:
            self._keep(names, drawn)

    def _found(self, names: list[int]) -> Ints:
        """Their places, of fewer names than are kept; lists that are not in memory are drawn."""
        self._uses += 1
        places = np.array([self._places.get(name, -1) for name in names], dtype=np.int64)
        self._last_use[places[places >= 0]] = self._uses
        if (places < 0).any():
            missing = list(dict.fromkeys(name for name in names if name not in self._places))
            self._keep(missing, self._draw(missing))
            places = np.array([self._places[name] for name in names], dtype=np.int64)
        return places

    def _keep(self, names: list[int], drawn: Bits) -> None:
        """Each in a place of its own as long as there are some, then in that of the list that was not used longest."""
        for name, bits in zip(names, drawn, strict=True):
            place = self._places.get(name, len(self._places))
            if place == self.most:
                place = int(self._last_use.argmin())
                del self._places[self._names[place]]
            elif place == len(self._bits):
                more = min(max(place, 64), self.most - place)
                self._bits = np.concatenate([self._bits, np.empty((more, self._bits.shape[1]), dtype=np.uint8)])
                self._last_use = np.append(self._last_use, np.zeros(more, dtype=np.int64))
                self._names += [-1] * more
            self._places[name], self._names[place] = place, name
            self._bits[place, :-1], self._bits[place, -1], self._last_use[place] = bits, 0, self._uses


class DrawnLists:
    """The first `num_green` places of a permutation seeded by the scheme, bit for bit as on a CPU."""

    def __init__(self, scheme: Scheme, vocab_size: int, num_green: int, key: int) -> None:
        self._scheme, self._vocab_size, self._num_green, self._key = scheme, vocab_size, num_green, key
        self._known = _Known(vocab_size, self._drawn)
        self._kernels: MarkKernels | None = None
        # Answers that were given: a place for each, which a later one of the same place takes over. Each is the seed
        # and the token above one bit, green or not; what has all bits set is none.
        self._answers = np.full(KNOWN_ANSWERS, 2**64 - 1, dtype=np.uint64) if scheme.self_salted else None

    def ids(self, window: Sequence[int]) -> list[int]:
        """In the order drawn."""
        (seed,) = self._seeds(np.array([window], dtype=np.int64)).tolist()
        ids: list[int] = first_ids(self._targets(seed)).tolist()
        return ids

    def prepare(self, kernels: MarkKernels | None) -> None:
        """A tokenizer's first ids are its commonest; where lists are not self-salted, one token makes a seed."""
        self._kernels = kernels
        if self._scheme.self_salted:
            return
        last = min(self._known.most, self._vocab_size)
        for first in range(0, last, DRAWN_AT_ONCE):
            ids = np.arange(first, min(first + DRAWN_AT_ONCE, last))
            windows = np.repeat(ids[:, None], self._scheme.context_width, axis=1)
            self._known.draw(self._seeds(windows).tolist())

    def bits(self, windows: Ints) -> Bits:
        """Each row from memory where it can be."""
        return self._known.bits(self._seeds(windows).tolist())

    def are_set(self, windows: Ints, lists_N: Ints, tokens_N: Ints) -> Bools:
        """From memory where it can be; lists that are not there are drawn whole and kept."""
        return self._known.are_set(self._seeds(windows).tolist(), lists_N, tokens_N)

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

    def _drawn(self, seeds: list[int]) -> Bits:
        if self._kernels:
            firsts = self._kernels.first_places(np.array(seeds), self._vocab_size, self._num_green)
        else:
            firsts = np.stack([first_places(self._targets(seed), self._vocab_size) for seed in seeds])
        return np.packbits(firsts, axis=1)

    def _examine(self, seeds: Ints, tokens: Ints) -> Bools:
        green = np.zeros(len(seeds), dtype=bool)
        order = np.argsort(seeds, kind="stable")
        starts = np.flatnonzero(np.diff(seeds[order], prepend=-1))
        followed = []
        for group in np.split(order, starts[1:]) if len(order) else []:
            seed = int(seeds[group[0]])
            if len(group) > WHOLE_LIST or self._known.has(seed):
                green[group] = self._known.are_set([seed], np.zeros(len(group), dtype=np.int64), tokens[group])
            else:
                followed.append(group)
        if self._kernels and followed:
            asked, ends = np.concatenate(followed), np.cumsum([0, *map(len, followed)])
            chosen = seeds[asked[ends[:-1]]]
            green[asked] = self._kernels.are_among_first(chosen, ends, tokens[asked], self._vocab_size, self._num_green)
        else:
            for group in followed:
                green[group] = are_among_first(self._targets(int(seeds[group[0]])), tokens[group].tolist())
        return green


class KeyedLists:
    """Green is a token of which Threefry's word, by a secret key of 128 bits and the token before, is below a limit.

    Word `c % 4` of the block of counter (c // 4, previous token, 0, 0) decides on token c; so many of 2**32 words are
    below the limit as gamma says, and a list's length varies about gamma of the vocabulary.
    """

    def __init__(self, vocab_size: int, gamma: float, key: int) -> None:
        self._vocab_size, self._limit = vocab_size, int(gamma * 2**32)
        self._key = [key >> 32 * place & 0xFFFFFFFF for place in range(4)]
        self._known = _Known(vocab_size, self._drawn)
        self._kernels: MarkKernels | None = None

    def ids(self, window: Sequence[int]) -> list[int]:
        """In ascending order."""
        bits = self.bits(np.array([window], dtype=np.int64))
        ids: list[int] = np.flatnonzero(np.unpackbits(bits[0], count=self._vocab_size)).tolist()
        return ids

    def prepare(self, kernels: MarkKernels | None) -> None:
        """A tokenizer's first ids are its commonest."""
        self._kernels = kernels
        last = min(self._known.most, self._vocab_size)
        for first in range(0, last, DRAWN_AT_ONCE):
            self._known.draw(list(range(first, min(first + DRAWN_AT_ONCE, last))))

    def bits(self, windows: Ints) -> Bits:
        """Each row from memory where it can be."""
        return self._known.bits(windows[:, 0].tolist())

    def are_green(self, windows: Ints, tokens: Ints) -> Bools:
        """All at once."""
        words = self._words((tokens >> 2).astype(np.uint32), windows[:, 0].astype(np.uint32))
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

    def _drawn(self, tokens: list[int]) -> Bits:
        blocks = np.arange(-(-self._vocab_size // 4), dtype=np.uint32)
        rows = []
        for token in tokens:
            green = (self._words(blocks, np.full_like(blocks, token)) < self._limit).ravel()
            rows.append(np.packbits(green[: self._vocab_size]))
        return np.stack(rows)

    def _words(self, blocks: NDArray[np.uint32], previous: NDArray[np.uint32]) -> NDArray[np.uint32]:
        """[N, 4]."""
        if self._kernels:
            return self._kernels.threefry(blocks, previous, self._key)
        zeros = [np.zeros_like(blocks) for _ in range(2)]
        return np.stack(threefry([blocks.copy(), previous.copy(), *zeros], self._key), axis=1)
