"""The rows of a spreadsheet (.xlsx), which is a zip of XML: enough of the format for tables of text and numbers."""

import posixpath
import re
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

from pacos.core.errors import PacosError

_MAIN = "{http://schemas.openxmlformats.org/spreadsheetml/2006/main}"
_SHEET_ID = "{http://schemas.openxmlformats.org/officeDocument/2006/relationships}id"
# A few kilobytes can unpack to more than any memory.
MOST_BYTES = 500_000_000


def read_rows(path: Path) -> Iterator[dict[str, str]]:
    """The first sheet's rows by the names in its first row, cells as they are written there, "" where there is none.

    A number is as the file spells it, such as "213.0"; rows without any content are left out. Raises PacosError where
    the file cannot be read as a spreadsheet.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            if (size := sum(member.file_size for member in archive.infolist())) > MOST_BYTES:
                raise PacosError(
                    f"{path}: unpacks to {size:,} bytes; expected a spreadsheet of at most {MOST_BYTES:,}. Save its "
                    "first sheet alone."
                )
            strings = _shared_strings(archive)
            sheet = ElementTree.fromstring(archive.read(_first_sheet(archive)))
    except OSError as error:
        raise PacosError(f"{path}: cannot be read ({error.strerror or error}).") from None
    except (zipfile.BadZipFile, zlib.error, RuntimeError, LookupError, EOFError, ValueError, SyntaxError) as error:
        raise PacosError(f"{path}: not a spreadsheet that can be read ({error}); expected an .xlsx file.") from None
    header: dict[str, str] = {}
    for row in sheet.iterfind(f"{_MAIN}sheetData/{_MAIN}row"):
        cells = _cells(row, strings, path)
        if not any(cells.values()):
            continue
        if not header:
            header = {column: name for column, name in cells.items() if name}
        else:
            yield {name: cells.get(column, "") for column, name in header.items()}


def _first_sheet(archive: zipfile.ZipFile) -> str:
    workbook = ElementTree.fromstring(archive.read("xl/workbook.xml"))
    first = workbook.find(f"{_MAIN}sheets/{_MAIN}sheet")
    if first is None:
        raise KeyError("a workbook without a sheet")
    targets = {
        link.get("Id"): link.get("Target", "")
        for link in ElementTree.fromstring(archive.read("xl/_rels/workbook.xml.rels"))
    }
    return posixpath.join("/xl", targets[first.get(_SHEET_ID)]).lstrip("/")


def _shared_strings(archive: zipfile.ZipFile) -> list[str]:
    if "xl/sharedStrings.xml" not in archive.namelist():
        return []
    return [_text(entry) for entry in ElementTree.fromstring(archive.read("xl/sharedStrings.xml"))]


def _text(entry: Element) -> str:
    """A plain text, or one in pieces that are formatted each in its own way; reading aids above it are left out."""
    pieces = [entry, *entry.findall(f"{_MAIN}r")]
    return "".join(text.text or "" for piece in pieces for text in piece.findall(f"{_MAIN}t"))


def _cells(row: Element, strings: list[str], path: Path) -> dict[str, str]:
    """The row's content by column letters; a cell that does not say where it stands is the next one."""
    cells: dict[str, str] = {}
    for number, cell in enumerate(row.iterfind(f"{_MAIN}c")):
        column = re.sub(r"\d", "", cell.get("r", "")) or str(number)
        value, inline = cell.findtext(f"{_MAIN}v", ""), cell.find(f"{_MAIN}is")
        if cell.get("t") == "s":
            try:
                value = strings[int(value)]
            except (ValueError, IndexError):
                raise PacosError(
                    f"{path}: row {row.get('r', '?')}, column {column}: text number {value!r} of {len(strings)}; "
                    "the spreadsheet is damaged, save it again."
                ) from None
        cells[column] = value if inline is None else _text(inline)
    return cells
