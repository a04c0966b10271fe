"""A key-value cache that grows in place and gives up a finished row at the price of copying one."""

from typing import Any, cast

import torch
from transformers import Cache
from transformers.cache_utils import CacheLayerMixin

GROWTH_TOKENS = 128


class RowLayer(CacheLayerMixin):  # type: ignore[no-untyped-call]
    """One layer's keys and values, [B, H, capacity, D] of which `filled` tokens and the caller's rows are in use."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.filled = 0

    def lazy_initialization(self, key_states: torch.Tensor, value_states: torch.Tensor) -> None:
        """Allocates for the rows that the prompt has."""
        self.keys = self._grown(None, key_states)
        self.values = self._grown(None, value_states)
        self.is_initialized = True

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *_: Any, **__: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Appends [B, H, T, D]; returns views of all keys and values so far. B may be fewer rows than before."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        keys, values = cast(torch.Tensor, self.keys), cast(torch.Tensor, self.values)
        num_rows, _heads, num_new, _dim = key_states.shape
        end = self.filled + num_new
        if end > keys.shape[2]:
            self.keys = keys = self._grown(keys, key_states)
            self.values = values = self._grown(values, value_states)
        keys[:num_rows, :, self.filled : end] = key_states
        values[:num_rows, :, self.filled : end] = value_states
        self.filled = end
        return keys[:num_rows, :, :end], values[:num_rows, :, :end]

    def _grown(self, old: torch.Tensor | None, new: torch.Tensor) -> torch.Tensor:
        rows, heads, num_new, dim = new.shape
        capacity = self.filled + num_new + max(GROWTH_TOKENS, self.filled // 2)
        # On a CPU attention is computed in fp32; converted once here, not at every step.
        dtype = torch.float32 if new.device.type == "cpu" else new.dtype
        grown = new.new_empty(rows, heads, capacity, dim, dtype=dtype)
        if old is not None:
            grown[:, :, : self.filled] = old[:rows, :, : self.filled]
        return grown

    def move_row(self, source: int, target: int) -> None:
        """Row `source` takes the place of row `target`."""
        for tensor in (cast(torch.Tensor, self.keys), cast(torch.Tensor, self.values)):
            tensor[target, :, : self.filled] = tensor[source, :, : self.filled]

    def get_seq_length(self) -> int:
        """Tokens held."""
        return self.filled

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        """(keys that a query of that length will see, their offset)."""
        return self.filled + query_length, 0

    def get_max_length(self) -> int:
        """It grows without a limit of its own."""
        return -1


class RowCache(Cache):
    """The cache of a whole model."""

    def __init__(self) -> None:
        super().__init__(layer_class_to_replicate=RowLayer)

    def move_row(self, source: int, target: int) -> None:
        """Row `source` takes the place of row `target` in every layer."""
        for layer in self.layers:
            cast(RowLayer, layer).move_row(source, target)
