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


def draw(seed: int, count: int) -> Targets:
    """The first `count` numbers of 32 bits that the generator gives; `seed` has 32 bits too."""
    with _generator_lock:
        _seeder.seed(seed)
        raw = _generator.random_raw(count)
    draws: Targets = raw.astype(np.uint32)
    return draws


def swap_targets(seed: int, n: int, count: int) -> Targets:
    """The place each of the first `count` places of a permutation of `n` is swapped with."""
    draws, (places, left) = draw(seed, count), _places(n, count)
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


@lru_cache(maxsize=8)
def _divisors(n: int, count: int) -> tuple[Targets, Targets, Targets, Targets]:
    """For each place what tells multiples of n - place without a division: Granlund and Montgomery's test (1994).

    A number's product with the inverse of the divisor's odd part, modulo 2**32, turned right by the divisor's zeros, is
    below a limit where the divisor divides it.
    """
    divisors = _places(n, count)[1]
    zeros = np.bitwise_count((divisors & -divisors) - np.uint32(1)).astype(np.uint32)
    odd = divisors >> zeros
    inverse = odd.copy()
    for _ in range(5):
        inverse *= np.uint32(2) - odd * inverse
    return inverse, zeros, np.uint32(32) - zeros, np.uint32(2**32 - 1) // divisors


def are_among_first(draws: Targets, n: int, candidates: Sequence[int]) -> list[bool]:
    """Whether each of `candidates` is among the first ids of the permutation of `n`, one a draw, that the draws make.

    Each id is followed through the swaps.
    """
    places, left = _places(n, len(draws))
    inverse, zeros, other_zeros, limit = _divisors(n, len(draws))
    sums = draws + places

    def is_reached(place: int, start: int) -> bool:
        part = slice(start, place + 1)
        product = (sums[part] - np.uint32(place)) * inverse[part]
        multiple = product >> zeros[part] | product << other_zeros[part]
        # Below zero the numbers wrap around, so that the few that are found are divided after all.
        return any(
            int(draws[swap]) % int(left[swap]) + swap == place
            for swap in (np.flatnonzero(multiple <= limit[part]) + start).tolist()
        )

    def is_first(place: int) -> bool:
        start = 0
        while place < n:
            if is_reached(place, start):
                return True
            if place >= len(draws):
                return False
            # The id's own turn: it is swapped away to a later place.
            start, place = place + 1, int(draws[place]) % int(left[place]) + place
        return False

    return [is_first(candidate) for candidate in candidates]
