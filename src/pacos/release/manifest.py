"""The manifest of a weight difference: what lies in weights_diff/ and which hashes everything must have."""

import base64
import binascii
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from pacos.core.errors import PacosError
from pacos.core.files import read_json, write_json

FORMAT = "pacos weights difference, version 1"


@dataclass(frozen=True)
class TensorDiff:
    """One tensor's difference; its compressed blocks follow one another in the file's .diff.

    `base` names the base's tensor, converted to the student's type first and taken to go on in zeros where the student
    has more rows; None where the whole tensor is stored. The hashes are SHA-256: of the base's bytes that are used,
    as stored, of the compressed bytes, and of the student's bytes.
    """

    name: str
    base: str | None
    base_sha256: str
    block_bytes: list[int]
    diff_sha256: str
    sha256: str


@dataclass(frozen=True)
class FileDiff:
    """One weight file: its safetensors header as it is, and its tensors in the order of their bytes."""

    name: str
    header_base64: str
    tensors: list[TensorDiff]

    @property
    def header(self) -> bytes:
        """The header's bytes, length prefix included."""
        return base64.b64decode(self.header_base64, validate=True)


@dataclass(frozen=True)
class Manifest:
    """All of weights_diff/: `block_units` are the elements a block, `copied` the other files' SHA-256 by name."""

    format: str
    base: str
    block_units: int
    files: list[FileDiff]
    copied: dict[str, str]

    def write(self, path: Path) -> None:
        """Writes manifest.json."""
        write_json(path, asdict(self))


def read_manifest(path: Path) -> Manifest:
    """Reads manifest.json; PacosError where it is damaged, of another version, or names files outside its folder."""
    value = read_json(path, "manifest of the weight difference")
    if not isinstance(value, dict) or value.get("format") != FORMAT:
        raise PacosError(f"{path}: not in the format '{FORMAT}'; this pacos cannot read it. Use the one that made it.")
    try:
        files = [_file(entry) for entry in value["files"]]
        manifest = Manifest(**{**value, "files": files})
        names = [*(file.name for file in files), *manifest.copied]
        paths = [PurePosixPath(name) for name in names]
    except (KeyError, TypeError, AttributeError, binascii.Error):
        raise PacosError(f"{path}: the manifest is damaged. Fetch the release again.") from None
    for name, inside in zip(names, paths, strict=True):
        # A release may come from anyone: its names must not lead out of the folder that is being made.
        if inside.is_absolute() or ".." in inside.parts:
            raise PacosError(f"{path}: holds the file name {name!r}, which leads out of its folder; refused.")
    return manifest


def _file(entry: dict[str, Any]) -> FileDiff:
    file = FileDiff(**{**entry, "tensors": [TensorDiff(**tensor) for tensor in entry["tensors"]]})
    base64.b64decode(file.header_base64, validate=True)
    return file
