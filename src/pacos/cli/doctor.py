"""`pacos doctor`: what is installed, what this machine has, and whether a recipe's training fits it."""

import os
import platform
import shutil
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch
from torch.nn.functional import silu

from pacos.core.compiled import COMPILER
from pacos.core.errors import PacosError
from pacos.core.free_memory import free_memory_bytes
from pacos.core.models import resolve_model
from pacos.core.recipe import EngineTable, Recipe
from pacos.engines.local.decode_kernels import LANES, DecodeKernels
from pacos.engines.local.device import choose_device
from pacos.train.memory import MemoryEstimate, estimate_memory, published_config

PACKAGES = ("pacos", "torch", "transformers", "tokenizers", "safetensors", "openai", "fastapi", "peft")


def doctor(recipe: Recipe | None) -> bool:
    """Prints what is there, and with a recipe whether it fits and which files are yet to come; False: it does not fit.

    Raises PacosError for a base that cannot be read.
    """
    device = choose_device()
    _line("python", platform.python_version())
    for package in PACKAGES:
        _line(package, _version(package))
    _line("device", torch.cuda.get_device_name(device) if device.type == "cuda" else device.type)
    _line("cores", f"{_cores()} ({torch.get_num_threads()} threads used)")
    _line("memory free", _gigabytes(free_memory_bytes()))
    if device.type == "cuda":
        _line("GPU memory free", _gigabytes(torch.cuda.mem_get_info(device)[0]))
    _line("disk free", f"{_gigabytes(shutil.disk_usage(Path.cwd()).free)} in {Path.cwd()}")
    if device.type == "cpu":
        # Some compilers know no OpenMP: whether there is one says less than whether it can do this.
        compiled = DecodeKernels.compiled(1, 1, 2 * LANES, (LANES,), torch.float32, silu)
        _line("C compiler", "used by local engines" if compiled else f"no `{COMPILER}` that does: decoding is slower")
    if recipe is None:
        print("Give a recipe to see whether its training fits: pacos doctor RECIPE")
        return True
    for role, table in (("teacher", recipe.teacher), ("judge", recipe.judge), *recipe.engines.items()):
        _line(role, _engine(table))
    fits = _tell_training(recipe, device)
    _tell_missing_files(recipe)
    return fits


def _tell_missing_files(recipe: Recipe) -> None:
    keys = (("generate", "seed_tasks"), ("train", "dataset"), ("evaluate", "instructions"), ("evaluate", "references"))
    for table, key in keys:
        path = recipe.table(table)[key]
        if path and not Path(path).is_file():
            print(f"missing: {table}.{key} {path}: no such file; put it there before the run, or check the path.")


def _engine(table: EngineTable) -> str:
    if table.engine == "local":
        return f"local, {resolve_model(table.path)}"
    if table.engine == "builtin":
        return "builtin, rule-based, needs nothing"
    # Whether there is a key, and never the key.
    name = table.api_key_env
    key = f"key in {name}" if os.environ.get(name) else f"no key: {name} is unset"
    return f"http, {table.model or 'no model named'} at {table.base_url or 'the default address'}, {key}"


def _tell_training(recipe: Recipe, device: torch.device) -> bool:
    free = torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else free_memory_bytes()
    known_by, config, devices = recipe.train.base, None, 1
    try:
        estimate = estimate_memory(recipe.train, device)
    except PacosError:
        published = published_config(recipe.train.base)
        if published is None:
            raise
        # Whether it would fit is asked before anything is fetched.
        known_by, config = f"{recipe.train.base} (not here yet; taken for {published[0]} by its name)", published[1]
        estimate = estimate_memory(recipe.train, device, config=config)
    if device.type == "cuda" and estimate.total > free:
        devices = torch.cuda.device_count()
        estimate = estimate_memory(recipe.train, device, devices, config)
    print(
        f"\ntraining {known_by}: {estimate.parameters:,} parameters in {estimate.precision} on {device.type}"
        f"{f', --gpus {devices}, each' if devices > 1 else ''} estimated"
    )
    for part, size in estimate.parts.items():
        _line(part, _gigabytes(size))
    _line("total", f"{_gigabytes(estimate.total)} of {_gigabytes(free)} free")
    _line("batch", f"{recipe.train.batch_size} examples a step, in rows of at most {estimate.row_tokens:,} tokens")
    disk_free = shutil.disk_usage(Path.cwd()).free
    _line("disk", f"{_gigabytes(estimate.disk)} of {_gigabytes(disk_free)} free, for checkpoints and the model")
    problems = _problems(estimate, free, disk_free)
    print("".join(f"does not fit: {problem}.\n" for problem in problems) or "fits.\n", end="")
    return not problems


def _problems(estimate: MemoryEstimate, free: int, disk_free: int) -> list[str]:
    problems = []
    if estimate.total > free:
        # What grows with the tokens in a row can be lowered by a key; the rest by another base, or by sharing it out.
        fixed = estimate.total - estimate.parts["activations"] - estimate.parts["logits"]
        lower, other = "lower train.max_length or train.row_tokens", "choose a smaller train.base, train.lora or --gpus"
        problems.append(f"{_gigabytes(estimate.total - free)} of memory too little; {lower if fixed < free else other}")
    if estimate.disk > disk_free:
        problems.append(f"{_gigabytes(estimate.disk - disk_free)} of disk too little; give --run another disk")
    return problems


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def _cores() -> int:
    # A container may be given fewer cores than the machine has.
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _gigabytes(size: int) -> str:
    return f"{size / 1e9:.2f} GB"


def _line(name: str, value: str) -> None:
    print(f"  {name:<16}{value}")
