"""The prefix cache: keys and values of what prompts begin with, so that nothing is read twice."""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from pacos.engines.local.cache import KVCache

TILE = 32
"""Tokens of a prompt that are attended, kept and found together; a prompt's tiles begin at multiples of it."""


@dataclass(frozen=True, eq=False, slots=True)
class Tile:
    """TILE tokens of a prompt after those of `parent`; their keys and values lie at `slot` of the pools."""

    parent: "Tile | None"
    ids: tuple[int, ...]
    slot: int


class PrefixCache:
    """Tiles of read prompts, each found by its tokens and all before them; the longest unused give way to new ones.

    Keys and values depend on the tokens before alone, so a tile that is found is what reading it again would give.
    """

    def __init__(self, cache: KVCache, max_bytes: int) -> None:
        self._cache = cache
        self.capacity = max_bytes // (TILE * cache.bytes_per_token)
        self._pools: list[torch.Tensor] = []
        # From the longest unused on. A parent is used whenever its child is, and counted as the later of the two, so
        # the first here never has a child.
        self._tiles: OrderedDict[tuple[Tile | None, tuple[int, ...]], Tile] = OrderedDict()

    def find(self, ids: Sequence[int]) -> list[Tile]:
        """The tiles kept of these ids, from the first on; never all of the ids, as the last one's logits are wanted."""
        found: list[Tile] = []
        for start in range(0, len(ids) - TILE, TILE):
            tile = self._tiles.get((found[-1] if found else None, tuple(ids[start : start + TILE])))
            if tile is None:
                break
            found.append(tile)
        self._use(found)
        return found

    def load(self, found: Sequence[Tile], row: int) -> None:
        """Puts found tiles at the beginning of a row of the cache."""
        for number, tile in enumerate(found):
            for group, pool in zip(self._cache.groups, self._pools, strict=True):
                group[:, row, :, number * TILE : (number + 1) * TILE] = pool[tile.slot]

    def keep(self, ids: Sequence[int], row: int) -> None:
        """Keeps all whole tiles of these ids, which a row of the cache holds."""
        chain: list[Tile] = []
        for start in range(0, len(ids) - TILE + 1, TILE):
            key = (chain[-1] if chain else None, tuple(ids[start : start + TILE]))
            tile = self._tiles.get(key)
            if tile is None:
                # A chain longer than the cache would push out its own beginning.
                if len(chain) >= self.capacity:
                    break
                self._use(chain)
                tile = Tile(*key, self._free_slot())
                self._tiles[key] = tile
                for group, pool in zip(self._cache.groups, self._pools, strict=True):
                    pool[tile.slot] = group[:, row, :, start : start + TILE]
            chain.append(tile)
        self._use(chain)

    def _use(self, chain: Sequence[Tile]) -> None:
        for tile in reversed(chain):
            self._tiles.move_to_end((tile.parent, tile.ids))

    def _free_slot(self) -> int:
        if not self._pools:
            # The whole at once, and unwritten: untouched memory costs nothing on a CPU, and a tile is written before it
            # is found.
            self._pools = [
                group.new_empty(self.capacity, len(group), group.shape[2], TILE, group.shape[4])
                for group in self._cache.groups
            ]
        if len(self._tiles) < self.capacity:
            return len(self._tiles)
        return self._tiles.popitem(last=False)[1].slot
