import zipfile
from pathlib import Path

import pytest

from pacos.core.errors import PacosError
from pacos.core.spreadsheet import read_rows

MAIN = 'xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"'
LINKS = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
PARTS = {
    "xl/workbook.xml": f'<workbook {MAIN} xmlns:r="{LINKS}"><sheets><sheet name="second" sheetId="2" r:id="rId9"/>'
    '<sheet name="other" sheetId="1" r:id="rId1"/></sheets></workbook>',
    "xl/_rels/workbook.xml.rels": '<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">'
    '<Relationship Id="rId1" Target="worksheets/sheet1.xml"/><Relationship Id="rId9" Target="worksheets/sheet2.xml"/>'
    "</Relationships>",
    "xl/sharedStrings.xml": f"<sst {MAIN}><si><t>id</t></si><si><t>prompt</t></si><si><t>note</t></si>"
    '<si><r><t xml:space="preserve">Two </t></r><r><t>pieces &amp;&#10;lines</t></r><rPh><t>aid</t></rPh></si></sst>',
    "xl/worksheets/sheet1.xml": f'<worksheet {MAIN}><sheetData><row r="1"><c r="A1"><v>1</v></c></row></sheetData>'
    "</worksheet>",
    "xl/worksheets/sheet2.xml": f'<worksheet {MAIN}><sheetData><row r="1"><c r="A1" t="s"><v>0</v></c>'
    '<c r="B1" t="s"><v>1</v></c><c r="D1" t="s"><v>2</v></c></row><row r="2"><c r="A2"><v>213.0</v></c>'
    '<c r="B2" t="s"><v>3</v></c><c r="C2"><v>5</v></c></row><row r="3"/>'
    '<row r="4"><c r="B4" t="inlineStr"><is><t>inline</t></is></c><c r="D4" t="str"><v>formula</v></c></row>'
    "</sheetData></worksheet>",
}


def write(path: Path, parts: dict[str, str]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in parts.items():
            archive.writestr(name, text)
    return path


def test_rows_of_the_first_sheet_by_their_header(tmp_path: Path) -> None:
    assert list(read_rows(write(tmp_path / "a.xlsx", PARTS))) == [
        {"id": "213.0", "prompt": "Two pieces &\nlines", "note": ""},
        {"id": "", "prompt": "inline", "note": "formula"},
    ]


def test_what_is_no_spreadsheet_is_one_line(tmp_path: Path) -> None:
    plain = tmp_path / "plain.xlsx"
    plain.write_text("id,prompt\n")
    damaged = PARTS | {"xl/sharedStrings.xml": f"<sst {MAIN}><si><t>id</t></si></sst>"}
    for path, told in (
        (plain, "expected an .xlsx file"),
        (write(tmp_path / "word.xlsx", {"word/document.xml": "<a/>"}), "expected an .xlsx file"),
        (write(tmp_path / "damaged.xlsx", damaged), "row 1, column B: text number '1' of 1"),
        (tmp_path / "absent.xlsx", "No such file"),
    ):
        with pytest.raises(PacosError, match=told):
            list(read_rows(path))


def test_a_file_that_unpacks_to_more_than_memory_is_one_line(tmp_path: Path) -> None:
    path = write(tmp_path / "bomb.xlsx", PARTS)
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive, archive.open("xl/more.xml", "w") as member:
        for _ in range(501):
            member.write(bytes(1_000_000))
    assert path.stat().st_size < 1_000_000
    with pytest.raises(PacosError, match=r"unpacks to 501,\d{3},\d{3} bytes; expected a spreadsheet of at most"):
        list(read_rows(path))


@pytest.mark.parametrize("part", [0.3, 0.6, 0.99])
def test_a_file_that_was_cut_is_one_line(tmp_path: Path, part: float) -> None:
    path = write(tmp_path / "cut.xlsx", PARTS)
    content = path.read_bytes()
    path.write_bytes(content[: int(part * len(content))])
    with pytest.raises(PacosError, match="not a spreadsheet that can be read"):
        list(read_rows(path))
