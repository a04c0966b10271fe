"""Writes a GGUF file as a folder that transformers, and so every stage of pacos, loads."""

import json
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import save_file
from transformers import AutoConfig, AutoModelForCausalLM, GenerationConfig

from pacos.engines.gguf.architectures import (
    Architecture,
    architecture_of,
    as_in_transformers,
    check_names,
    config_values,
    name_in_transformers,
)
from pacos.engines.gguf.gguf_file import GgufFile, open_gguf
from pacos.engines.gguf.vocabulary import special_ids, tokenizer_of

# The most that lies in memory at once, and in one file.
SHARD_BYTES = 4 << 30


@dataclass(frozen=True)
class Converted:
    """What a GGUF file held; its licence where it states one."""

    parameters: int
    licence: str | None


def convert(path: Path, folder: Path) -> Converted:
    """Writes config, tokenizer and weights of the GGUF file `path` into `folder`.

    Quantised weights are written as bf16, others as fp32. Raises PacosError where the file is damaged or is of an
    architecture, a quantisation or a tokenizer that is not known.
    """
    file = open_gguf(path)
    architecture = architecture_of(file)
    names = _names(file, architecture)
    values = config_values(file)
    ids = special_ids(file)
    ends = {f"{name}_token_id": ids.get(name) for name in ("bos", "eos", "pad")}
    try:
        config = AutoConfig.for_model(architecture.model_type, **values, **ends)
        with torch.device("meta"):
            model = AutoModelForCausalLM.from_config(config)  # type: ignore[no-untyped-call]
    except Exception as error:  # the library's checks of a config raise kinds of their own
        raise file.wrong(f"its values make no model ({' '.join(str(error).split())[:200]}).") from None
    wanted = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    if config.tie_word_embeddings:
        wanted.pop("lm_head.weight", None)
    check_names(file, {name: file.shape(gguf) for gguf, name in names.items()}, wanted)
    tokenizer = tokenizer_of(file)
    tokenizer.model_max_length = values["max_position_embeddings"]
    tokenizer.save_pretrained(folder)
    config.architectures, config.dtype = [type(model).__name__], file.dtype
    config.save_pretrained(folder)
    GenerationConfig(**ends).save_pretrained(folder)  # type: ignore[no-untyped-call]
    heads = {"attn_q": values["num_attention_heads"], "attn_k": values["num_key_value_heads"]}
    _write_weights(file, architecture, names, heads, folder)
    parameters = sum(tensor.numel() for tensor in model.parameters())
    return Converted(parameters, " ".join(file.value("general.license", str, "").split()) or None)


def _names(file: GgufFile, architecture: Architecture) -> dict[str, str]:
    names = {}
    for gguf in file.tensors:
        try:
            name = name_in_transformers(architecture, gguf)
        except KeyError:
            what = f"no {architecture.model_type} model of transformers has its tensor {gguf}"
            raise file.wrong(f"{what}; it is a variant that pacos does not read.") from None
        if name:
            names[gguf] = name
    return names


def _write_weights(
    file: GgufFile, architecture: Architecture, names: dict[str, str], heads: dict[str, int], folder: Path
) -> None:
    """model.safetensors, or shards with their index where it would be larger than one."""
    shards: list[list[str]] = [[]]
    size, total = 0, 0
    for gguf in sorted(names):
        bytes_ = int(file.tensors[gguf].n_elements) * file.dtype.itemsize
        if size + bytes_ > SHARD_BYTES and shards[-1]:
            shards.append([])
            size = 0
        shards[-1].append(gguf)
        size, total = size + bytes_, total + bytes_
    index = {}
    for number, shard in enumerate(shards, 1):
        title = "model" if len(shards) == 1 else f"model-{number:05}-of-{len(shards):05}"
        tensors = {}
        for gguf in shard:
            tensor = as_in_transformers(architecture, gguf, file.tensor(gguf), heads)
            tensors[names[gguf]] = tensor.to(file.dtype).contiguous()
            index[names[gguf]] = f"{title}.safetensors"
        save_file(tensors, folder / f"{title}.safetensors", metadata={"format": "pt"})
    if len(shards) > 1:
        about = {"metadata": {"total_size": total}, "weight_map": index}
        (folder / "model.safetensors.index.json").write_text(json.dumps(about, indent=2), encoding="utf-8")
