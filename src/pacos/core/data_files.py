"""One reader for files of records: what a file is, is told by what it holds and never by its name."""

import csv
import io
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pacos.core.errors import PacosError
from pacos.core.files import read_bytes
from pacos.core.unpacking import unpack

# Keys that tell a record from what wraps records, and the header of a table from any other line.
RECORD_KEYS = frozenset(
    (
        "instruction", "output", "conversations", "messages", "instances", "history", "prompt", "completion",
        "question", "answer", "response", "text", "chosen", "rejected", "question_id",
    )
)  # fmt: skip
EXPECTED = "expected JSON, JSON Lines, CSV or Parquet"
# What is known by how it begins and is not read, and what to do with it.
FOREIGN = {
    b"\x28\xb5\x2f\xfd": "is packed with zstd; unpack it with `zstd -d`",
    b"version https://git-lfs": "is a Git LFS pointer, not the file; fetch the file with `git lfs pull`",
    b"SQLite format 3\0": "is an SQLite database; export the table as CSV",
    b"\x89HDF": "is an HDF5 file; save its table as Parquet or JSON Lines",
    b"ORC": "is an ORC file; save its table as Parquet or JSON Lines",
    b"7z\xbc\xaf": "is a 7z archive; unpack it",
    b"%PDF": "is a PDF",
    b"\x80": "is binary, perhaps a pickle; save what it holds as JSON Lines",
}
MOST_SHOWN = 60
_WEB_PAGE = re.compile(r"<(!doctype|html|\?xml)", re.I)
_LINE_END = re.compile(r"\r\n|\n|\r")
_SPACE = re.compile(r"[\s,]*")


@dataclass(frozen=True, slots=True)
class Number:
    """A JSON number as it is spelt, so that 1.50 stays 1.50 where it is read as text."""

    literal: str

    def __str__(self) -> str:
        return self.literal


class Doubled(dict[str, Any]):
    """A JSON object that gives the key `twice` two values; it holds the last."""

    def __init__(self, pairs: list[tuple[str, Any]], twice: str) -> None:
        super().__init__(pairs)
        self.twice = twice


@dataclass(frozen=True)
class DataFile:
    """The values of a file, and what in it is none; numbers count lines or records from 1."""

    form: str
    """Such as "JSON Lines, gzip"."""
    unit: Literal["line", "record"]
    values: list[tuple[int, Any]]
    broken: list[tuple[int, str]]
    """Numbers, and why no value could be read there."""


def read_data_file(path: Path, what: str) -> DataFile:
    """Reads JSON, JSON Lines, CSV (comma, tab or semicolon), Parquet or Arrow, packed by gzip, bzip2, xz or zip or not.

    JSON numbers come as `Number` and NaN as None. A list may stand inside one object, lines may be blank or end in a
    comma, text may be UTF-8, UTF-16 or UTF-32. Raises PacosError, in one line, for what is none of these.
    """
    content, packed = unpack(path, read_bytes(path, what))
    for begins, advice in FOREIGN.items():
        if content.startswith(begins):
            raise PacosError(f"{path}: {advice}; {EXPECTED}.")
    if content[:4] == b"PAR1" or content[:6] == b"ARROW1" or content[:4] == b"\xff\xff\xff\xff":
        read = _columns(path, content)
    else:
        read = _text_file(path, _decoded(path, content), what)
    return DataFile(", ".join((read.form, *packed)), read.unit, read.values, read.broken)


def _columns(path: Path, content: bytes) -> DataFile:
    """A Parquet file's rows, or an Arrow file's or stream's."""
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise PacosError(
            f"{path}: is a Parquet or Arrow file, which needs pyarrow; pip install 'pacos[parquet]', or save it as "
            "JSON Lines."
        ) from None
    try:
        if content.startswith(b"PAR1"):
            form, table = "Parquet", pyarrow.parquet.read_table(pyarrow.BufferReader(content))
        else:
            opened = pyarrow.ipc.open_file if content.startswith(b"ARROW1") else pyarrow.ipc.open_stream
            form, table = "Arrow", opened(pyarrow.BufferReader(content)).read_all()
    except (pyarrow.ArrowException, OSError, ValueError, TypeError) as error:
        raise PacosError(
            f"{path}: begins as a Parquet or Arrow file does and cannot be read ({' '.join(str(error).split())[:80]}); "
            "it may have been cut. Fetch it again."
        ) from None
    names = list(map(str, table.column_names))
    _check_names(f"{path}", names)
    columns = []
    for name, column in zip(names, table.columns, strict=True):
        try:
            columns.append(column.to_pylist())
        except (pyarrow.ArrowException, ValueError, OverflowError) as error:
            reason = " ".join(str(error).split())[:80]
            raise PacosError(f"{path}: its column {shown(name)} cannot be read ({reason}); remove it.") from None
    rows = [dict(zip(names, cells, strict=True)) for cells in zip(*columns, strict=True)]
    return DataFile(form, "record", list(enumerate(rows, start=1)), [])


