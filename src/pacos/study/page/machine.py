"""The machine and the software a page is written on."""

import os
import platform
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pacos

PACKAGES = ("torch", "transformers", "tokenizers", "numpy")


@dataclass(frozen=True)
class Machine:
    """Processor, cores this process may use, bytes of memory, and versions by name."""

    processor: str
    cores: int
    memory_bytes: int
    system: str
    versions: dict[str, str]


def machine() -> Machine:
    """What this process runs on."""
    return Machine(
        processor=_processor(),
        cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        memory_bytes=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        system=f"{platform.system()} {platform.machine()}",
        versions={
            "pacos": pacos.__version__,
            "Python": platform.python_version(),
            **{name: found for name in PACKAGES if (found := _version(name))},
        },
    )


def _processor() -> str:
    # Linux tells the model's name only here; elsewhere platform knows what there is to know.
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines() if cpuinfo.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return next(iter(names), "") or platform.processor() or platform.machine() or "unknown"


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""
