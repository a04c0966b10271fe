"""What this machine computes with: device, precision, peak memory, and the line for a machine that is too small."""

import re
import resource
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from pacos.core.errors import PacosError

# The CPU allocator has no error class of its own.
CPU_OUT_OF_MEMORY = re.compile("can't allocate memory|not enough memory")


def choose_device() -> torch.device:
    """cuda, else mps, else cpu."""
    if torch.cuda.is_available():
        return torch.device("cuda")
    if torch.backends.mps.is_available():
        return torch.device("mps")
    return torch.device("cpu")


def choose_precision(asked: str, device: torch.device) -> str:
    """`auto` becomes bf16 where the device multiplies bfloat16 in hardware, else fp32."""
    if asked != "auto":
        return asked
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    return "bf16" if device.type == "cpu" and cpu_multiplies_bf16() else "fp32"


def cpu_multiplies_bf16() -> bool:
    """Whether this CPU has bfloat16 dot products (AVX-512 BF16 or AMX); without them bf16 is slower than fp32."""
    checks = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return any(getattr(torch.cpu, check, lambda: False)() for check in checks)


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
