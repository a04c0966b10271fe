"""What marking computes most, compiled (mark_kernels.c): the same answers as permutation.py and threefry.py give."""

from collections.abc import Sequence
from ctypes import CDLL, c_int64, c_uint32, c_void_p
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pacos.core.compiled import compiled
from pacos.watermark.permutation import Ints

SOURCE = Path(__file__).with_suffix(".c")


class MarkKernels:
    """Calls into the library, which let go of the interpreter and share nothing, so that any thread may make them."""

    def __init__(self, library: Path) -> None:
        loaded = CDLL(str(library))
        pointer: Any = c_void_p
        permutation: list[Any] = [pointer, c_uint32, c_uint32, pointer, pointer]
        self._are_among_first, self._first_places = loaded.are_among_first, loaded.first_places
        self._are_likeliest, self._threefry = loaded.are_likeliest, loaded.threefry_words
        self._are_among_first.argtypes = [pointer, pointer, c_int64, pointer, *permutation]
        self._first_places.argtypes = [pointer, c_int64, *permutation]
        self._are_likeliest.argtypes = [pointer, c_int64, c_int64, pointer, pointer, c_int64, c_int64, pointer, pointer]
        self._threefry.argtypes = [pointer, pointer, c_int64, pointer, pointer]
        for function in (self._are_among_first, self._first_places, self._are_likeliest, self._threefry):
            function.restype = None

    def are_among_first(self, seeds: Ints, starts: Ints, candidates: Ints, n: int, count: int) -> NDArray[np.bool_]:
        """Whether each of `candidates` [N] is one of the first `count` ids of a permutation of `n`: those from
        starts[s] to starts[s + 1] of the permutation by seeds[s]."""
        seeds_S, places_N = seeds.astype(np.uint32), candidates.astype(np.uint32)
        starts = np.ascontiguousarray(starts, dtype=np.int64)
        among = np.empty(len(places_N), dtype=bool)
        targets, reciprocals = np.empty(count, dtype=np.uint32), _reciprocals(n, count)
        arrays = (_at(reciprocals), n, count, _at(targets), _at(among))
        self._are_among_first(_at(seeds_S), _at(starts), len(seeds_S), _at(places_N), *arrays)
        return among

    def first_places(self, seeds: Ints, n: int, count: int) -> NDArray[np.bool_]:
        """Which of `n` ids are among the first `count` of each seed's permutation [S, n]."""
        seeds_S, is_first = seeds.astype(np.uint32), np.empty((len(seeds), n), dtype=bool)
        targets, reciprocals = np.empty(count, dtype=np.uint32), _reciprocals(n, count)
        arrays = (_at(reciprocals), n, count, _at(targets), _at(is_first))
        self._first_places(_at(seeds_S), len(seeds_S), *arrays)
        return is_first

    def are_likeliest(
        self, values: NDArray[np.float32], rows: Ints, tokens: Ints, width: int, most: int
    ) -> NDArray[np.bool_]:
        """Whether each token is among the `most` likeliest of the first `width` of its row of `values` [B, V]; of equal
        ones the first ids come before. Cheapest where tokens of a row stand beside each other."""
        values = np.ascontiguousarray(values)
        rows, tokens = np.ascontiguousarray(rows), np.ascontiguousarray(tokens)
        found, before = np.empty(len(tokens), dtype=bool), np.empty(len(tokens), dtype=np.int64)
        asked = (_at(rows), _at(tokens), len(tokens))
        self._are_likeliest(_at(values), values.shape[1], width, *asked, most, _at(before), _at(found))
        return found

    def threefry(
        self, blocks: NDArray[np.uint32], previous: NDArray[np.uint32], key: Sequence[int]
    ) -> NDArray[np.uint32]:
        """The four words of each counter (block, previous, 0, 0), [N, 4]."""
        key_4, words = np.array(key, dtype=np.uint32), np.empty((len(blocks), 4), dtype=np.uint32)
        self._threefry(_at(blocks), _at(previous), len(blocks), _at(key_4), _at(words))
        return words


@cache
def mark_kernels() -> MarkKernels | None:
    """Compiled once a process; None where there is no C compiler."""
    return compiled(SOURCE, (), MarkKernels)


@lru_cache(maxsize=8)
def _reciprocals(n: int, count: int) -> NDArray[np.float32]:
    reciprocals: NDArray[np.float32] = np.float32(1) / (n - np.arange(count)).astype(np.float32)
    return reciprocals


def _at(array: NDArray[Any]) -> int:
    return array.ctypes.data
