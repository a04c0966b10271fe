"""One GGUF file: its values and tensors, or one line that says what is wrong with it."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from gguf import GGUFReader, dequantize
from gguf.gguf_reader import ReaderTensor

from pacos.core.errors import PacosError

MAGIC = b"GGUF"
VALUES_AT_ONCE = 1 << 22
NOT_QUANTISED = ("F32", "F16", "F64")


@dataclass(frozen=True)
class GgufFile:
    """An open file; its tensors stay on disk until they are read."""

    path: Path
    values: dict[str, Any]
    tensors: dict[str, ReaderTensor]

    def wrong(self, what: str) -> PacosError:
        """The error for this file."""
        return PacosError(f"{self.path}: {what}")

    def value(self, name: str, kind: type, default: Any = None) -> Any:
        """The value of that name; PacosError where it is missing, without a default, of another kind, or a number that
        counts or measures nothing."""
        found = self.values.get(name, default)
        if found is None:
            raise self.wrong(f"no value {name} in it, which a model of its kind has; take another copy of the model.")
        if kind is float and isinstance(found, int):
            found = float(found)
        if not isinstance(found, kind):
            raise self.wrong(
                f"{name} is {str(found)[:40]!r}, expected {kind.__name__}; take another copy of the model."
            )
        if kind in (int, float) and not 0 < cast(float, found) < math.inf:
            raise self.wrong(f"{name} is {found}, expected a number above 0; take another copy of the model.")
        return found

    @property
    def dtype(self) -> torch.dtype:
        """bf16 where the file holds quantised or bf16 matrices, else fp32: its own numbers, bit for bit."""
        matrices = [tensor.tensor_type.name for tensor in self.tensors.values() if len(tensor.shape) > 1]
        return torch.float32 if all(name in NOT_QUANTISED for name in matrices) else torch.bfloat16

    def shape(self, name: str) -> tuple[int, ...]:
        """A tensor's shape as torch spells it: [out, in] of a matrix."""
        return tuple(int(size) for size in reversed(self.tensors[name].shape))

    def tensor(self, name: str) -> torch.Tensor:
        """A tensor: a vector in fp32, a matrix in the file's dtype; PacosError where it cannot be read."""
        tensor, shape = self.tensors[name], self.shape(name)
        whole = torch.empty(shape, dtype=self.dtype if len(shape) > 1 else torch.float32)
        # A large one is read in pieces, so that it never lies in memory as fp32 too.
        step = max(1, VALUES_AT_ONCE // shape[-1]) if len(shape) > 1 else len(tensor.data)
        for start in range(0, len(tensor.data), step):
            try:
                piece = dequantize(tensor.data[start : start + step], tensor.tensor_type)
            except NotImplementedError:
                what = f"{name} is quantised as {tensor.tensor_type.name}, which cannot be read"
                raise self.wrong(f"{what}; take the model in another quantisation, such as Q4_K_M or Q8_0.") from None
            if not np.isfinite(piece).all():
                raise self.wrong(f"{name} holds numbers that are not finite; take another copy of the model.")
            whole[start : start + step] = torch.from_numpy(np.array(piece))
        return whole


def open_gguf(path: Path) -> GgufFile:
    """Reads a file's values and the places of its tensors; PacosError where it is none, cut off, or too new."""
    try:
        with open(path, "rb") as file:
            magic = file.read(len(MAGIC))
    except OSError as error:
        raise PacosError(f"{path}: cannot be read ({error.strerror}); expected a GGUF file. Check the path.") from None
    if magic != MAGIC:
        raise PacosError(f"{path}: no GGUF file, it begins with {magic!r}; expected {MAGIC!r}. Check the path.")
    try:
        # A place beyond 64 bits is found out below, and not by a warning.
        with np.errstate(over="ignore"):
            reader = GGUFReader(path)
        values = {name: field.contents() for name, field in reader.fields.items()}
    except (ValueError, IndexError, KeyError, TypeError, OverflowError, MemoryError) as error:
        reason = " ".join(str(error).split())[:100]
        if "GGMLQuantizationType" in reason:
            what = f"a tensor's quantisation is not known ({reason}); take the model in another, such as Q4_K_M or Q8_0"
            raise PacosError(f"{path}: {what}.") from None
        size = path.stat().st_size
        raise PacosError(
            f"{path}: cut off or damaged, {size:,} bytes are not all of it ({reason}); download it again."
        ) from None
    _check_places(path, reader)
    return GgufFile(path, values, {tensor.name: tensor for tensor in reader.tensors})


def _check_places(path: Path, reader: GGUFReader) -> None:
    """PacosError where a tensor begins before the one before it has ended: its numbers would be another's."""
    end = reader.data_offset
    for tensor in sorted(reader.tensors, key=lambda tensor: tensor.data_offset):
        if tensor.data_offset < end or tensor.data_offset % reader.alignment:
            raise PacosError(
                f"{path}: {tensor.name} lies at byte {tensor.data_offset:,}, where the numbers of another are or none "
                "can begin; it is damaged, download it again."
            )
        end = tensor.data_offset + tensor.n_bytes
