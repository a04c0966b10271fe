"""What the decoding loop asks of a model: a forward pass over rows at different places, and pieces of prompts beside
them. Two kinds answer it, with one call.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from pacos.engines.local.cache import KeyValues


@dataclass(frozen=True, slots=True)
class Piece:
    """Tokens of a prompt, from place `start` on, for one row; `start` is a multiple of TILE."""

    row: int
    start: int
    ids: Sequence[int]


class Network(Protocol):
    """What the decoding loop asks of a model."""

    shapes: list[tuple[int, int]]
    """(heads, D) of the planes it wants in its cache."""
    device: torch.device
    dtype: torch.dtype

    def logits(
        self,
        cache: KeyValues,
        last_ids: Sequence[int],
        positions: Sequence[int],
        pieces: Sequence[Piece],
        wanted: Sequence[int],
    ) -> Tensor:
        """Reads `last_ids[i]` into row i at `positions[i]`, and the pieces into theirs; returns logits [W, V].

        `wanted` are places among all tokens read, in the order given: the rows' first, then the pieces'.
        """
        ...


def row_mask(places_B: Tensor, span: int, window: int, dtype: torch.dtype) -> Tensor:
    """[B, 1, 1, span], to be added to scores: what a row's new token may not see is -inf."""
    held_T = torch.arange(span, device=places_B.device)
    hidden = held_T > places_B[:, None]
    if window:
        hidden |= held_T <= places_B[:, None] - window
    return torch.zeros(hidden.shape, dtype=dtype, device=hidden.device).masked_fill_(hidden, -torch.inf)[:, None, None]
