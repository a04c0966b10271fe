"""Attention within each packed document and nowhere else, registered with transformers under one name.

transformers would build a dense T x T mask from position ids, which is quadratic in the row; and it silently builds
none where it is given a cache or an all-ones mask. Here the documents' places are passed down with every call, and
a model that does not hand them on fails at the first step instead of leaking.
"""

from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import accumulate
from typing import Any

import torch
from torch.nn.attention.varlen import varlen_attn
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface

from pacos.core.errors import PacosError

NAME = "pacos_documents"


@dataclass(frozen=True, eq=False)
class Documents:
    """Where the segments of a row lie, end to end: each sees itself causally and, before it, the whole of another."""

    lengths: tuple[int, ...]
    prefixes: tuple[int | None, ...]
    """For each segment the number of the segment that it continues, if any."""

    @cached_property
    def varlen_plan(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, int, int]:
        """Places of all keys in the row [K], bounds of each segment's queries and keys [N + 1], longest of both."""
        starts = [0, *accumulate(self.lengths)]
        spans = [torch.arange(start, start + length) for start, length in zip(starts, self.lengths, strict=False)]
        pairs = zip(spans, self.prefixes, strict=True)
        keys = [own if prefix is None else torch.cat([spans[prefix], own]) for own, prefix in pairs]
        bounds = torch.tensor([0, *accumulate(map(len, keys))], dtype=torch.int32)
        return torch.cat(keys), torch.tensor(starts, dtype=torch.int32), bounds, max(self.lengths), max(map(len, keys))


@torch.compiler.disable  # type: ignore[untyped-decorator]
def document_attention(
    module: torch.nn.Module,
    query_1HTD: torch.Tensor,
    key_1HTD: torch.Tensor,
    value_1HTD: torch.Tensor,
    attention_mask: torch.Tensor | None = None,
    scaling: float | None = None,
    dropout: float = 0.0,
    documents: Documents | None = None,
    sliding_window: int | None = None,
    softcap: float | None = None,
    **_: Any,
) -> tuple[torch.Tensor, None]:
    """Causal attention of each document to its prefix and itself; returns ([1, T, H, D], None).

    Keys and values may have fewer heads than queries. Raises PacosError for attention it cannot do exactly.
    """
    kind = type(module).__name__
    if documents is None or attention_mask is not None or softcap is not None:
        raise PacosError(
            f"train.base: {kind} does not take packed documents, so examples could see each other; "
            "expected a causal LM of LLaMA's kind (LLaMA, Mistral, Qwen, SmolLM). Choose another base."
        )
    if sliding_window is not None and max(documents.lengths) > sliding_window:
        raise PacosError(f"train.base: {kind} looks back {sliding_window} tokens; lower train.max_length to that.")
    half = value_1HTD.dtype in (torch.bfloat16, torch.float16)
    attend = _attend_at_once if value_1HTD.is_cuda and half else _attend_one_by_one
    return attend(query_1HTD, key_1HTD, value_1HTD, documents, scaling, dropout), None


AttentionInterface.register(NAME, document_attention)


def _attend_at_once(
    query_1HTD: torch.Tensor,
    key_1HTD: torch.Tensor,
    value_1HTD: torch.Tensor,
    documents: Documents,
    scaling: float | None,
    dropout: float,
) -> torch.Tensor:
    """The fused kernel of variable lengths; of unequal ones it lines up the ends, which is what a prefix needs."""
    places, *bounds, longest_query, longest_key = documents.varlen_plan
    query_THD, key_THD, value_THD = (
        t[0].transpose(0, 1).to(value_1HTD.dtype) for t in (query_1HTD, key_1HTD, value_1HTD)
    )
    if any(prefix is not None for prefix in documents.prefixes):
        places = places.to(query_THD.device, non_blocking=True)
        key_THD, value_THD = key_THD.index_select(0, places), value_THD.index_select(0, places)
    query_bounds, key_bounds = (bound.to(query_THD.device, non_blocking=True) for bound in bounds)
    shared_heads = query_THD.shape[1] != key_THD.shape[1]
    attended_THD = varlen_attn(
        query_THD.contiguous(), key_THD.contiguous(), value_THD.contiguous(), query_bounds, key_bounds,
        longest_query, longest_key, scale=scaling, window_size=(-1, 0), enable_gqa=shared_heads,
    )  # fmt: skip
    assert isinstance(attended_THD, torch.Tensor)
    return attended_THD[None]


def _attend_one_by_one(
    query_1HTD: torch.Tensor,
    key_1HTD: torch.Tensor,
    value_1HTD: torch.Tensor,
    documents: Documents,
    scaling: float | None,
    dropout: float,
) -> torch.Tensor:
    # On a CPU a call is cheap and padding is not; and its attention kernel is twice as fast in fp32 as in bf16,
    # to which autocast would take it.
    options: dict[str, Any] = {"scale": scaling, "dropout_p": dropout}
    options["enable_gqa"] = query_1HTD.shape[1] != key_1HTD.shape[1]
    with torch.autocast(query_1HTD.device.type, enabled=False):
        lengths = list(documents.lengths)
        parts = (t.float().split(lengths, dim=2) for t in (query_1HTD, key_1HTD, value_1HTD))  # type: ignore[no-untyped-call]
        queries, keys, values = parts
        attended = []
        for number, prefix in enumerate(documents.prefixes):
            query, key, value, mask = queries[number], keys[number], values[number], None
            if prefix is not None:
                mask = _causal_after(key.shape[2], keys[prefix].shape[2], query.device)
                key, value = torch.cat([keys[prefix], key], 2), torch.cat([values[prefix], value], 2)
            attended.append(scaled_dot_product_attention(query, key, value, mask, is_causal=mask is None, **options))
        return torch.cat(attended, dim=2).transpose(1, 2).to(value_1HTD.dtype)


@lru_cache(maxsize=1024)
def _causal_after(length: int, prefix: int, device: torch.device) -> torch.Tensor:
    return torch.ones(length, prefix + length, dtype=torch.bool, device=device).tril(prefix)
