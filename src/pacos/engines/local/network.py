"""What the scheduler asks of a model: one forward pass over rows that decode and chunks of prompts beside them.

LeanNetwork is our own, for the common architectures; ModuleNetwork calls the model library's module, for all others.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from pacos.engines.local.cache import KVCache


@dataclass(frozen=True, slots=True)
class Chunk:
    """Tokens of a prompt from position `start` on, a multiple of TILE, for one row of the cache."""

    row: int
    start: int
    ids: Sequence[int]


class Network(Protocol):
    """LeanNetwork or ModuleNetwork."""

    shapes: list[tuple[int, int]]
    """(heads, D) of the planes it wants in its cache."""
    device: torch.device
    dtype: torch.dtype

    def logits(
        self,
        cache: KVCache,
        last_ids: Sequence[int],
        positions: Sequence[int],
        chunks: Sequence[Chunk],
        wanted: Sequence[int],
    ) -> Tensor:
        """Reads `last_ids[i]` into row i at `positions[i]`, and the chunks into theirs; returns logits [W, V].

        `wanted` are places among all tokens read, in the order given: the rows' first, then the chunks'.
        """
        ...


def row_mask(positions_B: Tensor, span: int, window: int, dtype: torch.dtype) -> Tensor:
    """[B, 1, 1, span], to be added to scores: what a row's new token may not see is -inf."""
    held_T = torch.arange(span, device=positions_B.device)
    hidden = held_T > positions_B[:, None]
    if window:
        hidden |= held_T <= positions_B[:, None] - window
    return torch.zeros(hidden.shape, dtype=dtype, device=hidden.device).masked_fill_(hidden, -torch.inf)[:, None, None]
