"""LLaMA's arithmetic and its kin's (Mistral, Qwen, Gemma) in as few operations as it takes: a decoding step on a CPU is
a thousand small ones, and each costs microseconds before it begins.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, cast

import torch
from torch import Tensor
from torch.nn.functional import rms_norm, scaled_dot_product_attention
from transformers import PreTrainedModel

from pacos.engines.local.cache import KVCache
from pacos.engines.local.decode_kernels import DecodeKernels
from pacos.engines.local.linear import Linear, make_linear
from pacos.engines.local.network import Chunk, row_mask
from pacos.engines.local.prefix import TILE
from pacos.engines.local.static_steps import StaticSteps, cuda_graph

# Attention sees a row's tokens up to a multiple of this, the rest hidden: sums are then cut at the same places whoever
# shares the batch.
SPAN = 64
# With chunks of prompts a step's tokens are filled up to a multiple of the first, without them to one of the second.
FILL, FEW = 32, 4
# Of these many tokens the logits are computed in fp32.
LIKELIEST = 8

Norm = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Layer:
    """One layer's weights; norms are functions of [N, D], `window` is how many tokens back it sees, 0 for all."""

    attention_norm: Norm
    qkv: Linear
    qk_norm: tuple[Tensor, float] | None
    out: Linear
    after_attention: Norm | None
    feed_norm: Norm
    gate_up: Linear
    down: Linear
    after_feed: Norm | None
    window: int
    rope: str


