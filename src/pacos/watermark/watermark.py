"""The KGW watermark: one object that marks logits and detects the mark, from the same green lists."""

from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pacos.core.errors import PacosError
from pacos.watermark.detection import Detection, summarise
from pacos.watermark.permutation import Ints, Targets, first_ids, is_among_first, swap_targets
from pacos.watermark.schemes import find_scheme

if TYPE_CHECKING:
    import torch

DEFAULT_KEY = 15485863
SELFHASH_CANDIDATES = 41
"""How many of the likeliest tokens selfhash looks at; the published code stops after index 40."""
GREEN_LIST_CACHE_BYTES = 64 * 2**20


class Watermark:
    """Kirchenbauer et al.'s watermark, bit for bit as its published code makes it on a CPU.

    `vocab_size` is part of the secret: another one gives other green lists, so pin the model's. Raises PacosError for
    an unknown scheme or values no watermark can have. Safe to use from several threads.
    """

    def __init__(
        self, scheme: str, vocab_size: int, gamma: float = 0.25, delta: float = 2.0, key: int = DEFAULT_KEY
    ) -> None:
        self.scheme = find_scheme(scheme)
        self.vocab_size, self.gamma, self.delta, self.key = vocab_size, gamma, delta, key
        self.num_green = int(vocab_size * gamma)
        if not 0 < gamma < 1 or self.num_green < 1:
            raise PacosError(
                f"watermark gamma {gamma} of {vocab_size} tokens: expected a share between 0 and 1 with a token in it."
            )
        if not 0 < key < 2**63:
            raise PacosError("watermark key: expected a whole number from 1 to 2**63 - 1.")
        # Green lists as bits: a whole vocabulary of 32,000 in 4 kB, so that common contexts are drawn once.
        self._green_bits = lru_cache(maxsize=GREEN_LIST_CACHE_BYTES * 8 // vocab_size + 1)(self._draw_green_bits)

    def green_ids(self, context: Sequence[int]) -> list[int]:
        """The green list after `context`, in the order drawn; for selfhash the context ends in the candidate itself.

        Raises PacosError where the context is shorter than the scheme reads.
        """
        ids: list[int] = first_ids(self._targets(self._seed(context))).tolist()
        return ids

    def is_green(self, context: Sequence[int], candidate: int) -> bool:
        """Whether `candidate` is green after `context`; far cheaper than `green_ids`."""
        window = [*context, candidate] if self.scheme.self_salted else context
        return is_among_first(self._targets(self._seed(window)), candidate)

    def apply(self, input_ids_BT: "torch.Tensor", logits_BV: "torch.Tensor") -> "torch.Tensor":
        """Logits [B, V] with green tokens raised by delta, each row after its own ids [B, T]; the input is not changed.

        Logits may be wider than `vocab_size` (a padded head): the rest stays. Where T is too short for the scheme the
        rows come back unmarked, as a detector does not score such positions either.
        """
        if logits_BV.shape[-1] < self.vocab_size:
            raise PacosError(
                f"watermark vocab_size {self.vocab_size}: the model has only {logits_BV.shape[-1]} logits; "
                "give the size the watermark was made for."
            )
        previous = self.scheme.num_previous
        if input_ids_BT.shape[-1] < previous:
            return logits_BV
        contexts = np.array(input_ids_BT[:, -previous:].tolist(), dtype=np.int64)
        green_BV = np.zeros(tuple(logits_BV.shape), dtype=bool)
        if self.scheme.self_salted:
            self._find_green_candidates(contexts, logits_BV, green_BV)
        else:
            bits = np.stack([self._green_bits(seed) for seed in self.scheme.seeds(contexts, self.key)])
            green_BV[:, : self.vocab_size] = np.unpackbits(bits, axis=1, count=self.vocab_size)
        # Every other logit keeps its bits. Tensors are met through their own methods only, so that this loads no torch.
        return (logits_BV + self.delta).where(logits_BV.new_tensor(green_BV).bool(), logits_BV)

    def detect(self, tokens: Sequence[int], ignore_repeated_ngrams: bool = True) -> Detection:
        """Scores every token that has enough context; a repeated n-gram counts once unless told otherwise.

        Too few tokens give a Detection with nothing scored. Raises PacosError for what cannot be token ids.
        """
        ids = np.asarray(tokens, dtype=np.int64)
        if ids.ndim != 1 or (ids < 0).any():
            raise PacosError("detect: expected one list of token ids, none of them negative.")
        length = self.scheme.num_previous + 1
        if len(ids) < length:
            return summarise(0, 0, [], self.gamma)
        ngrams = np.lib.stride_tricks.sliding_window_view(ids, length)
        unique, position = np.unique(ngrams, axis=0, return_inverse=True)
        green = self._score(unique)
        mask = green[position.ravel()]
        counted = green if ignore_repeated_ngrams else mask
        return summarise(len(counted), int(counted.sum()), mask.tolist(), self.gamma)

    def _seed(self, context: Sequence[int]) -> int:
        width = self.scheme.context_width
        if len(context) < width:
            raise PacosError(
                f"watermark context of {len(context)} tokens: {self.scheme.name} reads {width}; give a longer one."
            )
        return self.scheme.seeds(np.array([context[-width:]], dtype=np.int64), self.key)[0]

    def _targets(self, seed: int) -> Targets:
        return swap_targets(seed, self.vocab_size, self.num_green)

    def _draw_green_bits(self, seed: int) -> NDArray[np.uint8]:
        green = np.zeros(self.vocab_size, dtype=bool)
        green[first_ids(self._targets(seed))] = True
        return np.packbits(green)

    def _score(self, ngrams: Ints) -> NDArray[np.bool_]:
        """Which n-grams [N, num_previous + 1] end in a green token."""
        windows = ngrams if self.scheme.self_salted else ngrams[:, :-1]
        seeds = self.scheme.seeds(windows, self.key)
        pairs = zip(seeds, ngrams[:, -1].tolist(), strict=True)
        return np.array([is_among_first(self._targets(seed), token) for seed, token in pairs], dtype=bool)

    def _find_green_candidates(self, contexts: Ints, logits_BV: "torch.Tensor", green_BV: NDArray[np.bool_]) -> None:
        count = min(SELFHASH_CANDIDATES, self.vocab_size)
        candidates = logits_BV[:, : self.vocab_size].topk(count, dim=-1).indices.tolist()
        for context, row, green_V in zip(contexts, candidates, green_BV, strict=True):
            windows = np.column_stack([np.tile(context, (len(row), 1)), row])
            green_V[row] = self._score(windows)
