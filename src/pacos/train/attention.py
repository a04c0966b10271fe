"""Attention within each packed document and nowhere else, registered with transformers under one name.

transformers would build a dense T x T mask from position ids, which is quadratic in the row; and it silently builds
none where it is given a cache or an all-ones mask. Here the documents' places are passed down with every call, and
a model that does not hand them on fails at the first step instead of leaking.
"""

from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate
from typing import Any

import torch
from torch.nn.attention.varlen import varlen_attn
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface

from pacos.core.errors import PacosError

NAME = "pacos_documents"
# Models whose layers hand the documents' places on to attention and know positions from ids alone.
PACKABLE = {"llama", "mistral", "qwen2", "qwen3", "smollm3", "gpt2", "gemma", "gemma2", "gemma3_text"}


@dataclass(frozen=True, eq=False)
class Documents:
    """Where the segments of a row lie, end to end: each sees itself causally and, before it, the whole of another."""

    lengths: tuple[int, ...]
    prefixes: tuple[int | None, ...]
    """For each segment the number of the segment that it continues, if any."""


@dataclass(frozen=True)
class Options:
    """What a layer's attention does beside looking back as far as its document goes."""

    scaling: float | None = None
    """None is 1 / sqrt(head's width)."""
    dropout: float = 0.0
    window: int | None = None
    """The most positions that a query sees, its own among them."""
    softcap: float | None = None
    """Scores are bent by tanh to lie within plus and minus this."""


# A graph that torch.compile makes of a layer ends here: where the documents lie differs from row to row.
@torch.compiler.disable  # type: ignore[untyped-decorator]
def document_attention(
    module: torch.nn.Module, query_1HTD: torch.Tensor, key_1HTD: torch.Tensor, value_1HTD: torch.Tensor,
    attention_mask: torch.Tensor | None = None, scaling: float | None = None, dropout: float = 0.0,
    documents: Documents | None = None, sliding_window: int | None = None, softcap: float | None = None, **_: Any,
) -> tuple[torch.Tensor, None]:  # fmt: skip
    """Causal attention of each document to its prefix and itself; returns ([1, T, H, D], None). Keys and values may
    have fewer heads than queries. Raises PacosError for attention it cannot do exactly."""
    if documents is None or attention_mask is not None or not getattr(module, "is_causal", True):
        raise PacosError(
            f"train.base: {type(module).__name__} does not take packed documents, so examples could see each other; "
            "expected a causal LM of LLaMA's kind (LLaMA, Mistral, Qwen, SmolLM, Gemma). Choose another base."
        )
    options = Options(scaling, dropout, sliding_window, softcap)
    # The fused kernel knows no dropout, no bent scores, and nothing wider than 16 bits.
    fused = value_1HTD.is_cuda and value_1HTD.dtype in (torch.bfloat16, torch.float16) and not (dropout or softcap)
    attend = _attend_at_once if fused else _attend_one_by_one
    return attend(query_1HTD, key_1HTD, value_1HTD, documents, options), None


AttentionInterface.register(NAME, document_attention)


@lru_cache(maxsize=2)
def _varlen_plan(documents: Documents, device: torch.device) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, int]:
    """Places of all keys in the row [K], bounds of each segment's queries and keys [N + 1], the most keys of one. All
    layers of a row ask for the same plan, which so goes to the device once."""
    starts = [0, *accumulate(documents.lengths)]
    spans = [torch.arange(start, start + length) for start, length in zip(starts, documents.lengths, strict=False)]
    pairs = zip(spans, documents.prefixes, strict=True)
    keys = [own if prefix is None else torch.cat([spans[prefix], own]) for own, prefix in pairs]
    bounds = [torch.tensor(each, dtype=torch.int32) for each in (starts, [0, *accumulate(map(len, keys))])]
    return torch.cat(keys).to(device), bounds[0].to(device), bounds[1].to(device), max(map(len, keys))


