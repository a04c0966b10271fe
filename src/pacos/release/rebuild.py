"""Rebuilds the student from its base and the weight difference, bit for bit, checking every hash on the way."""

import hashlib
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from pacos.core.errors import PacosError
from pacos.core.files import sha256_file, write_error
from pacos.core.progress import ProgressBar
from pacos.release.bits import convert, decode
from pacos.release.checksums import check_sums, copy_file, read_sums
from pacos.release.manifest import FileDiff, TensorDiff, read_manifest
from pacos.release.safetensors_files import Tensor, blocks, local_folder, parse_header, tensors_in


def rebuild(release_dir: Path, base: str, out: Path) -> None:
    """Makes checkpoint folder `out` from a release's weights_diff/ and the base, as train.base names it.

    The release's model/ is not needed. `out` appears only when every file in it has the hash that the release lists.
    Raises PacosError where the release is damaged, `base` is another base, or `out` exists.
    """
    if out.exists():
        raise PacosError(f"{out}: exists already, and nothing is overwritten; give --out another folder.")
    sums = read_sums(release_dir)
    if "weights_diff/manifest.json" not in sums:
        raise PacosError(f"{release_dir}: this release has no weights_diff/ to rebuild from. Use its model/ folder.")
    check_sums(release_dir, sums, may_be_missing="model/")
    manifest = read_manifest(release_dir / "weights_diff" / "manifest.json")
    if not any(tensor.base for file in manifest.files for tensor in file.tensors):
        raise PacosError(
            f"{release_dir}: its weights_diff/ holds whole weights and no difference, so any base would do. "
            "Use its model/ folder, or make the release anew."
        )
    source = Source(base, manifest.base, tensors_in(local_folder(base)))
    with _appearing(out) as made:
        for file in manifest.files:
            path = release_dir / "weights_diff" / f"{file.name}.diff"
            _rebuild_file(file, path, manifest.block_units, source, made / file.name)
        for name in manifest.copied:
            copy_file(release_dir / "weights_diff" / "files" / name, made / name)
        _check_result(made, sums, release_dir)
    print(f"rebuild: {out} is the student of {release_dir}, every file with its listed SHA-256")


class Source:
    """The base's tensors, and the line for a base that is another one."""

    def __init__(self, given: str, expected: str, tensors: dict[str, Tensor]) -> None:
        self.given, self.expected, self.tensors = given, expected, tensors

    def tensor(self, record: TensorDiff, wanted: Tensor) -> Tensor | None:
        """The base's part in `wanted`; None where it has none."""
        if record.base is None:
            return None
        base = self.tensors.get(record.base)
        if not base or not base.lines_up_with(wanted):
            raise self.another(f"its tensor {record.base} is missing or of another shape")
        return base

    def another(self, reason: str) -> PacosError:
        return PacosError(
            f"{self.given}: not the base of this release: {reason}. "
            f"Give --base the very checkpoint it was made from ({self.expected})."
        )


def _rebuild_file(file: FileDiff, path: Path, block_units: int, source: Source, target: Path) -> None:
    tensors = parse_header(file.header, target)
    if [tensor.name for tensor in tensors] != [record.name for record in file.tensors]:
        raise _damaged(path)
    with open(path, "rb") as packed, open(target, "wb") as out, ProgressBar("rebuild", len(tensors), "tensors") as bar:
        out.write(file.header)
        for tensor, record in zip(tensors, file.tensors, strict=True):
            _rebuild_tensor(tensor, record, block_units, source, packed, out)
            bar.advance()


def _rebuild_tensor(
    tensor: Tensor, record: TensorDiff, block_units: int, source: Source, packed: IO[bytes], out: IO[bytes]
) -> None:
    base = source.tensor(record, tensor)
    of_base, of_diff, of_result = hashlib.sha256(), hashlib.sha256(), hashlib.sha256()
    spans = list(blocks(tensor.num_units, block_units))
    if len(spans) != len(record.block_bytes):
        raise _damaged(Path(packed.name), tensor.name)
    for (first, last), size in zip(spans, record.block_bytes, strict=True):
        raw, piece = base.read(first, last) if base else b"", packed.read(size)
        of_base.update(raw)
        of_diff.update(piece)
        theirs = convert(raw, base.dtype, tensor.dtype) if base else b""
        try:
            ours = decode(piece, theirs, tensor.width, last - first)
        except ValueError:
            raise _damaged(Path(packed.name), tensor.name) from None
        of_result.update(ours)
        out.write(ours)
    if of_base.hexdigest() != record.base_sha256:
        raise source.another(f"its tensor {record.base} has another SHA-256")
    if (of_diff.hexdigest(), of_result.hexdigest()) != (record.diff_sha256, record.sha256):
        raise _damaged(Path(packed.name), tensor.name)


def _damaged(path: Path, tensor: str = "") -> PacosError:
    where = f" at tensor {tensor}" if tensor else ""
    return PacosError(f"{path}: damaged{where}: not what the manifest says. Fetch the release again.")


@contextmanager
def _appearing(out: Path) -> Iterator[Path]:
    """A folder that takes the name `out` only when its block ends well, and is removed otherwise."""
    partial = out.with_name(f".{out.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        partial.mkdir(parents=True)
        yield partial
        partial.rename(out)
    except OSError as error:
        raise write_error(out, error) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _check_result(made: Path, sums: dict[str, str], release_dir: Path) -> None:
    """The rebuilt folder must be model/ as SHA256SUMS lists it: no file more, none less, none other."""
    listed = {name.removeprefix("model/"): value for name, value in sums.items() if name.startswith("model/")}
    files = {path.relative_to(made).as_posix(): path for path in made.rglob("*") if path.is_file()}
    wrong = sorted(listed.keys() ^ files.keys()) or [name for name in files if sha256_file(files[name]) != listed[name]]
    if wrong:
        raise PacosError(f"{release_dir}/SHA256SUMS: model/{wrong[0]} was rebuilt otherwise. Fetch the release again.")
