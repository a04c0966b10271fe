"""SHA256SUMS, as `sha256sum -c` reads it, and copies that are hashed while they are made."""

import hashlib
import re
from collections.abc import Iterable
from pathlib import Path

from pacos.core.errors import PacosError
from pacos.core.files import atomic_open, read_text, sha256_file, write_text

PIECE_BYTES = 1 << 20
LINE = re.compile(r"([0-9a-f]{64})  (\S.*)")


def copy_file(source: Path, target: Path) -> str:
    """Copies a file, atomically, and returns its SHA-256."""
    digest = hashlib.sha256()
    with open(source, "rb") as file, atomic_open(target, "wb") as copy:
        while piece := file.read(PIECE_BYTES):
            digest.update(piece)
            copy.write(piece)
    return digest.hexdigest()


def write_sums(folder: Path, parts: Iterable[str]) -> None:
    """Writes SHA256SUMS over the named files and folders of `folder`."""
    paths = [folder / part for part in parts]
    files = sorted(f for path in paths for f in (path.rglob("*") if path.is_dir() else [path]) if f.is_file())
    lines = [f"{sha256_file(file)}  {file.relative_to(folder).as_posix()}\n" for file in files]
    write_text(folder / "SHA256SUMS", "".join(lines))


def read_sums(folder: Path) -> dict[str, str]:
    """SHA256SUMS of a release folder as path -> SHA-256; PacosError names the line that is not one."""
    path = folder / "SHA256SUMS"
    sums = {}
    for number, line in enumerate(read_text(path, "release's checksums").splitlines(), start=1):
        match = LINE.fullmatch(line)
        # Of two lines for one file, a reader of this dict would see one alone.
        if not match or match.group(2) in sums:
            raise PacosError(
                f"{path}:{number}: not a line of SHA256SUMS, or a second one for its file; the release is damaged. "
                "Fetch it again."
            )
        sums[match.group(2)] = match.group(1)
    return sums


def check_sums(folder: Path, sums: dict[str, str], may_be_missing: str) -> None:
    """Checks every listed file; those under `may_be_missing` are checked where they are there.

    Raises PacosError for the first that is missing or differs.
    """
    for name, expected in sums.items():
        path = folder / name
        if not path.is_file():
            if name.startswith(may_be_missing):
                continue
            raise PacosError(f"{path}: missing, though SHA256SUMS lists it. Fetch the release again.")
        if sha256_file(path) != expected:
            raise PacosError(f"{path}: its SHA-256 is not the one in SHA256SUMS; it is damaged. Fetch it again.")
