"""A checkpoint folder's tensors as bytes in files: names, types and places, without loading any."""

import json
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from pathlib import Path

from huggingface_hub import snapshot_download
from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

from pacos.core.errors import PacosError
from pacos.core.files import read_json
from pacos.core.models import resolve_model
from pacos.release.bits import FLOATS

# A header is a few kilobytes for a small model and a few megabytes for the largest; more is a broken file.
MAX_HEADER_BYTES = 100_000_000


@dataclass(frozen=True)
class Tensor:
    """One tensor in a safetensors file; `start` and `end` are byte places in that file."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    file: Path
    start: int
    end: int

    @property
    def width(self) -> int:
        """Bytes a unit: an element's, or 1 where an element is no whole 1, 2, 4 or 8 bytes."""
        size, count = self.end - self.start, prod(self.shape)
        width = size // count if count else 1
        return width if width in (1, 2, 4, 8) and width * count == size else 1

    @property
    def num_units(self) -> int:
        """How many units the tensor has."""
        return (self.end - self.start) // self.width

    def read(self, first: int, last: int) -> bytes:
        """The raw bytes of units `first` to `last`, little-endian as stored; fewer where it has not so many."""
        first, last = min(first, self.num_units), min(last, self.num_units)
        with open(self.file, "rb") as file:
            file.seek(self.start + first * self.width)
            return file.read((last - first) * self.width)

    def lines_up_with(self, other: "Tensor") -> bool:
        """Whether unit i of both is the same place: shapes equal but for the number of rows, types equal or floats."""
        rows_alike = len(self.shape) == len(other.shape) and self.shape[1:] == other.shape[1:]
        return rows_alike and (self.dtype == other.dtype or {self.dtype, other.dtype} <= FLOATS.keys())


def local_folder(model: str) -> Path:
    """The folder of a checkpoint: a path as it is, a hub name from the cache or the hub; PacosError if neither."""
    path = resolve_model(model)
    if Path(path).is_dir():
        return Path(path)
    try:
        return Path(snapshot_download(path, allow_patterns=["*.safetensors", "*.json", "README.md"]))
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        reason = str(error).partition("\n")[0]
        raise PacosError(f"{model}: cannot be fetched from the hub ({reason}); give a checkpoint folder.") from None


def weight_files(folder: Path) -> list[Path]:
    """The safetensors files that make up the checkpoint, in order of name; PacosError where there is none."""
    index = folder / "model.safetensors.index.json"
    if index.exists():
        files = sorted({folder / name for name in read_json(index, "weights index")["weight_map"].values()})
    elif (folder / "model.safetensors").exists():
        files = [folder / "model.safetensors"]
    else:
        # Others beside a .bin are no part of the model: adapters, or another library's weights.
        files = sorted(folder.glob("model*.safetensors"))
    missing = [file for file in files if not file.exists()]
    if missing or not files:
        what = f"{missing[0].name} is missing" if missing else "no model.safetensors there"
        raise PacosError(
            f"{folder}: {what}; expected a checkpoint with its weights in safetensors. Convert others to that: load "
            "them with transformers and save_pretrained."
        )
    return files


def read_weight_file(file: Path) -> tuple[bytes, list[Tensor]]:
    """The file's header exactly as stored, its 8 length bytes included, and its tensors in the order of their bytes.

    Raises PacosError where the file is cut short or is no safetensors file.
    """
    with open(file, "rb") as opened:
        prefix = opened.read(8)
        size = struct.unpack("<Q", prefix)[0] if len(prefix) == 8 else MAX_HEADER_BYTES + 1
        header = prefix + (opened.read(size) if size <= MAX_HEADER_BYTES else b"")
    tensors = parse_header(header, file) if len(header) == 8 + size else []
    # The format allows no holes, so the places of its tensors must tile the file.
    ends = [len(header), *(tensor.end for tensor in tensors)]
    starts = [*(tensor.start for tensor in tensors), file.stat().st_size]
    if len(header) != 8 + size or starts != ends:
        raise PacosError(f"{file}: not a whole safetensors file. Fetch or make it again.")
    return header, tensors


def parse_header(header: bytes, file: Path) -> list[Tensor]:
    """The tensors of a header, in the order of their bytes; `file` is where they lie, or will."""
    try:
        entries = json.loads(header[8:])
        entries.pop("__metadata__", None)
        tensors = [
            Tensor(name, e["dtype"], tuple(e["shape"]), file, *(len(header) + at for at in e["data_offsets"]))
            for name, e in entries.items()
        ]
    except (ValueError, KeyError, TypeError, AttributeError):
        raise PacosError(f"{file}: its safetensors header cannot be read. Fetch or make it again.") from None
    return sorted(tensors, key=lambda tensor: (tensor.start, tensor.end))


def tensors_in(folder: Path) -> dict[str, Tensor]:
    """All tensors of a checkpoint folder by name."""
    return {tensor.name: tensor for file in weight_files(folder) for tensor in read_weight_file(file)[1]}


def blocks(num_units: int, block_units: int) -> Iterator[tuple[int, int]]:
    """(first, last) of consecutive blocks that cover `num_units`."""
    for first in range(0, num_units, block_units):
        yield first, min(first + block_units, num_units)
