"""Tiny models of many architectures as their makers put them on the hub, for tests of what is saved after training."""

import json
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from transformers import CONFIG_MAPPING, AutoModelForCausalLM, AutoTokenizer

SHAPE = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
OLD_SHAPE = {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 512}
FEW_KEYS = {"num_key_value_heads": 2, "head_dim": 8}
EXPERTS = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16}
Tensors = dict[str, torch.Tensor]


def unprefixed(tensors: Tensors) -> Tensors:
    """As the model without its head saves them, with the mask that GPT-2's files still hold."""
    bare = {name.removeprefix("transformer."): tensor for name, tensor in tensors.items()}
    masks = {f"h.{layer}.attn.bias": torch.ones(8, 8).tril().view(1, 1, 8, 8) for layer in range(2)}
    return {**bare, **(masks if "wpe.weight" in bare else {})}


def with_rotary_buffers(tensors: Tensors) -> Tensors:
    return {**tensors, **{f"model.layers.{n}.self_attn.rotary_emb.inv_freq": torch.ones(4) for n in range(2)}}


def with_head(tensors: Tensors) -> Tensors:
    return {**tensors, "lm_head.weight": tensors["model.embed_tokens.weight"].clone()}


def head_alone(tensors: Tensors) -> Tensors:
    """Tied, and stored under the head's name."""
    return {("lm_head.weight" if "embed_tokens" in name else name): tensor for name, tensor in tensors.items()}


# By name: the model type, its config, what makes its files those of the hub, their type.
BASES: dict[str, tuple[str, dict[str, object], Callable[[Tensors], Tensors] | None, torch.dtype]] = {
    "llama": ("llama", {**SHAPE, "num_key_value_heads": 2}, with_rotary_buffers, torch.float16),
    "gpt2": ("gpt2", OLD_SHAPE, unprefixed, torch.float32),
    "gpt2 prefixed": ("gpt2", OLD_SHAPE, None, torch.bfloat16),
    "gpt_neox": ("gpt_neox", SHAPE, None, torch.float16),
    "gpt_neox tied": ("gpt_neox", {**SHAPE, "tie_word_embeddings": True}, None, torch.float32),
    "gptj": ("gptj", {**OLD_SHAPE, "rotary_dim": 4}, None, torch.float32),
    "opt": (
        "opt",
        {**SHAPE, "ffn_dim": 64, "word_embed_proj_dim": 32, "max_position_embeddings": 512},
        None,
        torch.float16,
    ),
    "falcon": ("falcon", {**SHAPE, "max_position_embeddings": 512}, None, torch.bfloat16),
    "bloom": ("bloom", {"hidden_size": 32, "n_layer": 2, "n_head": 4}, unprefixed, torch.float16),
    "phi": ("phi", SHAPE, None, torch.float16),
    "gemma": ("gemma", {**SHAPE, **FEW_KEYS}, None, torch.bfloat16),
    "gemma2": ("gemma2", {**SHAPE, **FEW_KEYS}, with_head, torch.bfloat16),
    "gemma3": ("gemma3_text", {**SHAPE, **FEW_KEYS}, None, torch.bfloat16),
    "llama head alone": (
        "llama",
        {**SHAPE, "num_key_value_heads": 2, "tie_word_embeddings": True},
        head_alone,
        torch.bfloat16,
    ),
    "qwen2_moe": ("qwen2_moe", {**SHAPE, **EXPERTS, "num_key_value_heads": 2}, None, torch.bfloat16),
    "qwen3_moe": ("qwen3_moe", {**SHAPE, **EXPERTS, **FEW_KEYS}, None, torch.bfloat16),
    "mamba": ("mamba", {"hidden_size": 32, "num_hidden_layers": 2, "state_size": 8}, None, torch.bfloat16),
    "mixtral": ("mixtral", {**SHAPE, "num_local_experts": 4, "num_key_value_heads": 2}, None, torch.bfloat16),
    "phimoe": ("phimoe", {**SHAPE, "num_local_experts": 4, "num_key_value_heads": 2}, None, torch.bfloat16),
    "deepseek_v3": (
        "deepseek_v3",
        {
            **SHAPE,
            "num_key_value_heads": 4,
            "moe_intermediate_size": 16,
            "n_routed_experts": 4,
            "num_experts_per_tok": 2,
            "n_group": 2,
            "topk_group": 1,
            "first_k_dense_replace": 1,
            "q_lora_rank": 8,
            "kv_lora_rank": 8,
            "qk_nope_head_dim": 8,
            "qk_rope_head_dim": 8,
            "v_head_dim": 8,
        },
        None,
        torch.bfloat16,
    ),
}


def save_base(kind: str, tokenizer: Path, folder: Path, files: int = 1, dtype: torch.dtype | None = None) -> Path:
    """A base of that kind with the tokenizer of another folder, its weights in one safetensors file or several."""
    model_type, options, as_on_the_hub, own = BASES[kind]
    tokens = AutoTokenizer.from_pretrained(tokenizer)
    tokens.save_pretrained(folder)
    ids = {f"{name}_token_id": getattr(tokens, f"{name}_token_id") for name in ("bos", "eos", "pad")}
    made = CONFIG_MAPPING[model_type](vocab_size=len(tokens), **{**ids, **options})
    torch.manual_seed(0)
    AutoModelForCausalLM.from_config(made, dtype=dtype or own).save_pretrained(folder)
    path = folder / "model.safetensors"
    tensors = load_file(path)
    tensors = as_on_the_hub(tensors) if as_on_the_hub else tensors
    if files == 1:
        save_file(tensors, path, {"format": "pt"})
        return folder
    path.unlink()
    places = {name: f"model-{1 + n % files:05}-of-{files:05}.safetensors" for n, name in enumerate(sorted(tensors))}
    for file in sorted(set(places.values())):
        part = {name: tensor for name, tensor in tensors.items() if places[name] == file}
        save_file(part, folder / file, {"format": "pt"})
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": places}))
    return folder
