"""A student that is adapters beside its base becomes one whole model, which is what a release gives away."""

import shutil
from pathlib import Path

from pacos.core.errors import PacosError
from pacos.release.checksums import copy_file

# What the merged model takes the place of.
NOT_COPIED = {"adapter_config.json", "adapter_model.safetensors"}


def has_adapters(student: Path) -> bool:
    """Whether a student's folder holds peft's adapters in place of weights."""
    return (student / "adapter_config.json").exists()


def merge_adapters(student: Path, target: Path) -> None:
    """Writes base and adapters as one checkpoint in fp32; PacosError without peft or without the base."""
    try:
        from peft import AutoPeftModelForCausalLM

        model = AutoPeftModelForCausalLM.from_pretrained(str(student)).merge_and_unload()
    except ImportError:
        raise PacosError(f"{student}: merging adapters needs peft; pip install 'pacos[lora]'.") from None
    except (OSError, ValueError) as error:
        raise PacosError(f"{student}: its base cannot be loaded ({' '.join(str(error).split())[:160]}).") from None
    shutil.rmtree(target, ignore_errors=True)
    model.save_pretrained(target)
    for path in sorted(path for path in student.iterdir() if path.name not in NOT_COPIED):
        copy_file(path, target / path.name)
