"""Writes small GGUF files as llama.cpp's own conversion lays them out, by the names of the gguf package."""

import json
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import torch
from sentencepiece import SentencePieceProcessor
from transformers import AutoModelForCausalLM, PreTrainedModel, PreTrainedTokenizerFast

NORMAL, CONTROL = 1, 3
ARCHITECTURES = {"llama": "llama", "qwen2": "qwen2", "qwen3": "qwen3", "smollm3": "smollm3", "gemma": "gemma"}
ARCHITECTURES |= {"gemma2": "gemma2", "gemma3_text": "gemma3"}


def random_model(config: Any) -> PreTrainedModel:
    """A model whose every weight, norms and biases too, is a random multiple of 1/256, and so is one plus it."""
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config).float()
    with torch.no_grad():
        for weights in model.parameters():
            weights.copy_((torch.randn_like(weights) * 32).round() / 256)
    return model.train(False)


def write_gguf(path: Path, model: PreTrainedModel, tokens: dict[str, Any], **changed: Any) -> Path:
    """`tokens` are the tokenizer's values, `changed` replaces or removes (None) values, or adds tensors (arrays)."""
    config = model.config
    name = ARCHITECTURES[config.model_type]
    writer = gguf.GGUFWriter(path, changed.get("architecture", name))
    theta = config.rope_parameters
    values = {
        "context_length": config.max_position_embeddings,
        "block_count": config.num_hidden_layers,
        "embedding_length": config.hidden_size,
        "feed_forward_length": config.intermediate_size,
        "attention.head_count": config.num_attention_heads,
        "attention.head_count_kv": config.num_key_value_heads,
        "attention.layer_norm_rms_epsilon": config.rms_norm_eps,
        "rope.freq_base": theta.get("full_attention", theta)["rope_theta"],
    }
    if name.startswith(("gemma", "qwen3")):
        values["attention.key_length"] = config.head_dim
    if name in ("gemma2", "gemma3"):
        values["attention.sliding_window"] = config.sliding_window
    if name == "gemma2":
        values |= {cap: getattr(config, cap) for cap in ("attn_logit_softcapping", "final_logit_softcapping")}
    values = {f"{name}.{key}": value for key, value in values.items()} | {"general.license": "mit"} | tokens
    for key, value in (values | changed.get("values", {})).items():
        add_value(writer, key, value)
    for title, tensor in model.state_dict().items():
        if title == "lm_head.weight" and config.tie_word_embeddings:
            continue
        array = changed.get("tensors", {}).get(title, laid_out(title, tensor, name, config))
        add_tensor(writer, tensor_name(title, name, config), array, changed.get("quantisation"))
    for title, array in changed.get("more", {}).items():
        writer.add_tensor(title, array)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def add_value(writer: gguf.GGUFWriter, key: str, value: Any) -> None:
    adders = {str: writer.add_string, bool: writer.add_bool, int: writer.add_uint32, float: writer.add_float32}
    if value is not None:
        adders.get(type(value), writer.add_array)(key, value)


def add_tensor(writer: gguf.GGUFWriter, name: str, array: np.ndarray, kind: str | None) -> None:
    if kind is None or array.ndim == 1:
        return writer.add_tensor(name, array)
    quantisation = gguf.GGMLQuantizationType[kind]
    writer.add_tensor(name, gguf.quantize(array, quantisation), raw_dtype=quantisation)


def tensor_name(title: str, architecture: str, config: Any) -> str:
    kind = next(number for number, name in gguf.MODEL_ARCH_NAMES.items() if name == architecture)
    stem, _, suffix = title.rpartition(".")
    return f"{gguf.get_tensor_name_map(kind, config.num_hidden_layers).get_name(stem)}.{suffix}"


def laid_out(title: str, tensor: torch.Tensor, architecture: str, config: Any) -> np.ndarray:
    array = tensor.numpy()
    if architecture.startswith("gemma") and title.endswith("norm.weight"):
        return array + 1
    heads = {"q_proj": config.num_attention_heads, "k_proj": config.num_key_value_heads}.get(title.split(".")[-2])
    if heads and architecture in ("llama", "smollm3"):
        # LlamaModel.permute of convert_hf_to_gguf.py
        return array.reshape(heads, 2, -1, *array.shape[1:]).swapaxes(1, 2).reshape(array.shape)
    return array


def byte_level_values(tokenizer: PreTrainedTokenizerFast, split: str) -> dict[str, Any]:
    vocabulary = tokenizer.get_vocab()
    pieces = sorted(vocabulary, key=vocabulary.__getitem__)
    special = set(tokenizer.all_special_tokens)
    state = tokenizer.backend_tokenizer.model.__getstate__().decode()
    return {
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": split,
        "tokenizer.ggml.tokens": pieces,
        "tokenizer.ggml.token_type": [CONTROL if piece in special else NORMAL for piece in pieces],
        "tokenizer.ggml.merges": merges_in(state),
        "tokenizer.ggml.bos_token_id": tokenizer.bos_token_id,
        "tokenizer.ggml.eos_token_id": tokenizer.eos_token_id,
        "tokenizer.ggml.padding_token_id": tokenizer.pad_token_id,
    }


def merges_in(state: str) -> list[str]:
    return [merge if isinstance(merge, str) else " ".join(merge) for merge in json.loads(state)["merges"]]


def sentencepiece_values(read: SentencePieceProcessor, *, gemma: bool) -> dict[str, Any]:
    """As llama.cpp writes them: spaces for what the user defined, and one score for all that is not merged."""
    types, pieces, scores = [], [], []
    for number in range(len(read)):
        kinds = (read.is_unknown(number), read.is_control(number), read.is_byte(number))
        defined = gemma and set(read.id_to_piece(number)) == {"▁"} and len(read.id_to_piece(number)) > 1
        types.append(4 if defined else dict(zip(kinds, (2, 3, 6), strict=False)).get(True, NORMAL))
        piece = read.id_to_piece(number)
        pieces.append(piece.replace("▁", " ") if defined else piece)
        scores.append(-1000.0 if types[-1] != NORMAL else read.get_score(number))
    return {
        "tokenizer.ggml.model": "llama",
        "tokenizer.ggml.pre": "default",
        "tokenizer.ggml.tokens": pieces,
        "tokenizer.ggml.scores": scores,
        "tokenizer.ggml.token_type": types,
        "tokenizer.ggml.bos_token_id": read.bos_id(),
        "tokenizer.ggml.eos_token_id": read.eos_id(),
        "tokenizer.ggml.unknown_token_id": read.unk_id(),
        "tokenizer.ggml.add_bos_token": True,
        "tokenizer.ggml.add_space_prefix": not gemma,
    }
