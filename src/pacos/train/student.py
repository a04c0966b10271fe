"""The student: saved one tensor at a time, loaded back, and compared with what was trained."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import torch
from safetensors import SafetensorError
from torch.distributed.tensor import DTensor
from transformers import AutoModelForCausalLM, PreTrainedModel, PreTrainedTokenizerBase

from pacos.core.errors import PacosError
from pacos.core.files import write_error
from pacos.core.prompts import chat_template
from pacos.train import attention
from pacos.train.base import LoadedBase
from pacos.train.machine import Team
from pacos.train.optimizer import Remainders, join

# How far the saved model's logits may lie from the trained one's: nothing but another order of summing in fp32.
TOLERANCE = {"fp32": 1e-3, "bf16": 1e-3, "split": 0.1}


def save_student(base: LoadedBase, remainders: Remainders, folder: Path, team: Team) -> None:
    """Writes weights, config and tokenizer beside `folder` and renames them into place when they are whole.

    Weights go to the file in fp32, gathered from all processes one by one; of a base with adapters these alone, in
    peft's format. The tokenizer has a chat template, so that servers need no special case.
    """
    try:
        with team.whole_folder(folder) as partial:
            _write_weights(base, remainders, partial, team)
            if team.leads:
                _write_descriptions(base, partial)
    except (OSError, SafetensorError) as error:
        raise write_error(folder, error if isinstance(error, OSError) else OSError(0, str(error))) from error


def _write_descriptions(base: LoadedBase, folder: Path) -> None:
    model, tokenizer = base.model, base.tokenizer
    # Servers tokenise a rendered chat without adding special tokens, so the template writes what training saw.
    tokenizer.chat_template = chat_template(str(tokenizer.bos_token) if _adds_bos(tokenizer) else "")
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.config.dtype = torch.float32
    # transformers takes a folder with a config of its own for a whole model, and without for adapters.
    described = [model.peft_config["default"]] if base.adapters else [model.config, model.generation_config]
    for part in (tokenizer, *described):
        part.save_pretrained(str(folder))
    for path in folder.iterdir():
        path.chmod(0o644)
        with open(path, "rb") as file:
            os.fsync(file.fileno())


def _write_weights(base: LoadedBase, remainders: Remainders, folder: Path, team: Team) -> None:
    tensors = {
        f"base_model.model.{name.replace('.default', '')}" if base.adapters else name: tensor
        for name, tensor in _saved_tensors(base.model)
        if tensor.requires_grad or not base.adapters
    }
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name, tensor in tensors.items():
        start, end = end, end + 4 * tensor.numel()
        header[name] = {"dtype": "F32", "shape": list(tensor.shape), "data_offsets": [start, end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    path = folder / ("adapter_model.safetensors" if base.adapters else "model.safetensors")
    with open(path if team.leads else os.devnull, "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for tensor in tensors.values():
            whole = _whole(tensor, remainders.get(cast(torch.nn.Parameter, tensor)))
            file.write(whole.contiguous().view(-1).view(torch.uint8).numpy().data)


def _saved_tensors(model: PreTrainedModel) -> Iterator[tuple[str, torch.Tensor]]:
    """Every weight once, tied ones by their first name, and the buffers that belong to a checkpoint."""
    weights = {name for name, _ in model.named_parameters(remove_duplicate=False)}
    yield from model.named_parameters()
    yield from ((name, tensor) for name, tensor in model.state_dict().items() if name not in weights)


def _whole(tensor: torch.Tensor, remainder: torch.Tensor | None) -> torch.Tensor:
    """A weight in fp32 on the CPU, gathered from all processes."""
    parts = [tensor.detach()] if remainder is None else [tensor.detach(), remainder]
    whole = [(part.full_tensor() if isinstance(part, DTensor) else part).cpu() for part in parts]
    return join(*(part.view(torch.int16) for part in whole)) if len(whole) == 2 else whole[0].float()


@torch.no_grad()
def probe(model: PreTrainedModel, device: torch.device) -> torch.Tensor:
    """The logits [1, 32, V] at fixed token ids, by which a saved model is compared with the trained one."""
    model.train(False)
    ids = (torch.arange(32) * 37 % min(211, model.config.get_text_config().vocab_size)).unsqueeze(0).to(device)
    kind = model.config._attn_implementation
    model.set_attn_implementation("sdpa" if kind == attention.NAME else kind)
    logits = model(ids, use_cache=False).logits.float().cpu()
    model.set_attn_implementation(kind)
    return cast(torch.Tensor, logits)


def check_student(folder: Path, expected: torch.Tensor, precision: str) -> None:
    """Loads the saved student as anyone would; PacosError where its logits are not those of the trained model."""
    loaded = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    apart = float((probe(loaded, torch.device("cpu")) - expected).abs().max())
    if not apart <= TOLERANCE[precision] * max(1.0, float(expected.abs().max())):
        raise PacosError(
            f"{folder}: loaded back, its logits are {apart:.3g} away from the trained model's; it was not saved whole. "
            "The last checkpoint is kept: repeat the same command, on another disk if it happens again."
        )


def _adds_bos(tokenizer: PreTrainedTokenizerBase) -> bool:
    return tokenizer.bos_token_id is not None and tokenizer("a")["input_ids"][0] == tokenizer.bos_token_id
