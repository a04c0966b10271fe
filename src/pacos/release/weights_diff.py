"""Writes the weight difference: what, added to the base's bits, gives the student's files byte for byte."""

import base64
import hashlib
from pathlib import Path
from typing import IO

from pacos.core.errors import PacosError
from pacos.core.files import atomic_open
from pacos.core.progress import ProgressBar
from pacos.release.bits import convert, encode
from pacos.release.checksums import copy_file
from pacos.release.counterparts import counterparts, share
from pacos.release.manifest import FORMAT, FileDiff, Manifest, TensorDiff
from pacos.release.safetensors_files import Tensor, blocks, read_weight_file, tensors_in, weight_files

BLOCK_UNITS = 1 << 22
# Where the base has a counterpart for no more of the student's bytes, what is stored is a model and no difference.
LEAST_SHARE = 0.5


def write_weights_diff(base: Path, base_name: str, student: Path, folder: Path) -> float:
    """Fills `folder` with the difference from checkpoint folder `base` to `student`; `base_name` is for the reader.

    Reads both block by block, so memory stays at some hundred megabytes whatever the model. All other files of the
    student's folder are copied beside the difference: with the base, it is a whole model. Returns the part of the
    student's bytes that the base has nothing for, which is stored whole. PacosError where that is most of them.
    """
    theirs, ours, weights = tensors_in(base), tensors_in(student), weight_files(student)
    bases = counterparts(ours, student, theirs, base)
    matched = share(bases, ours)
    if matched <= LEAST_SHARE:
        raise PacosError(
            f"{base_name}: {len(bases)} of the student's {len(ours)} tensors, {matched:.0%} of its bytes, have a "
            "counterpart there by name and shape, so the student was not made from it and there is no difference. "
            "Give train.base the checkpoint that was trained."
        )
    with ProgressBar("weights difference", len(ours), "tensors") as bar:
        files = [_write_file(file, bases, folder / f"{file.name}.diff", bar) for file in weights]
    others = sorted(path for path in student.rglob("*") if path.is_file() and path not in weights)
    copied = {}
    for path in others:
        name = path.relative_to(student).as_posix()
        copied[name] = copy_file(path, folder / "files" / name)
    Manifest(FORMAT, base_name, BLOCK_UNITS, files, copied).write(folder / "manifest.json")
    return 1 - matched


def _write_file(file: Path, bases: dict[str, Tensor], path: Path, bar: ProgressBar) -> FileDiff:
    header, tensors = read_weight_file(file)
    differences = []
    with atomic_open(path, "wb") as out:
        for tensor in tensors:
            differences.append(_write_tensor(tensor, bases.get(tensor.name), out))
            bar.advance()
    return FileDiff(file.name, base64.b64encode(header).decode(), differences)


def _write_tensor(tensor: Tensor, base: Tensor | None, out: IO[bytes]) -> TensorDiff:
    of_base, of_diff, of_student = hashlib.sha256(), hashlib.sha256(), hashlib.sha256()
    sizes = []
    for first, last in blocks(tensor.num_units, BLOCK_UNITS):
        ours, raw = tensor.read(first, last), base.read(first, last) if base else b""
        packed = encode(ours, convert(raw, base.dtype, tensor.dtype) if base else b"", tensor.width)
        out.write(packed)
        of_base.update(raw)
        of_diff.update(packed)
        of_student.update(ours)
        sizes.append(len(packed))
    hashes = (of_base.hexdigest(), sizes, of_diff.hexdigest(), of_student.hexdigest())
    return TensorDiff(tensor.name, base.name if base else None, *hashes)
