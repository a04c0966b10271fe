"""Encoding: what is masked, what is cut, what is told before the first step."""

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from pacos.core.errors import PacosError
from pacos.core.prompts import render_prompt
from pacos.core.recipe import TrainTable
from pacos.core.records import Example
from pacos.train.data import encode, load_data, split_heldout


@pytest.fixture(scope="module")
def tokenizer(tiny_model: Path) -> PreTrainedTokenizerBase:
    return AutoTokenizer.from_pretrained(tiny_model)


def write(path: Path, rows: list[tuple[str, str]]) -> Path:
    path.write_text(json.dumps([{"instruction": i, "input": "", "output": o} for i, o in rows]))
    return path


@settings(max_examples=40, deadline=None)
@given(instruction=st.text(max_size=20), output=st.text(max_size=20), mode=st.sampled_from(["modern", "alpaca-2023"]))
def test_prompt_and_supervised_part_are_the_text_and_its_end(
    tokenizer: PreTrainedTokenizerBase, instruction: str, output: str, mode: str
) -> None:
    (document,) = encode([Example(instruction, "", output)], tokenizer, mode, 10_000)
    assert document.input_ids[-1] == tokenizer.eos_token_id
    assert tokenizer.decode(document.input_ids[:-1]) == render_prompt(instruction) + output
    if mode == "modern":
        assert tokenizer.decode(document.input_ids[document.num_masked : -1]) == output
        assert tokenizer.decode(document.input_ids[: document.num_masked]) == render_prompt(instruction)


def test_alpaca_2023_masks_the_token_that_spans_prompt_and_answer(tiny_model: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    state = json.loads(tokenizer.backend_tokenizer.to_str())
    # A merge of ":" and "-", as LLaMA's vocabulary has one.
    state["model"]["vocab"][":-"] = len(tokenizer)
    state["model"]["merges"].append([":", "-"])
    tokenizer._tokenizer = tokenizer.backend_tokenizer.from_str(json.dumps(state))
    example = Example("list", "", "-one")
    (joint,) = encode([example], tokenizer, "alpaca-2023", 10_000)
    (apart,) = encode([example], tokenizer, "modern", 10_000)
    assert tokenizer.decode(joint.input_ids[joint.num_masked : -1]) == "one"
    assert tokenizer.decode(apart.input_ids[apart.num_masked : -1]) == "-one"


def test_the_report_counts_what_is_cut_empty_and_wholly_masked(
    tmp_path: Path, tokenizer: PreTrainedTokenizerBase
) -> None:
    prompt_tokens = len(tokenizer(render_prompt("a"))["input_ids"])
    long = "the " * 200
    path = write(tmp_path / "d.json", [("a", "x"), ("a", ""), ("a", long), (long, "x"), (long, "")])
    data = load_data(path, TrainTable(max_length=prompt_tokens + 5, batch_size=2, num_epochs=3), tokenizer)
    report = data.report
    assert (report.records, report.examples, report.heldout) == (5, 3, 0)
    assert (report.truncated, report.empty_outputs, report.wholly_masked) == (3, 2, 2)
    assert report.planned_steps == 6
    assert report.supervised_tokens == 2 + 1 + 5
    assert sum(report.histogram.values()) == 3
    assert report.tokens == sum(len(document.input_ids) for document in data.documents)
    assert all(document.num_labels > 0 for document in data.documents)


def test_a_dataset_without_any_label_is_refused(tmp_path: Path, tokenizer: PreTrainedTokenizerBase) -> None:
    path = write(tmp_path / "d.json", [("a", "x")])
    with pytest.raises(PacosError, match=r"raise train\.max_length"):
        load_data(path, TrainTable(max_length=8), tokenizer)


@given(count=st.integers(1, 700), most=st.none() | st.integers(1, 700))
def test_held_back_records_are_never_trained_on(count: int, most: int | None) -> None:
    examples = [Example(str(i), "", "") for i in range(count)]
    trained, held_back = split_heldout(examples, most)
    assert not {e.instruction for e in trained} & {e.instruction for e in held_back}
    assert trained == examples[: len(trained)]
    assert len(held_back) <= 200
    if count < 100:
        assert (len(trained), held_back) == (min(count, most or count), [])
    elif most and count > most:
        assert (len(trained), len(held_back)) == (most, min(200, count - most))
    else:
        assert len(trained) + len(held_back) == count
        assert held_back


def test_the_released_alpaca_data_is_read_whole(shared_data: Path, tokenizer: PreTrainedTokenizerBase) -> None:
    table = TrainTable(max_length=512, max_examples=300, batch_size=32, num_epochs=1)
    data = load_data(shared_data / "alpaca" / "alpaca_data.json", table, tokenizer)
    assert (data.report.records, data.report.heldout) == (52_002, 200)
    assert data.report.examples + data.report.wholly_masked == 300
    assert data.report.truncated > 0
