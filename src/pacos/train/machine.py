"""The processes that train together, their device, and the line for a machine that has too little memory."""

import os
import re
import resource
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TextIO

import torch
import torch.distributed as dist
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor
from transformers import PreTrainedModel

from pacos.core.errors import PacosError
from pacos.engines.local.device import choose_device
from pacos.train.memory import MemoryEstimate
from pacos.train.optimizer import local

# The CPU allocator has no error class of its own.
CPU_OUT_OF_MEMORY = re.compile("can't allocate memory|not enough memory")
# What is left of a process that was ended from outside.
PEER_GONE = re.compile("[Cc]onnection (reset|closed) by (remote )?peer|Broken pipe")
# Dense bf16 FLOP/s by the makers' data sheets; a device that is not here is measured.
PEAK_FLOPS = {"H100 PCIe": 756e12, "H100 NVL": 835e12, "H100": 989.4e12, "H200": 989.4e12, "A100": 312e12}
# Rows of a step have few lengths, but evaluation's are others again, and each is compiled once.
MOST_GRAPHS = 256
# Process 0 reads, hashes and splits a base while the others wait; NCCL's own ten minutes may be too short.
TIMEOUT = timedelta(minutes=30)


@dataclass(frozen=True)
class Team:
    """The processes that train together, of which this is number `rank`; one alone has no mesh."""

    rank: int
    size: int
    device: torch.device
    mesh: DeviceMesh | None

    @property
    def leads(self) -> bool:
        """Whether this is process 0, which reads, writes and tells for all."""
        return self.rank == 0

    def say(self, text: str, file: TextIO | None = None) -> None:
        """Prints a line once, whoever of the processes comes here."""
        if self.leads:
            print(text, file=file, flush=True)

    @contextmanager
    def whole_folder(self, folder: Path) -> Iterator[Path]:
        """A folder that all write into, and that takes its name when all of it is there."""
        partial = folder.with_name(f".{folder.name}.partial")
        try:
            if self.leads:
                shutil.rmtree(partial, ignore_errors=True)
                partial.mkdir(parents=True)
            self._wait()
            yield partial
            if self.leads:
                shutil.rmtree(folder, ignore_errors=True)
                os.replace(partial, folder)
            self._wait()
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)
            raise

    def _wait(self) -> None:
        if self.mesh:
            dist.barrier()

    def total(self, values: torch.Tensor) -> torch.Tensor:
        """The sum of a tensor over all processes."""
        if self.mesh:
            dist.all_reduce(values)
        return values

    def place(self, model: PreTrainedModel) -> None:
        """Moves a model to the device; of several processes each keeps a share of every layer, which 0 deals out."""
        if not self.mesh:
            model.to(self.device)  # type: ignore[arg-type]
            return
        whole = {name: parameter.detach() for name, parameter in model.named_parameters()}
        # Gradients of bf16 weights are summed over the processes in fp32.
        policy = MixedPrecisionPolicy(reduce_dtype=torch.float32)
        for module in (*decoder_layers(model), model):
            # The outermost too, which else would stay whole after the probe and be saved as whatever is there.
            fully_shard(module, mesh=self.mesh, mp_policy=policy, reshard_after_forward=True)
        if not self.leads:
            model.to_empty(device=self.device)
            model.tie_weights()
        for name, parameter in model.named_parameters():
            local(parameter).data.copy_(local(self.share(whole.pop(name), parameter)))
        for buffer in model.buffers():
            dist.broadcast(buffer, 0)

    def share(self, whole: torch.Tensor, parameter: torch.Tensor) -> torch.Tensor:
        """This process's share of a tensor that process 0 has whole, cut as the parameter is."""
        if not isinstance(parameter, DTensor):
            return whole.to(self.device)
        whole = whole.to(self.device) if self.leads else torch.empty_like(whole, device=self.device)
        return distribute_tensor(whole, self.mesh, parameter.placements, src_data_rank=0)


def decoder_layers(model: PreTrainedModel) -> torch.nn.ModuleList:
    """The layers of which a causal LM has most."""
    return max((module for module in model.modules() if isinstance(module, torch.nn.ModuleList)), key=len)


