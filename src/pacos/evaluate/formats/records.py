"""Rows of a source, one by one: what cannot be read is listed with its place, and the others are read on."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from pacos.core.data_files import Number, read_data_file
from pacos.core.record_shapes import check_doubled
from pacos.core.typed import MisfitError, check_whole
from pacos.evaluate.formats.votes import Reading

# As a file's, which may have 255 bytes in all.
LONGEST_NAME = 200


def rows_of(path: Path, what: str, reading: Reading) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each object of the file with its place; what is none goes to the reading's unreadable."""
    data = read_data_file(path, what)
    reading.unreadable += [f"{path}:{number}: {reason}" for number, reason in data.broken]
    for number, row in data.values:
        where = f"{path}:{number}" if data.unit == "line" else f"{path}: record {number}"
        if not isinstance(row, dict):
            reading.unreadable.append(f"{where}: is no object")
            continue
        try:
            check_doubled(row)
        except MisfitError as misfit:
            reading.unreadable.append(f"{where}: {misfit}")
            continue
        yield where, row


def text_of(row: Mapping[str, Any], key: str) -> str:
    """The text under the key; MisfitError where there is none."""
    value = row.get(key)
    if not isinstance(value, str) or not value:
        raise MisfitError(f"has no text for {key}" if key in row else f"has no {key}")
    check_whole(value, f" in '{key}'")
    return value


def name_of(row: Mapping[str, Any], key: str) -> str:
    """A model's or a voter's name under the key, which has to do as a file's."""
    name = text_of(row, key)
    if len(file_name(name)) > LONGEST_NAME:
        raise MisfitError(f"has a {key} of {len(name):,} characters, too long for a file's name")
    return name


def number_of(row: Mapping[str, Any], key: str, otherwise: str = "") -> str:
    """A number or a name under the key, as it is spelt."""
    value = row.get(key, otherwise)
    if not isinstance(value, str | int | Number) or not str(value):
        raise MisfitError(f"has no {key}")
    return str(value)


def file_name(name: str) -> str:
    """A model's or a voter's name as the name of a file or folder; `urllib.parse.unquote` gives it back."""
    return quote(name, safe=" :+@,()") if name.strip(".") else name.replace(".", "%2E")
