"""Rows of a source, one by one: what cannot be read is listed with its place, and the others are read on."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from pacos.core.data_files import Number, read_data_file
from pacos.core.typed import MisfitError
from pacos.evaluate.formats.votes import Reading


def rows_of(path: Path, what: str, reading: Reading) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each object of the file with its place; what is none goes to the reading's unreadable."""
    data = read_data_file(path, what)
    reading.unreadable += [f"{path}:{number}: {reason}" for number, reason in data.broken]
    for number, row in data.values:
        where = f"{path}:{number}" if data.unit == "line" else f"{path}: record {number}"
        if isinstance(row, dict):
            yield where, row
        else:
            reading.unreadable.append(f"{where}: is no object")


def text_of(row: Mapping[str, Any], key: str) -> str:
    """The text under the key; MisfitError where there is none."""
    value = row.get(key)
    if not isinstance(value, str) or not value:
        raise MisfitError(f"has no text for {key}" if key in row else f"has no {key}")
    return value


def number_of(row: Mapping[str, Any], key: str, otherwise: str = "") -> str:
    """A number or a name under the key, as it is spelt."""
    value = row.get(key, otherwise)
    if not isinstance(value, str | int | Number) or not str(value):
        raise MisfitError(f"has no {key}")
    return str(value)


def file_name(name: str) -> str:
    """A model's or a voter's name as the name of a file or folder; `urllib.parse.unquote` gives it back."""
    return quote(name, safe=" :+@,()") if name.strip(".") else name.replace(".", "%2E")
