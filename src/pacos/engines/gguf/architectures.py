"""What a GGUF file's architecture is called in transformers: its config, its tensors' names, and how they are laid."""

import re
from dataclasses import dataclass
from typing import Any

import torch

from pacos.core.errors import PacosError
from pacos.engines.gguf.gguf_file import GgufFile

WHOLE = {"token_embd": "model.embed_tokens", "output_norm": "model.norm", "output": "lm_head"}
LAYER = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "attn_q_norm": "self_attn.q_norm",
    "attn_k_norm": "self_attn.k_norm",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
# Gemma 2 and 3 have a norm on both sides of attention and of the feed-forward part.
SANDWICH = LAYER | {
    "ffn_norm": "pre_feedforward_layernorm",
    "post_attention_norm": "post_attention_layernorm",
    "post_ffw_norm": "post_feedforward_layernorm",
}
NUMBERS = {
    "context_length": "max_position_embeddings",
    "block_count": "num_hidden_layers",
    "embedding_length": "hidden_size",
    "feed_forward_length": "intermediate_size",
    "attention.head_count": "num_attention_heads",
}
# Which layers of Gemma slide, and what its 27B models divide attention by, is not in the file.
LAYERS_OF_27B = {"gemma2": 46, "gemma3": 62}


@dataclass(frozen=True)
class Architecture:
    """One architecture: its name in transformers, and what llama.cpp's conversion did to its tensors."""

    model_type: str
    layer: dict[str, str]
    # The rows of q and k stand in the order of llama.cpp's rotary embedding.
    rotary_permuted: bool = False
    # A norm multiplies by its weight in the file, by 1 + its weight in transformers.
    norm_from_one: bool = False


ARCHITECTURES = {
    "llama": Architecture("llama", LAYER, rotary_permuted=True),
    "qwen2": Architecture("qwen2", LAYER),
    "qwen3": Architecture("qwen3", LAYER),
    "smollm3": Architecture("smollm3", LAYER, rotary_permuted=True),
    "gemma": Architecture("gemma", LAYER, norm_from_one=True),
    "gemma2": Architecture("gemma2", SANDWICH, norm_from_one=True),
    "gemma3": Architecture("gemma3_text", SANDWICH, norm_from_one=True),
}


def architecture_of(file: GgufFile) -> Architecture:
    """The file's architecture; PacosError where it is none of ours."""
    name = file.value("general.architecture", str)
    if name not in ARCHITECTURES:
        raise file.wrong(f"its architecture is {name!r}; expected one of: {', '.join(ARCHITECTURES)}.")
    return ARCHITECTURES[name]


def config_values(file: GgufFile) -> dict[str, Any]:
    """The values of config.json, special tokens aside; PacosError where one is missing or cannot be used."""
    name = file.value("general.architecture", str)
    values: dict[str, Any] = {key: file.value(f"{name}.{gguf}", int) for gguf, key in NUMBERS.items()}
    heads, layers = values["num_attention_heads"], values["num_hidden_layers"]
    if layers > len(file.tensors):
        raise file.wrong(f"its values say {layers:,} layers, and it has {len(file.tensors):,} tensors; it is damaged.")
    if "token_embd.weight" not in file.tensors:
        raise file.wrong("no token_embd.weight in it; take another copy of the model.")
    values["num_key_value_heads"] = file.value(f"{name}.attention.head_count_kv", int, heads)
    width = values["hidden_size"] // heads
    rotary = file.value(f"{name}.rope.dimension_count", int, width) if name == "llama" else width
    values["head_dim"] = file.value(f"{name}.attention.key_length", int, rotary)
    # The file has it as fp32, which as a double would read 9.99999974e-06.
    values["rms_norm_eps"] = float(f"{file.value(f'{name}.attention.layer_norm_rms_epsilon', float):.7g}")
    values["vocab_size"] = file.shape("token_embd.weight")[0]
    values["tie_word_embeddings"] = "output.weight" not in file.tensors
    values["rope_parameters"] = _rope(file, name, values["head_dim"])
    if name in ("llama", "qwen3", "smollm3"):
        values["attention_bias"] = "blk.0.attn_q.bias" in file.tensors
    if name in LAYERS_OF_27B:
        values["sliding_window"] = file.value(f"{name}.attention.sliding_window", int)
        large = values["num_hidden_layers"] == LAYERS_OF_27B[name]
        values["query_pre_attn_scalar"] = width if large else values["head_dim"]
        for cap in ("attn_logit_softcapping", "final_logit_softcapping"):
            values[cap] = file.value(f"{name}.{cap}", float) if f"{name}.{cap}" in file.values else None
    return values