def same_bits_again(model: PreTrainedModel) -> None:
    """On a GPU takes the variants of operations that give the same bits each time; one without such a variant fails.

    Merely to warn would not do: then the fused attention's backward pass keeps to the variant that adds in any order.
    """
    torch.use_deterministic_algorithms(model.device.type == "cuda")
    # It would also fill all memory that is about to be written.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]


def compile_layers(model: PreTrainedModel) -> None:
    """Makes each layer's small operations few kernels, anew for each length of a row: rows have few, and a kernel for
    all lengths could depend on which came first, so that a resumed run would differ in its last bits."""
    torch._dynamo.config.recompile_limit = MOST_GRAPHS
    for layer in decoder_layers(model):
        layer.compile(dynamic=False)


@contextmanager
def open_team() -> Iterator[Team]:
    """This process alone, or with those that torchrun or `--gpus` started beside it."""
    try:
        rank, size, number = (
            int(os.environ.get(name, default)) for name, default in (("RANK", 0), ("WORLD_SIZE", 1), ("LOCAL_RANK", 0))
        )
        if not 0 <= rank < size:
            raise ValueError(f"RANK is {rank} and WORLD_SIZE is {size}")
        device = _own_device(number)
        if size > 1:
            dist.init_process_group("cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo", timeout=TIMEOUT)
    except ValueError as error:
        raise PacosError(
            f"train: {' '.join(str(error).split())[:160]}; RANK, LOCAL_RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT "
            "are to be as torchrun sets them, or not there. Unset them."
        ) from None
    try:
        yield Team(rank, size, device, init_device_mesh(device.type, (size,)) if size > 1 else None)
        # Not after an error: the others may be waiting for this one, and it would wait for them.
        if size > 1:
            dist.destroy_process_group()
    except RuntimeError as error:
        if size > 1 and PEER_GONE.search(str(error)):
            raise PacosError(
                "train: another of the processes that train together has ended; "
                "the same command goes on from the last checkpoint."
            ) from None
        raise
    finally:
        # What comes after in this process samples, which has no deterministic variant.
        torch.use_deterministic_algorithms(False)


def _own_device(number: int) -> torch.device:
    device = choose_device()
    if device.type != "cuda":
        return device
    there = torch.cuda.device_count()
    if number >= there:
        raise PacosError(f"train: this machine has {there} GPUs and process {number + 1} has none; lower --gpus.")
    torch.cuda.set_device(number)
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    return torch.device("cuda", number)


def peak_flops(device: torch.device, precision: str) -> float:
    """What the device multiplies at best, in FLOP/s: published, or measured with one large product."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" and precision != "fp32" else ""
    for known, flops in PEAK_FLOPS.items():
        if known in name:
            return flops
    # A GPU needs a product that takes longer than to ask for it.
    side = 8192 if device.type == "cuda" else 2048
    matrix = torch.ones(side, side, device=device, dtype=torch.float32 if precision == "fp32" else torch.bfloat16)
    fastest = float("inf")
    for _ in range(12):
        start = time.perf_counter()
        (matrix @ matrix).sum().item()
        fastest = min(fastest, time.perf_counter() - start)
    return 2 * side**3 / fastest


def peak_memory_bytes(device: torch.device) -> int:
    """The most memory held so far: the device's on CUDA, the process's otherwise."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    try:
        # Not getrusage first: on Linux a program begins with the peak of the process that started it, so that a run
        # begun from a notebook of 20 GB would report 20 GB.
        status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
        return int(status.partition("VmHWM:")[2].split()[0]) * 1024
    except (OSError, IndexError):
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024


def out_of_memory(error: BaseException) -> bool:
    """Whether this is one of the frameworks' several out-of-memory errors."""
    return isinstance(error, (torch.OutOfMemoryError, MemoryError)) or bool(CPU_OUT_OF_MEMORY.search(str(error)))


@contextmanager
def memory_named(device: torch.device, estimate: MemoryEstimate) -> Iterator[None]:
    """Turns an out-of-memory error into one line, with the estimate that was wrong."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not out_of_memory(error):
            raise
        raise PacosError(
            f"train: out of memory on {device.type} at {peak_memory_bytes(device) / 1e9:.1f} GB, {estimate.said}; "
            "lower train.row_tokens or take more --gpus, then repeat the same command: it goes on from the last "
            "checkpoint; or begin anew with a lower train.max_length, lower train.lora.rank or a smaller train.base."
        ) from None
