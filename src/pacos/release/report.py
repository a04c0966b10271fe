"""release/report.json: what was made."""

from dataclasses import dataclass
from pathlib import Path

from pacos.core.reports import read_report


@dataclass(frozen=True)
class ReleaseReport:
    """Sizes in bytes; `weights_diff_bytes` is None where the base has no safetensors to compare with."""

    files: int
    bytes: int
    weights_bytes: int
    weights_diff_bytes: int | None
    seconds: float


def read(folder: Path) -> ReleaseReport:
    """The report in a finished release/; PacosError where it is none."""
    return read_report(ReleaseReport, folder)
