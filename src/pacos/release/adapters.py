"""A student that is adapters beside its base becomes one whole model, which is what a release gives away."""

import shutil
from pathlib import Path

import torch
from transformers.utils.hub import cached_file

from pacos.core.errors import PacosError
from pacos.engines.local.saving import (
    describe,
    distance,
    fixed_logits,
    layout_like,
    write_weights,
)
from pacos.engines.local.tokenizer import load_tokenizer
from pacos.release.checksums import copy_file

# How far the merged model's logits may lie from the two parts': nothing but another order of summing in fp32.
TOLERANCE = 1e-3
# What the merged model takes the place of.
NOT_COPIED = {"adapter_config.json", "adapter_model.safetensors"}


def has_adapters(student: Path) -> bool:
    """Whether a student's folder holds peft's adapters in place of weights."""
    return (student / "adapter_config.json").exists()


def merge_adapters(student: Path, target: Path) -> None:
    """Writes base and adapters as one checkpoint in fp32, under the base's tensor names.

    Raises PacosError without peft or without the base, and where the logits, loaded back, are not those of the base
    with its adapters.
    """
    try:
        from peft import AutoPeftModelForCausalLM

        adapted = AutoPeftModelForCausalLM.from_pretrained(str(student), dtype=torch.float32)
        origin = str(adapted.peft_config["default"].base_model_name_or_path)
        expected = fixed_logits(adapted, adapted.config.get_text_config().vocab_size, torch.device("cpu"))
        model = adapted.merge_and_unload()
        layout = layout_like(model, Path(str(cached_file(origin, "config.json"))).parent)
        describe(model, load_tokenizer(str(student)))
    except ImportError:
        raise PacosError(f"{student}: merging adapters needs peft; pip install 'pacos[lora]'.") from None
    except (OSError, ValueError) as error:
        raise PacosError(f"{student}: its base cannot be loaded ({' '.join(str(error).split())[:160]}).") from None
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    write_weights(layout, target / "model.safetensors", torch.Tensor.detach)
    model.config.save_pretrained(target)
    # Its generation config is the student's own, which knows what ends an answer.
    for path in sorted(path for path in student.iterdir() if path.name not in NOT_COPIED):
        copy_file(path, target / path.name)
    apart, size = distance(target, expected)
    if not apart <= TOLERANCE * max(1.0, size):
        raise PacosError(
            f"{target}: loaded back, its logits are {apart:.3g} away from those of the base with its adapters; they "
            "were not merged whole. Repeat the same command, on another disk if it happens again."
        )
