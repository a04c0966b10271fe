"""Attention for decoding on a CPU, where torch's own kernel is built for long queries and a decoded row has one."""

from typing import Any

import torch
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

NAME = "pacos_decode"


def decode_attention(
    module: torch.nn.Module,
    query_BHQD: torch.Tensor,
    key_BKTD: torch.Tensor,
    value_BKTD: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float | None = None,
    **options: Any,
) -> tuple[torch.Tensor, None]:
    """Scaled dot-product attention in fp32, H query heads over K key heads; returns ([B, Q, H, D], None).

    `attention_mask` is boolean or added to the scores. In fp32 because the CPU's bf16 kernel is slower than that.
    """
    if options.get("softcap") is not None or options.get("s_aux") is not None:
        return sdpa_attention_forward(
            module, query_BHQD, key_BKTD, value_BKTD, attention_mask, scaling=scaling, **options
        )
    query, key, value = query_BHQD.float(), key_BKTD.float(), value_BKTD.float()
    if attention_mask is not None and attention_mask.dtype != torch.bool:
        attention_mask = attention_mask.float()
    if query.shape[2] == 1:
        attended = _attend_one_token(query, key, value, attention_mask, scaling or query.shape[-1] ** -0.5)
    else:
        attended = scaled_dot_product_attention(
            query,
            key,
            value,
            attn_mask=attention_mask,
            is_causal=attention_mask is None,
            scale=scaling,
            enable_gqa=query.shape[1] != key.shape[1],
        )
    return attended.transpose(1, 2).to(query_BHQD.dtype), None


AttentionInterface.register(NAME, decode_attention)
AttentionMaskInterface.register(NAME, sdpa_mask)


def _attend_one_token(
    query_BH1D: torch.Tensor,
    key_BKTD: torch.Tensor,
    value_BKTD: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float,
) -> torch.Tensor:
    # The query heads that share a key head stand side by side, so that keys and values are never repeated.
    query_BKGD = (query_BH1D * scaling).view(len(query_BH1D), key_BKTD.shape[1], -1, query_BH1D.shape[-1])
    scores_BKGT = (key_BKTD @ query_BKGD.transpose(2, 3)).transpose(2, 3)
    if attention_mask is not None:
        hidden = ~attention_mask if attention_mask.dtype == torch.bool else None
        lowest = torch.finfo(scores_BKGT.dtype).min
        scores_BKGT = scores_BKGT + attention_mask if hidden is None else scores_BKGT.masked_fill(hidden, lowest)
    return (torch.softmax(scores_BKGT, dim=-1) @ value_BKTD).flatten(1, 2)[:, :, None]