def _rope(file: GgufFile, name: str, head_dim: int) -> dict[str, Any]:
    theta = file.value(f"{name}.rope.freq_base", float, 1e6 if name == "gemma3" else 1e4)
    rope: dict[str, Any] = {"rope_type": "default", "rope_theta": theta}
    scaling = file.value(f"{name}.rope.scaling.type", str, "none")
    if scaling == "linear":
        rope |= {"rope_type": "linear", "factor": file.value(f"{name}.rope.scaling.factor", float)}
    elif scaling != "none":
        raise file.wrong(f"its context is stretched by {scaling!r}; expected none, linear or LLaMA 3's.")
    if "rope_freqs.weight" in file.tensors:
        rope |= _llama3_rope(file, theta, head_dim)
    if name == "gemma3":
        local = file.value("gemma3.rope.freq_base_swa", float, 1e4)
        return {"full_attention": rope, "sliding_attention": {"rope_type": "default", "rope_theta": local}}
    return rope


def _llama3_rope(file: GgufFile, theta: float, head_dim: int) -> dict[str, Any]:
    """LLaMA 3.1's and 3.2's stretched context: the file has only what each frequency is divided by."""
    divisors = file.tensor("rope_freqs.weight")
    low, high, context = 1.0, 4.0, 8192
    factor = float(divisors.max())
    wavelengths = 2 * torch.pi * theta ** (torch.arange(0, head_dim, 2).double() / head_dim)
    smooth = ((context / wavelengths - low) / (high - low)).clamp(0, 1)
    if divisors.shape != smooth.shape or not torch.allclose(
        1 / ((1 - smooth) / factor + smooth), divisors.double(), 1e-3
    ):
        raise file.wrong("its rope_freqs.weight is not LLaMA 3's; expected that, or no stretched context.")
    return {
        "rope_type": "llama3",
        "factor": factor,
        "low_freq_factor": low,
        "high_freq_factor": high,
        "original_max_position_embeddings": context,
    }


def name_in_transformers(architecture: Architecture, name: str) -> str | None:
    """A tensor's name in transformers; None for rope_freqs.weight, which the config holds. KeyError for another."""
    if name == "rope_freqs.weight":
        return None
    stem, _, suffix = name.rpartition(".")
    if match := re.fullmatch(r"blk\.(\d+)\.(\w+)", stem):
        return f"model.layers.{match[1]}.{architecture.layer[match[2]]}.{suffix}"
    return f"{WHOLE[stem]}.{suffix}"


def as_in_transformers(
    architecture: Architecture, name: str, tensor: torch.Tensor, heads: dict[str, int]
) -> torch.Tensor:
    """Undoes what llama.cpp's conversion did to a tensor; `heads` of attn_q and attn_k.

    After convert_hf_to_gguf.py of llama.cpp: LlamaModel.permute, and Gemma's norm_shift.
    """
    if architecture.norm_from_one and name.endswith("norm.weight"):
        return tensor - 1
    part = name.split(".")[-2]
    if architecture.rotary_permuted and part in heads:
        paired = tensor.view(heads[part], tensor.shape[0] // heads[part] // 2, 2, *tensor.shape[1:])
        return paired.transpose(1, 2).reshape(tensor.shape)
    return tensor


def check_names(file: GgufFile, found: dict[str, tuple[int, ...]], wanted: dict[str, tuple[int, ...]]) -> None:
    """PacosError unless the tensors, by their names in transformers, are those of the model that the config makes."""
    for name in sorted(found.keys() | wanted.keys()):
        if found.get(name) != wanted.get(name):
            shapes = [list(each[name]) if name in each else "nothing" for each in (found, wanted)]
            raise PacosError(
                f"{file.path}: as {name} it holds {shapes[0]}, and its own values say {shapes[1]}; "
                "it is damaged, or a variant that pacos does not read."
            )