def _check_names(where: str, names: list[str]) -> None:
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise PacosError(f"{where}: two columns are named {shown(twice[0])!r}; rename or remove one.")


def _decoded(path: Path, content: bytes) -> str:
    # Told by the byte order mark, or by where the NULs of the first characters stand, as RFC 4627 has it.
    encoding = json.detect_encoding(content)
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise PacosError(
            f"{path}:{line}: byte {error.start} of the file is not {encoding.upper().removesuffix('-SIG')}, which its "
            f"beginning promises; {EXPECTED}. Convert a text by `iconv -f WINDOWS-1252 -t UTF-8 FILE > NEW`, with the "
            "encoding that it has."
        ) from None
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise PacosError(f"{path}:{line}: holds a NUL, which no text does; {EXPECTED}.")
    return text


def _text_file(path: Path, text: str, what: str) -> DataFile:
    start = len(text) - len(text.lstrip())
    first = text[start : start + 1]
    if not first:
        raise PacosError(f"{path}: the {what} is empty; expected at least one record.")
    if first in "[{":
        return _json_file(path, text, start)
    if _WEB_PAGE.match(text, start):
        raise PacosError(f"{path}: is a web page or XML; {EXPECTED}. Download the file itself, not the page about it.")
    header = _LINE_END.split(text[start : start + 100_000], maxsplit=1)[0]
    for delimiter in ",\t;|":
        names = [name.strip() for name in next(csv.reader([header], delimiter=delimiter), [])]
        if RECORD_KEYS.intersection(names):
            return _table(path, text[start:], text.count("\n", 0, start), delimiter)
    if len(lines := list(filter(str.strip, _LINE_END.split(text)))) > 1 and lines[1].lstrip()[:1] == "{":
        return _json_file(path, text, start)
    raise PacosError(
        f"{path}: begins with {header[:40]!r}, neither JSON nor the header of a table with such columns as instruction "
        f"and output; {EXPECTED}. Convert it to JSON Lines: an object with instruction, input, output a line."
    )


def _table(path: Path, text: str, lines_before: int, delimiter: str) -> DataFile:
    # A cell may be longer than the module's own limit.
    csv.field_size_limit(2**31 - 1)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    values: list[tuple[int, Any]] = []
    broken = []
    try:
        names = [name.strip() for name in next(reader)]
        _check_names(f"{path}:{lines_before + 1}", names)
        first = reader.line_num + 1
        for cells in reader:
            number, first = lines_before + first, reader.line_num + 1
            if len(cells) == len(names):
                values.append((number, dict(zip(names, cells, strict=True))))
            elif cells:
                broken.append((number, f"has {len(cells)} cells where the header has {len(names)}"))
    except csv.Error as error:
        raise PacosError(
            f"{path}:{lines_before + reader.line_num}: no table can be read here ({error}); a quote inside a cell is "
            "written twice, and each cell's own are closed. Mend it, or save it as JSON Lines."
        ) from None
    return DataFile({",": "CSV", "\t": "TSV"}.get(delimiter, f"CSV by {delimiter}"), "line", values, broken)


def _constant(name: str) -> Number | None:
    # pandas writes NaN for what is missing.
    return None if name == "NaN" else Number(name)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    # The same value twice says the same.
    twice = len(value) < len(pairs) and next((key for key, each in pairs if value[key] != each), None)
    return value if twice in (None, False) else Doubled(pairs, str(twice))


# Control characters inside texts are read as they are.
_DECODER = json.JSONDecoder(
    parse_int=Number, parse_float=Number, parse_constant=_constant, object_pairs_hook=_object, strict=False
)


def parse_json(text: str) -> Any:
    """One JSON value, a comma after it left aside; ValueError says what is wrong, for one nested too deep too."""
    try:
        return _DECODER.decode(text.strip().rstrip(",").rstrip())
    except RecursionError:
        raise ValueError("nested too deep") from None


