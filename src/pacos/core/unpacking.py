"""What is packed by gzip, bzip2, xz or zip, unpacked within bounds."""

import bz2
import gzip
import io
import lzma
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import IO

from pacos.core.errors import PacosError
from pacos.core.free_memory import free_memory_bytes

DEEPEST = 4
# Texts pack into a tenth, and tables that say little into a fiftieth; a few kilobytes of nothing unpack to gigabytes.
MOST_TIMES, ALWAYS_ALLOWED = 200, 64 * 2**20


def unpack(path: Path, content: bytes) -> tuple[bytes, list[str]]:
    """What a file's content holds, and by what it was packed; the content itself where it is not packed.

    Raises PacosError where it is damaged, or holds more than 64 MiB plus 200 times its size, or than half of the memory
    that is free.
    """
    most = min(ALWAYS_ALLOWED + MOST_TIMES * len(content), free_memory_bytes() // 2)
    packed: list[str] = []
    while packer := next((each for each in _PACKERS if content.startswith(each)), None):
        name, opened = _PACKERS[packer]
        try:
            with opened(io.BytesIO(content)) as file:
                content = file.read(most + 1)
        except _ManyFilesError as many:
            raise PacosError(f"{path}: {many}") from None
        except (OSError, EOFError, ValueError, RuntimeError, zlib.error, lzma.LZMAError, zipfile.BadZipFile) as error:
            reason = " ".join(str(error).split())[:80]
            raise PacosError(
                f"{path}: packed, but cannot be unpacked ({reason}); it may have been cut or locked. Fetch it again, "
                "or unpack it yourself."
            ) from None
        if len(content) > most:
            raise PacosError(
                f"{path}: unpacks to more than {most:,} bytes, which no file of records of its size does or this "
                "machine has no room for; unpack it yourself, and look at what it holds."
            )
        packed.append(name)
        if len(packed) == DEEPEST:
            raise PacosError(f"{path}: is packed {DEEPEST} times over; unpack it.")
    return content, packed


class _ManyFilesError(Exception):
    """An archive of several files."""


def _only_member(file: io.BytesIO) -> IO[bytes]:
    archive = zipfile.ZipFile(file)
    inside = [name for name in archive.namelist() if not name.endswith("/") and not name.startswith("__MACOSX/")]
    if len(inside) != 1:
        shown = ", ".join(inside[:4]) + (", …" if len(inside) > 4 else "")
        raise _ManyFilesError(
            f"is a zip archive of {len(inside)} files ({shown}); expected one file of records. Unpack it and name that "
            "file; of a spreadsheet, save the sheet as CSV."
        )
    return archive.open(inside[0])


_PACKERS: dict[bytes, tuple[str, Callable[[io.BytesIO], IO[bytes] | gzip.GzipFile]]] = {
    b"\x1f\x8b": ("gzip", lambda file: gzip.GzipFile(fileobj=file)),
    b"BZh": ("bzip2", bz2.BZ2File),
    b"\xfd7zXZ\0": ("xz", lzma.LZMAFile),
    b"PK\x03\x04": ("zip", _only_member),
}
