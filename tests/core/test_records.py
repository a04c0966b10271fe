"""Alpaca's file format, byte for byte, and where a bad record stands."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pacos.core.errors import PacosError
from pacos.core.prompts import render_prompt
from pacos.core.records import Example, read_examples, read_seed_tasks, write_examples

TEXT = st.text(st.characters(codec="utf-8"))


@given(st.lists(st.builds(Example, TEXT, TEXT, TEXT), min_size=1, max_size=5))
def test_what_is_written_is_read_again(tmp_path_factory: pytest.TempPathFactory, examples: list[Example]) -> None:
    path = tmp_path_factory.mktemp("records") / "dataset.json"
    write_examples(path, examples)
    assert read_examples(path) == examples
    assert path.read_bytes().isascii()


def test_the_released_file_is_written_back_byte_for_byte(shared_data: Path, tmp_path: Path) -> None:
    released = shared_data / "alpaca" / "alpaca_data.json"
    write_examples(tmp_path / "again.json", read_examples(released))
    assert (tmp_path / "again.json").read_bytes() == released.read_bytes()


def good() -> list[dict[str, object]]:
    return [{"instruction": f"Say {n}.", "input": "", "output": str(n)} for n in range(8)]


@pytest.mark.parametrize(
    "broken",
    [
        {"instruction": "\ud800", "output": "5"},
        {"input": "", "output": "5"},
        {"instruction": 5, "output": "5"},
        None,
        "text",
        [],
    ],
)
def test_a_bad_record_is_named_by_its_place(tmp_path: Path, broken: object) -> None:
    records: list[object] = list(good())
    records[4] = broken
    path = tmp_path / "dataset.json"
    path.write_text(json.dumps(records))
    with pytest.raises(PacosError, match=r"dataset\.json: record 5 "):
        read_examples(path)


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", "[1", "[" * 100_000, "[" + "9" * 5000, "\x00", '{"instruction": "a"}']
)
def test_a_file_that_is_no_dataset_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "dataset.json"
    path.write_text(text)
    with pytest.raises(PacosError, match=r"dataset\.json"):
        read_examples(path)


@pytest.mark.parametrize(
    "line", ["{", "[]", "null", '{"instruction": "x"}', '{"instruction": "x", "instances": []}',
             '{"instruction": "x", "instances": [{"input": 1, "output": "y"}]}',
             '{"instruction": " ", "instances": [{"input": "", "output": "y"}]}']
)  # fmt: skip
def test_a_broken_seed_task_is_named_by_its_line(tmp_path: Path, line: str) -> None:
    good_line = json.dumps({"instruction": "Say yes.", "instances": [{"input": "", "output": "yes"}]})
    path = tmp_path / "seeds.jsonl"
    path.write_text("\n".join([good_line] * 16 + [line] + [good_line] * 3))
    with pytest.raises(PacosError, match=r"seeds\.jsonl:17"):
        read_seed_tasks(path)


@given(TEXT, TEXT.filter(bool))
def test_prompts_hold_the_text_as_it_is(instruction: str, input: str) -> None:
    assert f"### Instruction:\n{instruction}\n\n### Response:" in render_prompt(instruction)
    assert f"### Instruction:\n{instruction}\n\n### Input:\n{input}\n\n### Response:" in render_prompt(
        instruction, input
    )
