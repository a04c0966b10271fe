"""A file's rows one after the other, of JSON Lines, one JSON array or CSV, however large the file is."""

import codecs
import csv
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from pacos.core.data_files import FOREIGN
from pacos.core.errors import PacosError
from pacos.judging.linear_regex import encodable

# Nothing that a person or a model wrote is longer.
LONGEST = 64 * 2**20
_CHUNK = 2**16
# Any of these makes a first line the header of a table.
_HEADER = {"conversation_id", "prompt", "answer"}
_BETWEEN = re.compile(r"[\s,]*")
READS = (
    "import reads garak's report.jsonl and hitlog.jsonl, PyRIT's SQLite memory and its prompt entries as JSON or CSV, "
    "the review page's export, and JSON Lines with prompt, answer and verdict"
)
SQLITE = b"SQLite format 3\0"


@dataclass(frozen=True)
class FileRow:
    """One object of a file; `where` is the file and its line or record."""

    where: str
    number: int
    values: dict[str, Any]

    def misfit(self, expected: str) -> PacosError:
        """The line for a row that is not what its file's other rows are."""
        return PacosError(f"{self.where}: expected {expected}. Mend or remove it; nothing of this file was imported.")

    def text(self, key: str) -> str:
        """The text at `key`, "" where there is none; PacosError where it is something else."""
        value = self.values.get(key)
        if value is None:
            return ""
        if not isinstance(value, str):
            raise self.misfit(f"a text in {key!r}")
        return value


def beginning(path: Path) -> bytes:
    """How the file begins; PacosError where it cannot be read, is empty, packed or binary."""
    try:
        if path.exists() and not path.is_file():
            raise PacosError(f"{path}: is no file; {READS}. Give a file.")
        with open(path, "rb") as file:
            start = file.read(_CHUNK)
    except FileNotFoundError:
        raise PacosError(f"{path}: no such file; {READS}. Check the path.") from None
    except ValueError:
        raise PacosError(f"{str(path)!r}: no path can hold a NUL; {READS}. Check the path.") from None
    except OSError as error:
        raise PacosError(f"{path}: cannot be read ({error.strerror}).") from None
    if start.startswith(SQLITE):
        return start
    for begins, advice in {**FOREIGN, b"\x1f\x8b": "is packed with gzip; unpack it with `gunzip`"}.items():
        if start.startswith(begins):
            raise PacosError(f"{path}: {advice}; {READS}.")
    if b"\0" in start:
        raise PacosError(f"{path}: is binary; {READS}.")
    if not start.strip():
        raise PacosError(f"{path}: is empty; {READS}.")
    return start.removeprefix(codecs.BOM_UTF8)


class FileRows:
    """A file's rows, read as they are asked for. `is_cut` is true once the last line of JSON Lines was found cut.

    Raises PacosError, naming line or record, where one is no JSON object, is no UTF-8, or is longer than 64 MiB.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.is_cut = path, False
        self._begins = beginning(path).lstrip()[:1]

    def __iter__(self) -> Iterator[FileRow]:
        if self._begins == b"[":
            return _array(self.path)
        return self._lines() if self._begins == b"{" else _table(self.path)

    def _lines(self) -> Iterator[FileRow]:
        with open(self.path, "rb") as file:
            number = 0
            while line := file.readline(LONGEST + 1):
                number += 1
                where = f"{self.path}:{number}"
                if len(line) > LONGEST:
                    raise PacosError(f"{where}: longer than 64 MiB; expected one JSON object a line.")
                if not line.strip():
                    continue
                try:
                    row = _row(where, number, line.removeprefix(codecs.BOM_UTF8) if number == 1 else line)
                except PacosError:
                    # A program that was killed while it wrote leaves no end of line.
                    if line.endswith(b"\n") or number == 1:
                        raise
                    self.is_cut = True
                    return
                yield row


def parse(text: str) -> Any:
    """A JSON value without lone surrogates, which no database takes; ValueError where it is none."""
    try:
        value = json.loads(text)
    except RecursionError:
        raise ValueError("nested too deep") from None
    return _clean(value) if "\\ud" in text or "\\uD" in text else value


def _row(where: str, number: int, line: bytes) -> FileRow:
    try:
        value = parse(line.decode())
    except ValueError as error:
        why = f"column {error.colno}: {error.msg}" if isinstance(error, json.JSONDecodeError) else str(error)[:80]
        raise PacosError(
            f"{where}: is not JSON ({why}); expected one JSON object a line. Mend or remove that line; nothing of this "
            "file was imported."
        ) from None
    return _object(where, number, value)


def _object(where: str, number: int, value: Any) -> FileRow:
    if not isinstance(value, dict):
        raise PacosError(f"{where}: expected a JSON object. Mend or remove it; nothing of this file was imported.")
    return FileRow(where, number, value)


def _array(path: Path) -> Iterator[FileRow]:
    """The objects of one JSON array, with no more than the one at hand in memory."""
    decoder, number, at, wanted = json.JSONDecoder(), 0, 0, _CHUNK
    with open(path, encoding="utf-8-sig") as file:
        buffer = _more(path, file, wanted)
        at = buffer.index("[") + 1
        while True:
            at = _BETWEEN.match(buffer, at).end()  # type: ignore[union-attr]
            if buffer.startswith("]", at):
                return
            try:
                value, end = decoder.raw_decode(buffer, at)
            except (ValueError, RecursionError):
                more = _more(path, file, wanted)
                if not more or len(buffer) - at > LONGEST:
                    raise PacosError(
                        f"{path}: record {number + 1} is cut, or is not JSON; expected one array of JSON objects. "
                        "Export it again; nothing of this file was imported."
                    ) from None
                buffer, at, wanted = buffer[at:] + more, 0, 2 * wanted
                continue
            number, at, wanted = number + 1, end, _CHUNK
            yield _object(f"{path}: record {number}", number, _clean(value))


def _more(path: Path, file: IO[str], wanted: int) -> str:
    try:
        return file.read(wanted)
    except UnicodeDecodeError:
        raise PacosError(f"{path}: is not UTF-8; {READS}.") from None


def _table(path: Path) -> Iterator[FileRow]:
    csv.field_size_limit(LONGEST)
    with open(path, encoding="utf-8-sig", newline="") as file:
        reader = csv.reader(file, strict=True)
        try:
            names = next(reader)
            if not _HEADER & set(names) or len(set(names)) < len(names):
                raise PacosError(f"{path}: begins with neither JSON nor a header that is known; {READS}.")
            for cells in reader:
                where = f"{path}:{reader.line_num}"
                if len(cells) != len(names):
                    raise PacosError(
                        f"{where}: {len(cells)} cells, but the header has {len(names)}. Mend or remove that row; "
                        "nothing of this file was imported."
                    )
                yield FileRow(where, reader.line_num, dict(zip(names, cells, strict=True)))
        except UnicodeDecodeError:
            raise PacosError(f"{path}: is not UTF-8; {READS}.") from None
        except csv.Error as error:
            raise PacosError(f"{path}:{reader.line_num}: is no row of a CSV table ({error}); {READS}.") from None


def _clean(value: Any) -> Any:
    if isinstance(value, str):
        return encodable(value)
    if isinstance(value, list):
        return [_clean(each) for each in value]
    if isinstance(value, dict):
        return {encodable(key): _clean(each) for key, each in value.items()}
    return value
