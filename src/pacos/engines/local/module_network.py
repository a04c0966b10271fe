"""The model library's own module in the decoding loop, for architectures that have no network of ours."""

from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor
from transformers import Cache, PreTrainedModel

from pacos.engines.local.cache import KVCache
from pacos.engines.local.network import Chunk, row_mask


class ModuleNetwork:
    """The library's own module, one call for the written rows and one for each chunk of a prompt."""

    def __init__(self, model: PreTrainedModel) -> None:
        self.model = model
        self.device, self.dtype = model.device, model.dtype
        # One token read tells which shapes its layers keep; an architecture without keys and values says so here.
        read = model(input_ids=torch.zeros(1, 1, dtype=torch.long, device=self.device), use_cache=True)
        layers = getattr(getattr(read, "past_key_values", None), "layers", None) or []
        kept = [(layer.keys, layer.values) for layer in layers if getattr(layer, "keys", None) is not None]
        if len(kept) != model.config.get_text_config().num_hidden_layers:
            raise ValueError(f"architecture {model.config.model_type} keeps no keys and values that can be shared")
        self.shapes = [(t.shape[1], t.shape[3]) for pair in kept for t in pair]

    def logits(
        self,
        cache: KVCache,
        last_ids: Sequence[int],
        positions: Sequence[int],
        chunks: Sequence[Chunk],
        wanted: Sequence[int],
    ) -> Tensor:
        """See Network."""
        read = []
        if last_ids:
            span = max(positions) + 1
            positions_B = torch.tensor(positions, device=self.device)
            mask = row_mask(positions_B, span, 0, self.dtype)
            rows = slice(0, len(last_ids))
            read.append(self._read(cache, torch.tensor(last_ids)[:, None], positions_B[:, None], mask, rows)[:, 0])
        for chunk in chunks:
            positions_T = torch.arange(chunk.start, chunk.start + len(chunk.ids), device=self.device)
            mask = row_mask(positions_T, chunk.start + len(chunk.ids), 0, self.dtype)[:, 0, 0][None, None]
            rows = slice(chunk.row, chunk.row + 1)
            read.append(self._read(cache, torch.tensor(chunk.ids)[None], positions_T[None], mask, rows)[0])
        logits_NV = torch.cat(read)
        return logits_NV[torch.tensor(wanted, device=self.device, dtype=torch.long)]

    def _read(self, cache: KVCache, ids_BT: Tensor, positions_BT: Tensor, mask: Tensor, rows: slice) -> Tensor:
        shared = SharedCache(cache, rows, positions_BT, mask.shape[-1])
        output = self.model(
            input_ids=ids_BT.to(self.device),
            position_ids=positions_BT,
            attention_mask=mask,
            past_key_values=shared,
            use_cache=True,
        )
        return cast(Tensor, output.logits)


class SharedCache(Cache):
    """The rows of a KVCache that one call reads and writes, as the model library asks for a cache."""

    def __init__(self, cache: KVCache, rows: slice, positions_BT: Tensor, span: int) -> None:
        super().__init__(layers=[])
        self._cache, self._rows, self._positions_BT, self._span = cache, rows, positions_BT, span

    def update(self, key_states: Tensor, value_states: Tensor, layer_idx: int, *_: Any, **__: Any) -> Any:
        """Writes [B, H, T, D] at the rows' positions; returns all keys and values up to the span."""
        row_B1 = torch.arange(self._rows.start, self._rows.stop, device=self._positions_BT.device)[:, None]
        seen = []
        for plane, new in zip(
            self._cache.planes[2 * layer_idx : 2 * layer_idx + 2], (key_states, value_states), strict=True
        ):
            plane[row_B1, :, self._positions_BT] = new.transpose(1, 2).to(plane.dtype)
            seen.append(plane[self._rows, :, : self._span])
        return seen[0], seen[1]

    def get_seq_length(self, layer_idx: int = 0) -> int:
        """Tokens held before this call's; positions are given, so nothing but a mask asks."""
        return self._span - self._positions_BT.shape[1]

    def get_mask_sizes(self, query_length: int, layer_idx: int) -> tuple[int, int]:
        """(keys that a query of that length will see, their offset)."""
        return self._span, 0

    def get_max_cache_shape(self, layer_idx: int = 0) -> int:
        """It has no limit of its own."""
        return -1