class LeanNetwork:
    """LLaMA's arithmetic, with what Mistral, Qwen and Gemma change of it."""

    def __init__(self, model: PreTrainedModel, in_int8: bool = False) -> None:
        base = cast(Any, model).model
        config = model.config
        attention = base.layers[0].self_attn
        self.head_dim = int(attention.head_dim)
        self.num_heads = int(config.num_attention_heads)
        self.kv_heads = int(config.num_key_value_heads)
        self.scaling = float(attention.scaling)
        self.softcap = getattr(attention, "attn_logit_softcapping", None)
        self.final_softcap = getattr(config, "final_logit_softcapping", None)
        self.embed, self.rotary = base.embed_tokens, base.rotary_emb
        self.activation = base.layers[0].mlp.act_fn
        self.device, self.dtype = model.device, model.dtype
        self.kernels = self._compiled(config) if self.device.type == "cpu" and self.softcap is None else None
        self.gate = self.kernels.gate if self.kernels else self._gate
        # Tied to the embedding as often as not, which is read by its rows.
        self.head = make_linear([cast(Any, model).lm_head], keep=True, in_int8=in_int8)
        self.head_weight: Tensor = cast(Any, model).lm_head.weight.detach()
        self.final_norm = self._norm(base.norm)
        self.layers = [self._layer(layer, config, number, in_int8) for number, layer in enumerate(base.layers)]
        self.kinds = sorted({layer.rope for layer in self.layers})
        self.windows = sorted({layer.window for layer in self.layers})
        self.shapes = [(2 * self.kv_heads, self.head_dim)] * len(self.layers)
        # A GPU waits for a step's thousand launches; a CPU has nothing to record.
        self.static_steps = StaticSteps(self.step, cuda_graph) if self.device.type == "cuda" else None

    def _compiled(self, config: Any) -> DecodeKernels | None:
        widths = int(config.hidden_size), int(config.intermediate_size)
        return DecodeKernels.compiled(self.num_heads, self.kv_heads, self.head_dim, widths, self.dtype, self.activation)

    def _norm(self, norm: Any) -> Norm:
        weight, eps = _norm_weight(norm), _eps(norm)
        if self.kernels:
            return self.kernels.norm(weight, eps)
        # Gemma's weight is fp32 and its product rounded once: so is the norm's own.
        if weight.dtype != norm.weight.dtype:
            return lambda x_ND: rms_norm(x_ND.float(), weight.shape, weight, eps).to(x_ND.dtype)
        return lambda x_ND: rms_norm(x_ND, weight.shape, weight, eps)

    def _gate(self, gate_up_NF: Tensor) -> Tensor:
        gate_NF, up_NF = gate_up_NF.chunk(2, dim=-1)
        return cast(Tensor, self.activation(gate_NF).mul_(up_NF))

    def _layer(self, layer: Any, config: Any, number: int, in_int8: bool) -> Layer:
        attention, feed = layer.self_attn, layer.mlp
        kinds = getattr(config, "layer_types", None)
        kind = kinds[number] if kinds else "full_attention"
        slides = not kinds or kind == "sliding_attention"
        window = getattr(config, "sliding_window", None) if slides else None
        # Gemma norms what a half adds as well as what it reads.
        is_sandwich = hasattr(layer, "pre_feedforward_layernorm")
        qk_norm = None
        if hasattr(attention, "q_norm"):
            weights = [_norm_weight(attention.q_norm)] * self.num_heads + [
                _norm_weight(attention.k_norm)
            ] * self.kv_heads
            qk_norm = torch.stack(weights).float(), _eps(attention.q_norm)
        ropes = getattr(config, "rope_parameters", None) or {}
        return Layer(
            attention_norm=self._norm(layer.input_layernorm),
            qkv=make_linear([attention.q_proj, attention.k_proj, attention.v_proj], in_int8=in_int8),
            qk_norm=qk_norm,
            out=make_linear([attention.o_proj], in_int8=in_int8),
            after_attention=self._norm(layer.post_attention_layernorm) if is_sandwich else None,
            feed_norm=self._norm(layer.pre_feedforward_layernorm if is_sandwich else layer.post_attention_layernorm),
            gate_up=make_linear([feed.gate_proj, feed.up_proj], in_int8=in_int8),
            down=make_linear([feed.down_proj], in_int8=in_int8),
            after_feed=self._norm(layer.post_feedforward_layernorm) if is_sandwich else None,
            window=window or 0,
            rope=kind if kind in ropes else "",
        )

    def logits(
        self,
        cache: KVCache,
        last_ids: Sequence[int],
        positions: Sequence[int],
        chunks: Sequence[Chunk],
        wanted: Sequence[int],
    ) -> Tensor:
        """See Network."""
        if self.static_steps and not chunks:
            return self.static_steps.logits(cache, last_ids, positions)
        ids = [*last_ids, *(i for chunk in chunks for i in chunk.ids)]
        all_positions = [*positions, *(p for chunk in chunks for p in range(chunk.start, chunk.start + len(chunk.ids)))]
        # A product of one row alone is summed in another order than the same row among others, and one of a new number
        # of rows is compiled anew and kept, 30 MB for all numbers up to 32: so rows are filled up to few numbers.
        several = FILL if chunks else FEW if len(ids) > 2 else 2
        filling = [0] * (-len(ids) % several)
        ids_N, positions_N = torch.tensor([[*ids, *filling], [*all_positions, *filling]], device=self.device)
        span = -(-(max(positions, default=0) + 1) // SPAN) * SPAN
        x_ND = self._read(cache, ids_N, positions_N, len(last_ids), span, chunks)
        # Twice where it is one, for the same reason as a single token.
        wanted_W = torch.tensor(
            [*wanted, *wanted] if len(wanted) == 1 else wanted, device=self.device, dtype=torch.long
        )
        return self._logits(x_ND[wanted_W])[: len(wanted)]

    def step(self, cache: KVCache, ids_B: Tensor, positions_B: Tensor, span: int) -> Tensor:
        """Logits [B, V] of one token a row, computed on the device alone, so that it can be recorded."""
        return self._logits(self._read(cache, ids_B, positions_B, len(ids_B), span, []))

    def _read(
        self, cache: KVCache, ids_N: Tensor, positions_N: Tensor, rows: int, span: int, chunks: Sequence[Chunk]
    ) -> Tensor:
        """The last layer's output [N, D]; tokens after the rows' and the chunks' are filling, and attend nothing."""
        compiled = rows if self.kernels else 0
        end = rows + sum(len(chunk.ids) for chunk in chunks)
        cos_sin = {kind: self._cos_sin(positions_N[compiled:end], kind) for kind in self.kinds if compiled < end}
        angles = {kind: self._angles(positions_N[:compiled], kind) for kind in self.kinds if compiled}
        masks: dict[int, Tensor] = {}
        slots = positions_N
        if rows and not compiled:
            masks = {window: row_mask(positions_N[:rows], span, window, self.dtype) for window in self.windows}
            # Where each head of each row's new token goes, with a plane seen as a list of D-vectors.
            heads = torch.arange(2 * self.kv_heads, device=self.device)
            first_B = torch.arange(rows, device=self.device) * (2 * self.kv_heads)
            slots = ((first_B[:, None] + heads) * cache.tokens + positions_N[:rows, None]).flatten()

        x_ND: Tensor = self.embed(ids_N)
        attended_ND = x_ND.new_zeros(len(ids_N), self.num_heads * self.head_dim)
        for layer, plane in zip(self.layers, cache.planes, strict=True):
            qkv_NHD = layer.qkv(layer.attention_norm(x_ND)).view(len(x_ND), -1, self.head_dim)
            if self.kernels and compiled:
                seen = angles[layer.rope], layer.qk_norm, layer.window, self.scaling
                self.kernels.attend(qkv_NHD[:rows], plane, positions_N, *seen, attended_ND)
            if compiled < end:
                qkv_NHD[compiled:end] = self._rotated(layer, qkv_NHD[compiled:end], cos_sin[layer.rope])
            if compiled < rows:
                attended_ND[:rows] = self._attend_rows(qkv_NHD[:rows], plane, slots, masks[layer.window])
            at = rows
            for chunk in chunks:
                part = slice(at, at + len(chunk.ids))
                attended_ND[part] = self._attend_chunk(layer, plane, chunk, qkv_NHD[part])
                at = part.stop
            x_ND = _added(x_ND, attended_ND, layer.out, layer.after_attention)
            x_ND = _added(x_ND, self.gate(layer.gate_up(layer.feed_norm(x_ND))), layer.down, layer.after_feed)
        return x_ND

    def _logits(self, x_ND: Tensor) -> Tensor:
        normed_ND = self.final_norm(x_ND)
        logits_NV = self.head(normed_ND).float()
        if self.dtype != torch.float32:
            # Half precision has 8 bits, so the two likeliest tokens often tie: what decides is computed anew.
            likely_NK = logits_NV.topk(LIKELIEST, dim=-1).indices
            exact_NK = (self.head_weight[likely_NK].float() * normed_ND.float()[:, None]).sum(-1)
            logits_NV.scatter_(1, likely_NK, exact_NK)
        if self.final_softcap:
            logits_NV = torch.tanh(logits_NV / self.final_softcap) * self.final_softcap
        return logits_NV

    def _angles(self, positions_N: Tensor, kind: str) -> tuple[Tensor, Tensor]:
        """Rotary cosines and sines [N, D], fp32 numbers rounded as the model has them."""
        like = torch.empty(0, dtype=self.dtype, device=self.device)
        named = {"layer_type": kind} if kind else {}
        cos_1ND, sin_1ND = self.rotary(like, positions_N[None], **named)
        return cos_1ND[0].float(), sin_1ND[0].float()

    def _cos_sin(self, positions_N: Tensor, kind: str) -> tuple[Tensor, Tensor]:
        """Rotary cosines and sines [N, heads, D] of queries, keys and values; values are turned by nothing.

        A half's sines are negative, so that turning is x * cos + halves_swapped(x) * sin.
        """
        cos_ND, sin_ND = self._angles(positions_N, kind)
        turned, half = self.num_heads + self.kv_heads, self.head_dim // 2
        cos_NHD = torch.ones(
            len(positions_N), turned + self.kv_heads, self.head_dim, dtype=self.dtype, device=self.device
        )
        sin_NHD = torch.zeros_like(cos_NHD)
        cos_NHD[:, :turned] = cos_ND[:, None]
        sin_NHD[:, :turned] = sin_ND[:, None]
        sin_NHD[:, :, :half].neg_()
        return cos_NHD, sin_NHD

    def _rotated(self, layer: Layer, qkv_NHD: Tensor, cos_sin: tuple[Tensor, Tensor]) -> Tensor:
        if layer.qk_norm:
            weight_HD, eps = layer.qk_norm
            normed = rms_norm(qkv_NHD[:, : len(weight_HD)].float(), (self.head_dim,), eps=eps) * weight_HD
            qkv_NHD = torch.cat((normed.to(self.dtype), qkv_NHD[:, len(weight_HD) :]), dim=1)
        cos_NHD, sin_NHD = cos_sin
        return torch.addcmul(qkv_NHD * cos_NHD, qkv_NHD.roll(self.head_dim // 2, -1), sin_NHD)

    def _attend_rows(self, qkv_BHD: Tensor, plane: Tensor, slots: Tensor, mask: Tensor) -> Tensor:
        """Writes the rows' new keys and values and attends [B, H * D] to what a row holds, as far as `mask` spans."""
        rows = len(qkv_BHD)
        new = qkv_BHD[:, self.num_heads :].reshape(-1, self.head_dim)
        plane.view(-1, self.head_dim).index_copy_(0, slots, new)
        # The query heads that share a key head stand side by side as its queries: no key is read twice.
        queries = qkv_BHD[:, : self.num_heads].view(rows, self.kv_heads, -1, self.head_dim)
        return self._attend(queries, plane[:rows, :, : mask.shape[-1]], mask).reshape(rows, -1)

    def _attend_chunk(self, layer: Layer, plane: Tensor, chunk: Chunk, qkv_THD: Tensor) -> Tensor:
        """Writes a chunk's keys and values and attends it tile by tile, each to what came before it."""
        end = chunk.start + len(chunk.ids)
        plane[chunk.row, :, chunk.start : end] = qkv_THD[:, self.num_heads :].transpose(0, 1)
        attended = []
        for start in range(chunk.start, end, TILE):
            rows = min(TILE, end - start)
            mask = _tile_mask(start, layer.window, self.dtype, self.device)[:rows]
            queries = qkv_THD[start - chunk.start : start - chunk.start + rows, : self.num_heads].transpose(0, 1)[None]
            held = plane[chunk.row : chunk.row + 1, :, : start + TILE]
            attended.append(self._attend(queries, held, mask)[0].transpose(0, 1).reshape(rows, -1))
        return torch.cat(attended)

    def _attend(self, queries: Tensor, held_BHTD: Tensor, mask: Tensor) -> Tensor:
        """Queries [B, key heads or heads, Q, D] over what is held."""
        keys, values = held_BHTD[:, : self.kv_heads], held_BHTD[:, self.kv_heads :]
        if self.softcap is None:
            return scaled_dot_product_attention(
                queries, keys, values, attn_mask=mask, scale=self.scaling, enable_gqa=queries.shape[1] != self.kv_heads
            )
        repeats = queries.shape[1] // self.kv_heads
        keys, values = keys.repeat_interleave(repeats, 1), values.repeat_interleave(repeats, 1)
        scores = torch.tanh(queries @ keys.transpose(2, 3) * (self.scaling / self.softcap)) * self.softcap
        return torch.softmax((scores + mask).float(), dim=-1).to(values.dtype) @ values


def _added(x_ND: Tensor, mixed: Tensor, linear: Linear, norm: Norm | None) -> Tensor:
    return x_ND + norm(linear(mixed)) if norm else linear(mixed, add=x_ND)


@lru_cache(maxsize=256)
def _tile_mask(start: int, window: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """[TILE, start + TILE], to be added to the scores of a tile that begins at `start`."""
    return row_mask(torch.arange(start, start + TILE, device=device), start + TILE, window, dtype)[:, 0, 0]


def _eps(norm: Any) -> float:
    return float(getattr(norm, "variance_epsilon", None) or norm.eps)


def _norm_weight(norm: Any) -> Tensor:
    """Gemma's norms keep how far their weight is from one."""
    weight = cast(Tensor, norm.weight.detach())
    return 1.0 + weight.float() if type(norm).__name__.startswith("Gemma") else weight
