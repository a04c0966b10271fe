"""A small folder of judge tests in LLMBar's and Tülu's shapes: the better answer of every pair says it is right."""

import json
import zipfile
from pathlib import Path
from xml.sax.saxutils import escape

MAIN = 'xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"'
LINKS = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
COLUMNS = (
    "instance_id", "prompt", "model_a", "model_b", "completion_a", "completion_b", "preference", "evaluator",
    "timestamp",
)  # fmt: skip
RIGHT, WRONG = "The right answer to this is, as asked,", "Something else altogether, number"


def write_judge_data(folder: Path, items: int = 16) -> Path:
    """llmbar/ with two subsets, and tulu1/ with two people on every pair, who tie on every fourth."""
    for subset in ("Natural", "Adversarial/Manual"):
        entries = [llmbar_entry(subset, n) for n in range(items)]
        path = folder / "llmbar" / subset / "dataset.json"
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps(entries))
    (folder / "tulu1").mkdir()
    rows = [vote_row(n, person) for n in range(items) for person in ("p", "q")]
    write_sheet(folder / "tulu1" / "eval_annotations_tulu_1.xlsx", [COLUMNS, *rows])
    return folder


def llmbar_entry(subset: str, number: int) -> dict[str, object]:
    answers = [f"{RIGHT} {subset} {number} of them.", f"{WRONG} {number}, in {subset}."]
    label = 1 + number % 2
    first, second = answers if label == 1 else answers[::-1]
    return {"input": f"Say what {subset} {number} is.", "output_1": first, "output_2": second, "label": label}


def vote_row(number: int, person: str) -> tuple[str, ...]:
    """Person q sees the models the other way round."""
    answers = [("big", f"{RIGHT} {number} of all."), ("small", f"{WRONG} {number}.")]
    preference = "tie" if number % 4 == 0 else "a-is-better" if person == "p" else "b-is-slightly-better"
    (model_a, text_a), (model_b, text_b) = answers if person == "p" else answers[::-1]
    return f"i{number}", f"Say {number}.", model_a, model_b, text_a, text_b, preference, person, f"{number}.5"


def write_sheet(path: Path, rows: list[tuple[str, ...]]) -> None:
    cells = [
        "".join(f'<c r="{chr(65 + column)}{line}" t="inlineStr"><is><t>{escape(text)}</t></is></c>' for column, text in
                enumerate(row))
        for line, row in enumerate(rows, start=1)
    ]  # fmt: skip
    sheet = "".join(f'<row r="{line}">{row}</row>' for line, row in enumerate(cells, start=1))
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(
            "xl/workbook.xml",
            f'<workbook {MAIN} xmlns:r="{LINKS}"><sheets><sheet name="s" sheetId="1" r:id="r1"/></sheets></workbook>',
        )
        archive.writestr(
            "xl/_rels/workbook.xml.rels",
            '<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">'
            '<Relationship Id="r1" Target="worksheets/sheet1.xml"/></Relationships>',
        )
        archive.writestr("xl/worksheets/sheet1.xml", f"<worksheet {MAIN}><sheetData>{sheet}</sheetData></worksheet>")
