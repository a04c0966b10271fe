"""Attention within each packed document and nowhere else, registered with transformers under one name.

transformers would build a dense T x T mask from position ids, which is quadratic in the row; and it silently builds
none where it is given a cache or an all-ones mask. Here the documents' lengths are passed down with every call, and
a model that does not hand them on fails at the first step instead of leaking.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import torch
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface

from pacos.core.errors import PacosError

NAME = "pacos_documents"


def document_attention(
    module: torch.nn.Module,
    query_1HTD: torch.Tensor,
    key_1HTD: torch.Tensor,
    value_1HTD: torch.Tensor,
    attention_mask: torch.Tensor | None = None,
    scaling: float | None = None,
    dropout: float = 0.0,
    document_lengths: Sequence[int] | None = None,
    sliding_window: int | None = None,
    softcap: float | None = None,
    **_: Any,
) -> tuple[torch.Tensor, None]:
    """Causal attention of each document to itself; returns ([1, T, H, D], None).

    Keys and values may have fewer heads than queries. Raises PacosError for attention it cannot do exactly.
    """
    _refuse_inexact(module, attention_mask, document_lengths, sliding_window, softcap)
    assert document_lengths is not None
    attend = _attend_one_by_one if query_1HTD.device.type == "cpu" else _attend_padded
    options = {"scale": scaling, "dropout_p": dropout, "enable_gqa": query_1HTD.shape[1] != key_1HTD.shape[1]}
    return attend(query_1HTD, key_1HTD, value_1HTD, tuple(document_lengths), options), None


AttentionInterface.register(NAME, document_attention)


def _refuse_inexact(
    module: torch.nn.Module,
    attention_mask: torch.Tensor | None,
    document_lengths: Sequence[int] | None,
    sliding_window: int | None,
    softcap: float | None,
) -> None:
    kind = type(module).__name__
    if document_lengths is None or attention_mask is not None or softcap is not None:
        raise PacosError(
            f"train.base: {kind} does not take packed documents, so examples could see each other; "
            "expected a causal LM of LLaMA's kind (LLaMA, Mistral, Qwen, SmolLM). Choose another base."
        )
    if sliding_window is not None and max(document_lengths) > sliding_window:
        raise PacosError(
            f"train.base: {kind} looks back {sliding_window} tokens and an example has {max(document_lengths)}; "
            f"lower train.max_length to {sliding_window}."
        )


def _attend_one_by_one(
    query_1HTD: torch.Tensor, key_1HTD: torch.Tensor, value_1HTD: torch.Tensor, lengths: tuple[int, ...], options: Any
) -> torch.Tensor:
    # On a CPU a call is cheap and padding is not; and its attention kernel is twice as fast in fp32 as in bf16,
    # to which autocast would take it.
    with torch.autocast("cpu", enabled=False):
        parts = [torch.split(tensor.float(), list(lengths), dim=2) for tensor in (query_1HTD, key_1HTD, value_1HTD)]
        pieces = zip(*parts, strict=True)
        attended = [scaled_dot_product_attention(q, k, v, is_causal=True, **options) for q, k, v in pieces]
        return torch.cat(attended, dim=2).transpose(1, 2).to(value_1HTD.dtype)


def _attend_padded(
    query_1HTD: torch.Tensor, key_1HTD: torch.Tensor, value_1HTD: torch.Tensor, lengths: tuple[int, ...], options: Any
) -> torch.Tensor:
    # On an accelerator one call for all documents; right padding lies in every real token's future, so the causal
    # kernel needs no mask.
    gather_NL, scatter_T = _padding_plan(lengths, query_1HTD.device)

    def padded(tensor_1HTD: torch.Tensor) -> torch.Tensor:
        return tensor_1HTD[0].transpose(0, 1)[gather_NL].transpose(1, 2)

    query_NHLD, key_NHLD, value_NHLD = padded(query_1HTD), padded(key_1HTD), padded(value_1HTD)
    attended_NHLD = scaled_dot_product_attention(query_NHLD, key_NHLD, value_NHLD, is_causal=True, **options)
    return attended_NHLD.transpose(1, 2).flatten(0, 1)[scatter_T][None]


@lru_cache(maxsize=2)
def _padding_plan(lengths: tuple[int, ...], device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """Where each padded place comes from in the row [N, L], and where each row token stands in it [T]."""
    lengths_N = torch.tensor(lengths)
    starts_N = lengths_N.cumsum(0) - lengths_N
    places_L = torch.arange(int(lengths_N.max()))
    gather_NL = starts_N[:, None] + torch.minimum(places_L[None], lengths_N[:, None] - 1)
    scatter_T = (places_L[None] < lengths_N[:, None]).flatten().nonzero()[:, 0]
    return gather_NL.to(device), scatter_T.to(device)
