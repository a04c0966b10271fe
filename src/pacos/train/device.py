"""Precision, peak memory, and the line for a machine that has too little of it."""

import re
import resource
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from pacos.core.errors import PacosError

# The CPU allocator has no error class of its own.
CPU_OUT_OF_MEMORY = re.compile("can't allocate memory|not enough memory")


def autocast(device: torch.device, precision: str) -> torch.autocast:
    """The context in which the model computes; weights and their updates stay fp32."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == "bf16")


def peak_memory_bytes(device: torch.device) -> int:
    """The most memory held so far: the device's on CUDA, the process's otherwise."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


@contextmanager
def memory_named(device: torch.device) -> Iterator[None]:
    """Turns the frameworks' several out-of-memory errors into one line."""
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
        if not isinstance(error, (torch.OutOfMemoryError, MemoryError)) and not CPU_OUT_OF_MEMORY.search(str(error)):
            raise
        raise PacosError(
            f"train: out of memory on {device.type} at {peak_memory_bytes(device) / 1e9:.1f} GB; "
            "lower train.max_length or choose a smaller train.base (`pacos doctor RECIPE` estimates what fits), "
            "then repeat the same command: it goes on from the last checkpoint."
        ) from None
