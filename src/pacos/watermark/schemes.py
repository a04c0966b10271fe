"""Pseudo-random functions: from a window of tokens to the seed of the green list that holds after it.

Kirchenbauer et al., "A Watermark for Large Language Models" (arXiv:2301.10226) and "On the Reliability of Watermarks"
(arXiv:2306.04634), as their published code computes them, 64-bit wrap-around included. The scheme `threefry` has no
seeds: a keyed function decides on each token (threefry.py).
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np

from pacos.core.errors import PacosError
from pacos.watermark.permutation import Ints, first_ids, swap_targets

HASH_TABLE_SIZE = 1_000_003
HASH_TABLE_SEED = 2971215073


@dataclass(frozen=True)
class Scheme:
    """How many tokens choose a green list, whether the token itself is the last of them, and what makes the seed."""

    name: str
    context_width: int
    self_salted: bool
    prf: Callable[[Ints, int], Ints] | None
    """(windows [N, context_width], key) -> values [N], in int64 with wrap-around; None where lists are not drawn."""

    @property
    def num_previous(self) -> int:
        """Tokens needed before a token can be marked or scored."""
        return self.context_width - self.self_salted

    @property
    def key_bits(self) -> int:
        """How long a key may be."""
        return 63 if self.prf else 128

    def seeds(self, windows: Ints, key: int) -> Ints:
        """The 32-bit generator seed of each window [N, context_width]; a self-salted window ends in the candidate."""
        assert self.prf, f"{self.name} draws no lists"
        values = self.prf(windows, key)
        # PyTorch seeds with (value mod 2**64 - 1), a negative value so becoming one less in two's complement, and its
        # CPU generator keeps the low 32 bits.
        return (values - (values < 0)) & 0xFFFFFFFF


@cache
def _hash_table() -> Ints:
    return first_ids(swap_targets(HASH_TABLE_SEED, HASH_TABLE_SIZE, HASH_TABLE_SIZE)) + 1


def _hash(values: Ints) -> Ints:
    return _hash_table()[values % HASH_TABLE_SIZE]


def _product(windows: Ints, key: int) -> Ints:
    # The published code multiplies here in Python's unbounded integers, so that a large key does not wrap around.
    return np.array([key * token % (2**64 - 1) & 0xFFFFFFFF for token in windows[:, 0].tolist()], dtype=np.int64)


def _min_hash(windows: Ints, key: int) -> Ints:
    least: Ints = _hash(windows * key).min(axis=1)
    return least


def _skip_hash(windows: Ints, key: int) -> Ints:
    return _hash(windows[:, 0] * key)


def _anchored_min_hash(windows: Ints, key: int) -> Ints:
    hashes = _hash(windows)
    least: Ints = (key * hashes * hashes[:, -1:]).min(axis=1)
    return least


SCHEMES = {
    scheme.name: scheme
    for scheme in (
        Scheme("simple_1", 1, False, _product),
        Scheme("minhash", 4, False, _min_hash),
        Scheme("skipgram", 5, False, _skip_hash),
        Scheme("selfhash", 4, True, _anchored_min_hash),
        Scheme("threefry", 1, False, None),
    )
}


def find_scheme(name: str) -> Scheme:
    """The scheme of that name, or a PacosError; the papers' "lefthash" is the code's "simple_1"."""
    scheme = SCHEMES.get("simple_1" if name == "lefthash" else name)
    if scheme is None:
        raise PacosError(f"watermark scheme {name!r}: expected one of lefthash, {', '.join(SCHEMES)}.")
    return scheme
