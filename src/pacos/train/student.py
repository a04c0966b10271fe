"""The student: saved one tensor at a time, loaded back, and compared with what was trained."""

import os
from pathlib import Path
from typing import cast

import torch
from safetensors import SafetensorError
from torch.distributed.tensor import DTensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from pacos.core.errors import PacosError
from pacos.core.files import write_error
from pacos.core.prompts import chat_template
from pacos.engines.local.saving import (
    describe,
    distance,
    fixed_logits,
    layout_like,
    stored_tensors,
    write_tensors,
    write_weights,
)
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
    describe(model, tokenizer)
    # transformers takes a folder with a config of its own for a whole model, and without for adapters.
    config = model.peft_config["default"] if base.adapters else model.config
    for part in (tokenizer, config, model.generation_config):
        part.save_pretrained(str(folder))
    for path in folder.iterdir():
        path.chmod(0o644)
        with open(path, "rb") as file:
            os.fsync(file.fileno())


def _write_weights(base: LoadedBase, remainders: Remainders, folder: Path, team: Team) -> None:
    def whole(tensor: torch.Tensor) -> torch.Tensor:
        return _whole(tensor, remainders.get(cast(torch.nn.Parameter, tensor)))

    tensors = stored_tensors(base.model)
    if base.adapters:
        tensors = {
            f"base_model.model.{name.replace('.default', '')}": tensor
            for name, tensor in tensors.items()
            if tensor.requires_grad
        }
    if not team.leads:
        # All processes gather every tensor, in one order.
        for tensor in tensors.values():
            whole(tensor)
    elif base.adapters:
        write_tensors(tensors, folder / "adapter_model.safetensors", whole)
    else:
        write_weights(layout_like(base.model, base.folder), folder / "model.safetensors", whole)


def _whole(tensor: torch.Tensor, remainder: torch.Tensor | None) -> torch.Tensor:
    """A weight on the CPU, exact, gathered from all processes."""
    parts = [tensor.detach()] if remainder is None else [tensor.detach(), remainder]
    whole = [(part.full_tensor() if isinstance(part, DTensor) else part).cpu() for part in parts]
    return join(*(part.view(torch.int16) for part in whole)) if len(whole) == 2 else whole[0]


def probe(model: PreTrainedModel, device: torch.device) -> torch.Tensor:
    """The logits [1, 32, V] at fixed token ids, with an attention that needs no places of examples."""
    kind = model.config._attn_implementation
    # What the library itself takes when the student is loaded; Gemma 2 caps its scores and has no sdpa.
    own = "sdpa" if model._supports_sdpa else "eager"
    model.set_attn_implementation(own if kind == attention.NAME else kind)
    logits = fixed_logits(model, model.config.get_text_config().vocab_size, device)
    model.set_attn_implementation(kind)
    return logits


def check_student(folder: Path, expected: torch.Tensor, precision: str) -> None:
    """Loads the saved student as anyone would; PacosError where its logits are not those of the trained model."""
    apart, size = distance(folder, expected)
    if not apart <= TOLERANCE[precision] * max(1.0, size):
        raise PacosError(
            f"{folder}: loaded back, its logits are {apart:.3g} away from the trained model's; it was not saved whole. "
            "The last checkpoint is kept: repeat the same command, on another disk if it happens again."
        )


def _adds_bos(tokenizer: PreTrainedTokenizerBase) -> bool:
    return tokenizer.bos_token_id is not None and tokenizer("a")["input_ids"][0] == tokenizer.bos_token_id
