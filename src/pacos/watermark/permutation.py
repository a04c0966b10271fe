"""PyTorch's CPU `randperm`, its first places only, as numpy: what makes green lists the same without torch.

`torch.randperm(n)` on the CPU shuffles by one swap a place: at place i it draws a 32-bit number u from an MT19937 that
was seeded with the low 32 bits of the generator's seed, and swaps places i and i + u mod (n - i). Place i never changes
afterwards, so the first `count` ids need only the first `count` swaps (PyTorch, aten/src/ATen/native/TensorFactories).
"""

import threading
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Targets = NDArray[np.uint32]


# RandomState seeds MT19937 as its authors do, and PyTorch with them; numpy's newer doors hash the seed first.
_generator = np.random.MT19937()
_seeder = np.random.RandomState(_generator)
_generator_lock = threading.Lock()


@lru_cache(maxsize=8)
def _places(n: int, count: int) -> tuple[Targets, Targets]:
    places = np.arange(count, dtype=np.uint32)
    return places, np.uint32(n) - places


def swap_targets(seed: int, n: int, count: int) -> Targets:
    """The place each of the first `count` places of a permutation of `n` is swapped with; `seed` has 32 bits."""
    places, left = _places(n, count)
    with _generator_lock:
        _seeder.seed(seed)
        raw = _generator.random_raw(count)
    draws: Targets = raw.astype(np.uint32)
    draws %= left
    draws += places
    return draws


def first_ids(swaps: Targets) -> Ints:
    """The permutation's first `len(swaps)` ids, in order, by array operations instead of one swap after another."""
    targets = swaps.astype(np.int64)
    count = len(targets)
    places = np.arange(count)
    # What lies in place i when its turn comes was put there by the last earlier swap that reached i, out of that
    # swap's own place: following those links back to a place nobody reached gives the id, as ids start in their places.
    source = places.copy()
    reached = (targets > places) & (targets < count)
    source[targets[reached]] = places[reached]
    while not np.array_equal(source, further := source[source]):
        source = further
    # Place i then takes what lies in its target: left by the last earlier swap with the same target, else untouched.
    # Few targets are met twice, so only those are put in order.
    latest = np.empty(targets.max() + 1, dtype=np.int64)
    latest[targets] = places
    met_again = np.zeros(len(latest), dtype=bool)
    met_again[targets[latest[targets] != places]] = True
    order = np.sort((targets << 32 | places)[met_again[targets]])
    swap, target = order & 0xFFFFFFFF, order >> 32
    again = np.flatnonzero(target[1:] == target[:-1])
    ids = targets.copy()
    ids[swap[again + 1]] = source[swap[again]]
    stays = targets == places
    ids[stays] = source[stays]
    return ids


def first_places(targets: Targets, n: int) -> NDArray[np.bool_]:
    """Which of `n` ids are among `first_ids(targets)`: less than half of the work of their order."""
    count, where = len(targets), targets.astype(np.intp)
    places = _places(n, count)[0]
    # A swap's target holds an id that goes to the swap's own place, where it stays.
    is_first = np.zeros(n, dtype=bool)
    is_first[where] = True
    # What a swap moves away to its target is fetched back by a later swap of that target, or moved on by the target's
    # own swap, or left outside.
    latest = np.empty(n, dtype=np.uint32)
    latest[where] = places
    fetched = latest.take(where) != places
    fetched |= targets == places
    is_first[:count] |= fetched
    moving = np.flatnonzero(~is_first[:count] & (targets < count))
    swap = where[moving]
    while len(moving):
        is_first[moving[fetched[swap]]] = True
        goes_on = ~fetched[swap] & (where[swap] < count)
        moving, swap = moving[goes_on], where[swap[goes_on]]
    return is_first


def are_among_first(targets: Targets, candidates: Sequence[int]) -> list[bool]:
    """Whether each of `candidates` is one of `first_ids(targets)`, by following that one id through the swaps."""
    return [_is_among_first(targets, candidate) for candidate in candidates]


def _is_among_first(targets: Targets, candidate: int) -> bool:
    count, place, start = len(targets), candidate, 0
    while True:
        if (targets[start : min(place, count)] == place).any():
            return True
        if place >= count:
            return False
        # The id's own turn: it is swapped away to a later place, or stays here, among the first.
        start, moved_to = place + 1, int(targets[place])
        if moved_to == place:
            return True
        place = moved_to