def _json_file(path: Path, text: str, start: int) -> DataFile:
    try:
        value, end = _DECODER.raw_decode(text, start)
    except (ValueError, RecursionError) as error:
        failure: Exception | None = error
    else:
        if not text[end:].strip(", \t\r\n"):
            return _one_value(path, value)
        failure = None
    if text[start] == "[" and (listed := _listed(text, start + 1)) is not None:
        return DataFile("JSON", "record", list(enumerate(listed, start=1)), [])
    values, broken = [], []
    for number, line in enumerate(_LINE_END.split(text), start=1):
        if line.strip(", \t"):
            try:
                values.append((number, parse_json(line)))
            except ValueError as error:
                broken.append((number, f"is not JSON ({_reason(error)})"))
    if len(values) >= len(broken) and (not broken or text[start] != "["):
        return DataFile("JSON Lines", "line", values, broken)
    if text[start] == "{" and (stream := _stream(text, start)) is not None:
        return DataFile("JSON objects in a row", "record", list(enumerate(stream, start=1)), [])
    line = failure.lineno if isinstance(failure, json.JSONDecodeError) else broken[0][0] if broken else 1
    what = f"is not JSON ({_reason(failure)})" if failure else broken[0][1]
    raise PacosError(f"{path}:{line}: {what}; {EXPECTED}. Where it was cut, fetch it again, else mend that line.")


def _reason(error: Exception) -> str:
    if isinstance(error, json.JSONDecodeError):
        return f"{error.msg}, column {error.colno}"
    return "nested too deep" if isinstance(error, RecursionError) else str(error)


def _listed(text: str, at: int) -> list[Any] | None:
    """The elements of a list that has a comma too many after its last; None where more is wrong."""
    listed: list[Any] = []
    while True:
        at = _space_end(text, at)
        if text[at : at + 1] == "]":
            return listed if not text[at + 1 :].strip(", \t\r\n") else None
        try:
            value, at = _DECODER.raw_decode(text, at)
        except (ValueError, RecursionError):
            return None
        listed.append(value)


def _stream(text: str, at: int) -> list[Any] | None:
    values = []
    while (at := _space_end(text, at)) < len(text):
        try:
            value, at = _DECODER.raw_decode(text, at)
        except (ValueError, RecursionError):
            return None
        values.append(value)
    return values


def _space_end(text: str, at: int) -> int:
    matched = _SPACE.match(text, at)
    return matched.end() if matched else at


def _one_value(path: Path, value: Any) -> DataFile:
    """A list's elements, one record alone, or the one list of records inside an object."""
    if isinstance(value, list):
        return DataFile("JSON", "record", list(enumerate(value, start=1)), [])
    if isinstance(value, Doubled):
        raise PacosError(f"{path}: has two values for {shown(value.twice)!r}; rename or remove one.")
    by_column = [key for key in RECORD_KEYS & value.keys() if key in ("instruction", "output", "input")]
    if by_column and all(isinstance(value[key], list | dict) for key in by_column):
        raise PacosError(
            f"{path}: holds a table column by column ('{by_column[0]}' holds all of its values); expected "
            "an object a record. With pandas: pandas.read_json(FILE).to_json(NEW, orient='records', lines=True)."
        )
    lists = {key: each for key, each in value.items() if isinstance(each, list) and _are_records(each)}
    if len(lists) == 1 and not _is_whole(value):
        ((name, records),) = lists.items()
        return DataFile(f"JSON, the list '{shown(name)}'", "record", list(enumerate(records, start=1)), [])
    if RECORD_KEYS & value.keys():
        return DataFile("JSON", "record", [(1, value)], [])
    what = f"lists of records under {', '.join(map(repr, map(shown, lists)))}" if lists else "no list of records"
    raise PacosError(
        f"{path}: holds one JSON object with {what} (its keys: {', '.join(map(shown, list(value)[:6])) or 'none'}); "
        "expected a list of objects with instruction, input, output. Save that list as a file of its own."
    )


def _is_whole(value: dict[str, Any]) -> bool:
    """Whether an object is a record whatever lists of others it holds besides."""
    is_task = "instruction" in value and ("output" in value or "instances" in value)
    said = [each for key in ("messages", "conversations") if isinstance(each := value.get(key), list)]
    return is_task or any(isinstance(turn, dict) and {"role", "from"} & turn.keys() for turns in said for turn in turns)


def _are_records(values: list[Any]) -> bool:
    # Turns of a conversation are objects too, and have none of a record's keys.
    objects = [each for each in values if isinstance(each, dict)]
    return any(RECORD_KEYS.intersection(each) and not ({"role", "from"} & each.keys()) for each in objects)


def shown(text: object) -> str:
    """A name out of a file as a line can hold it: cut where it is long, and what is not printed spelt."""
    text = str(text)
    return spelt(text if len(text) <= MOST_SHOWN else text[: MOST_SHOWN - 1] + "…")


def spelt(text: str) -> str:
    """A text as a terminal's line can hold it: what is not printed is spelt."""
    return "".join(sign if sign.isprintable() else sign.encode("unicode_escape").decode() for sign in text)


def kind(value: Any) -> str:
    """What a JSON value is called."""
    if isinstance(value, dict):
        return "object"
    if value is None:
        return "null"
    names = {list: "list", str: "text", bool: "true/false", Number: "number", int: "number"}
    return names.get(type(value), "number" if isinstance(value, float) else type(value).__name__)
