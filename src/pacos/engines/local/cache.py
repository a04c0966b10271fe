"""Keys and values of every row that is being read or written, and room for more as rows come and grow."""

from collections.abc import Sequence
from itertools import groupby

import torch

ROWS_STEP, TOKENS_STEP = 4, 256
# Kept over an idle time; more is given back to the system.
IDLE_BYTES = 64 * 2**20


class KVCache:
    """Planes [rows, heads, tokens, D]: one a layer with keys and values side by side, or one for each of the two.

    `shapes` are (heads, D) of the planes in order. Rows are the caller's to number; a row's tokens stand from 0 on.
    What a row does not use yet may hold what others left there, finite numbers always: attention hides it, and a
    hidden NaN would not stay hidden.
    """

    def __init__(self, shapes: Sequence[tuple[int, int]], dtype: torch.dtype, device: torch.device) -> None:
        # Planes of one shape lie in one tensor, so that moving a row is one copy and not one a layer.
        self._shapes = [(shape, len(list(same))) for shape, same in groupby(shapes)]
        self.dtype, self.device = dtype, device
        self.bytes_per_token = sum(heads * dim for heads, dim in shapes) * dtype.itemsize
        self.rows = self.tokens = 0
        self.groups: list[torch.Tensor] = []
        self.planes: list[torch.Tensor] = []

    def reserve(self, rows: int, tokens: int) -> None:
        """Makes room for so many rows of so many tokens; what is there stays."""
        if rows <= self.rows and tokens <= self.tokens:
            return
        old, old_rows, old_tokens = self.groups, self.rows, self.tokens
        self.rows = max(old_rows, -(-rows // ROWS_STEP) * ROWS_STEP) if rows > 1 else max(old_rows, 1)
        # An eighth more than asked for: a row that grows token by token is not copied at every step.
        self.tokens = max(old_tokens, -(-(tokens + tokens // 8) // TOKENS_STEP) * TOKENS_STEP)
        self.groups = [
            torch.zeros(planes, self.rows, heads, self.tokens, dim, dtype=self.dtype, device=self.device)
            for (heads, dim), planes in self._shapes
        ]
        for new, kept in zip(self.groups, old, strict=False):
            new[:, :old_rows, :, :old_tokens] = kept
        self.planes = [plane for group in self.groups for plane in group]

    def copy_row(self, source: int, target: int, tokens: int) -> None:
        """Row `target` becomes the first `tokens` of row `source`."""
        for group in self.groups:
            group[:, target, :, :tokens] = group[:, source, :, :tokens]

    def swap_rows(self, one: int, other: int, tokens: int) -> None:
        """Exchanges the first `tokens` of two rows."""
        for group in self.groups:
            kept = group[:, one, :, :tokens].clone()
            group[:, one, :, :tokens] = group[:, other, :, :tokens]
            group[:, other, :, :tokens] = kept

    def end_use(self) -> None:
        """No row is in use: a large cache is given back."""
        if self.rows * self.tokens * self.bytes_per_token > IDLE_BYTES:
            self.rows = self.tokens = 0
            self.groups, self.planes = [], []
