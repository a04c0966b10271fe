"""audit.html: what the audit found, in one self-contained file, whatever the data holds."""

import json
import re
from pathlib import Path

import pytest

from pacos.core.errors import PacosError
from pacos.core.records import Example, write_examples
from pacos.generate.audit import audit
from pacos.study.audit_page import write
from tests.study.made_run import HOSTILE
from tests.study.test_report import Page, assert_self_contained

TEXT = HOSTILE.replace("\ud800", "")


def audited(folder: Path, examples: list[Example]) -> Path:
    write_examples(folder / "data.json", examples)
    audit(folder / "data.json", folder / "out")
    return folder / "out"


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    examples = [
        Example(f"{verb} a {thing} about the {place}.", "", f"Here is what you asked for, as number {number}")
        for number, (verb, thing, place) in enumerate(
            (verb, thing, place)
            for verb in ("Write", "Compose", "Sketch out in words")
            for thing in ("poem", "letter", "story")
            for place in ("sea", "hill", "moon and its dark far side", "town where nobody ever sleeps")
        )
    ]
    hostile = [
        Example(f"Write about this text{TEXT} {n}", f"<noinput>{TEXT} of {n}", f"It is {n}.")
        for n in ("one", "two", "three", "four", "five", "six", "seven")
    ]
    years = [Example(f"Say when it was {n} and why", "", f"It was in 20{n}.") for n in (19, 21) for _ in range(12)]
    return audited(tmp_path_factory.mktemp("audit"), [*examples, *hostile, *years])


@pytest.fixture(scope="module")
def page(out: Path) -> Page:
    return Page(write(out))


def test_every_number_stands_where_it_belongs(out: Path, page: Page) -> None:
    summary = json.loads((out / "audit.json").read_text())
    expected = {f"check-{name.replace('_', '-')}": c["count"] for name, c in summary["checks"].items() if c["count"]}
    del expected["check-no-20"]
    expected |= {key.replace("_", "-"): summary[key] for key in ("records", "flagged", "with_input", "with_link")}
    assert {id: page.value(id) for id in expected} == expected
    assert page.value("check-leaked-marker") == 7


def test_what_the_whole_file_tells_stands_apart(page: Page) -> None:
    assert "no_20" in page.with_attribute("data-check")
    assert "“20.” is in 0 of" in page.text["checks"]


def test_hostile_text_is_shown_and_does_nothing(page: Page) -> None:
    assert_self_contained(page)
    assert "<script>alert(1)</script>" in page.text["checks"]
    assert "\x00" not in page.html


def test_plots_are_there_and_no_id_stands_twice(page: Page) -> None:
    assert {"sunburst-title", "lengths-title", "similarity-title"} <= set(page.text)
    assert ">write<" in re.sub(r"\s", "", page.html)
    ids = [attrs["id"] for _, attrs in page.elements if "id" in attrs]
    assert len(ids) == len(set(ids))


def test_a_clean_file_of_one_record(tmp_path: Path) -> None:
    example = Example("What is the colour of the sea?", "", "Blue, mostly.")
    page = Page(write(audited(tmp_path, [example])))
    assert "No check flags any" in page.text["result"]
    assert "sunburst-title" not in page.text
    assert_self_contained(page)


def test_what_the_file_holds_beside_examples_is_told(tmp_path: Path) -> None:
    turns = [{"role": "user", "content": "What is a fox?"}, {"role": "assistant", "content": "An animal."}]
    (tmp_path / "data.json").write_text(json.dumps([{"messages": turns, "<b>key": "x"}]))
    audit(tmp_path / "data.json", tmp_path / "out")
    page = Page(write(tmp_path / "out"))
    assert "conversations: 1; keys that are not read: <b>key (1)" in page.text["file-holds"]
    assert "first question and answer" in page.text["file-holds"]


def test_a_folder_without_an_audit_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PacosError, match=r"audit\.json"):
        write(tmp_path)
    (tmp_path / "audit.json").write_text("{}")
    (tmp_path / "findings.jsonl").write_text("")
    with pytest.raises(PacosError, match="audit the file again"):
        write(tmp_path)
    assert not (tmp_path / "audit.html").exists()