def _attend_at_once(
    query_1HTD: torch.Tensor, key_1HTD: torch.Tensor, value_1HTD: torch.Tensor, documents: Documents, options: Options
) -> torch.Tensor:  # fmt: skip
    """The fused kernel of variable lengths; of unequal ones it lines up the ends, which is what a prefix needs."""
    key_places, query_bounds, key_bounds, longest = _varlen_plan(documents, query_1HTD.device)
    query_THD, key_THD, value_THD = (
        t.squeeze(0).transpose(0, 1).to(value_1HTD.dtype).contiguous() for t in (query_1HTD, key_1HTD, value_1HTD)
    )
    if any(prefix is not None for prefix in documents.prefixes):
        # In fp32, so that the gradients of a prefix are summed over its documents without rounding each time.
        taken = (t.float().index_select(0, key_places).to(t.dtype) for t in (key_THD, value_THD))
        key_THD, value_THD = taken
    attended_THD = varlen_attn(
        query_THD, key_THD, value_THD, query_bounds, key_bounds, max(documents.lengths), longest,
        scale=options.scaling, window_size=((options.window or 0) - 1, 0),
        enable_gqa=query_THD.shape[1] != key_THD.shape[1],
    )  # fmt: skip
    assert isinstance(attended_THD, torch.Tensor)
    return attended_THD[None]


def _attend_one_by_one(
    query_1HTD: torch.Tensor, key_1HTD: torch.Tensor, value_1HTD: torch.Tensor, documents: Documents, options: Options
) -> torch.Tensor:  # fmt: skip
    # On a CPU a call is cheap and padding is not; and its attention kernel is twice as fast in fp32 as in bf16,
    # to which autocast would take it.
    gqa, attended = query_1HTD.shape[1] != key_1HTD.shape[1], []
    with torch.autocast(query_1HTD.device.type, enabled=False):
        split = (t.float().split(list(documents.lengths), dim=2) for t in (query_1HTD, key_1HTD, value_1HTD))  # type: ignore[no-untyped-call]
        queries, keys, values = split
        for query, key, value, prefix in zip(queries, keys, values, documents.prefixes, strict=True):
            if prefix is not None:
                key, value = torch.cat([keys[prefix], key], 2), torch.cat([values[prefix], value], 2)
            # A key's place among these is its position, for a prefix begins at 0 and is followed without a gap.
            own, total = query.shape[2], key.shape[2]
            windowed = options.window is not None and total > options.window
            mask = None
            if prefix is not None or windowed or options.softcap:
                seen = _seen(1 << total.bit_length(), options.window if windowed else None, query.device)
                mask = seen[total - own : total, :total]
            if options.softcap and mask is not None:
                attended.append(_attend_softcapped(query, key, value, mask, options))
                continue
            attended.append(
                scaled_dot_product_attention(
                    query, key, value, mask, options.dropout, mask is None, scale=options.scaling, enable_gqa=gqa
                )
            )
        return torch.cat(attended, dim=2).transpose(1, 2).to(value_1HTD.dtype)


def _attend_softcapped(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, mask: torch.Tensor, options: Options
) -> torch.Tensor:
    """In plain products: torch's kernels do not bend scores."""
    assert options.softcap
    key, value = (each.repeat_interleave(query.shape[1] // key.shape[1], 1) for each in (key, value))
    scores = query @ key.mT * (options.scaling or query.shape[3] ** -0.5)
    bent = torch.tanh(scores / options.softcap) * options.softcap
    return torch.dropout(bent.masked_fill(~mask, float("-inf")).softmax(-1), options.dropout, True) @ value


@lru_cache(maxsize=16)
def _seen(size: int, window: int | None, device: torch.device) -> torch.Tensor:
    """Which keys each query sees, [size, size]; any document's mask is a part of it."""
    causal = torch.ones(size, size, dtype=torch.bool, device=device).tril()
    return causal if window is None else causal.triu(1 - window)
