"""Encoding: what is masked, what is cut, what is told before the first step."""

import json
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sentencepiece import SentencePieceProcessor
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerBase

from pacos.core.errors import PacosError
from pacos.core.heldout import split_heldout
from pacos.core.prompts import render_prompt
from pacos.core.recipe import TrainTable
from pacos.core.records import Example, read_examples
from pacos.engines.local.tokenizer import load_tokenizer
from pacos.train.base import load_base
from pacos.train.data import Document, encode, load_data, shared_prefixes
from pacos.train.packing import Packer


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


@pytest.fixture(scope="module")
def llama(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base folder as Meta released it: a tokenizer.model and no more of a tokenizer; with a tiny model's weights."""
    folder = tmp_path_factory.mktemp("llama")
    (folder / "tokenizer.model").symlink_to(shared_data / "llama" / "tokenizer.model")
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=32_000,
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        bos_token_id=1,
        eos_token_id=2,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    return folder


def test_a_bare_llama_tokenizer_gives_sentencepieces_ids(shared_data: Path, llama: Path, tmp_path: Path) -> None:
    tokenizer = load_tokenizer(str(llama))
    tokenizer.save_pretrained(tmp_path)
    again = AutoTokenizer.from_pretrained(tmp_path)
    reference = SentencePieceProcessor(model_file=str(shared_data / "llama" / "tokenizer.model"))
    records = json.loads((shared_data / "alpaca" / "alpaca_data.json").read_text())[::97]
    texts = [text for record in records for text in record.values()]
    texts += [f" a{' ' * count}b\n{' ' * count}" for count in range(40)] + ["é🦙\t\r\n", "日本 語", "  "]
    expected = [[tokenizer.bos_token_id, *reference.encode(text)] for text in texts if text]
    for each in (tokenizer, again):
        assert each([text for text in texts if text])["input_ids"] == expected
    assert (again.bos_token, again.eos_token, again.unk_token) == ("<s>", "</s>", "<unk>")


def test_the_published_counts_are_reproduced(shared_data: Path, llama: Path) -> None:
    table = TrainTable(base=str(llama), mode="alpaca-2023")
    path = shared_data / "alpaca" / "alpaca_data.json"
    report = load_data(path, table, load_tokenizer(str(llama))).report
    assert (report.records, report.heldout, report.planned_steps) == (52_002, 0, 1_218)
    assert (report.truncated, report.wholly_masked, report.empty_outputs, report.merged) == (
        97,
        1,
        28,
        1_715,
    )
    assert "merged" in "\n".join(report.lines())


def test_what_is_masked_is_as_many_tokens_as_the_prompt_alone_has(shared_data: Path, llama: Path) -> None:
    tokenizer = load_tokenizer(str(llama))
    examples = read_examples(shared_data / "alpaca" / "alpaca_data.json")[::41]
    for example, document in zip(examples, encode(examples, tokenizer, "alpaca-2023", 10_000), strict=True):
        prompt = render_prompt(example.instruction, example.input)
        assert document.input_ids == tokenizer(prompt + example.output + "</s>")["input_ids"]
        assert document.num_masked == len(tokenizer(prompt)["input_ids"])


def test_each_mode_has_its_vocabulary_with_mean_rows(llama: Path, tiny_model: Path) -> None:
    published = load_base(TrainTable(base=str(llama), mode="alpaca-2023"))
    assert (len(published.tokenizer), published.tokenizer.pad_token_id) == (32_001, 32_000)
    for layer in (published.model.get_input_embeddings(), published.model.get_output_embeddings()):
        assert layer.weight.shape[0] == 32_001
        assert torch.allclose(layer.weight[-1], layer.weight[:-1].mean(0), atol=1e-7)
    rows = len(AutoTokenizer.from_pretrained(tiny_model))
    modern = load_base(TrainTable(base=str(tiny_model))).model
    weight = modern.get_input_embeddings().weight
    assert weight.shape[0] % 64 == 0 < weight.shape[0] - rows < 64
    assert torch.allclose(weight[rows:], weight[:rows].mean(0).expand(len(weight) - rows, -1), atol=1e-7)
    assert modern.config.vocab_size == weight.shape[0]


def test_a_record_of_100k_characters_is_cut_like_any_other(
    tmp_path: Path, tokenizer: PreTrainedTokenizerBase, llama: Path
) -> None:
    path = write(tmp_path / "d.json", [("a", "x"), ("a", "word " * 20_000), ("b", "y" * 100_000)])
    for each in (tokenizer, load_tokenizer(str(llama))):
        for mode in ("modern", "alpaca-2023"):
            table = TrainTable(max_length=300, mode=mode)  # type: ignore[arg-type]
            report = load_data(path, table, each).report
            assert (report.truncated, report.longest_tokens) == (2, 300)


def test_the_shared_prefix_is_what_almost_every_prompt_begins_with(shared_data: Path, llama: Path) -> None:
    tokenizer = load_tokenizer(str(llama))
    documents = load_data(shared_data / "alpaca" / "alpaca_data.json", TrainTable(max_examples=2000), tokenizer)
    packer = Packer(4096, shared_prefixes(tokenizer))
    shared = [packer.prefix_of(document) for document in documents.documents]
    assert set(shared) == {0, 1}
    rows = packer.pack(documents.documents, [1.0] * len(shared))
    saved = 1 - sum(row.computed_tokens for row in rows) / documents.report.tokens
    assert 0.2 < saved < 0.3


def test_the_first_token_of_a_document_is_never_predicted() -> None:
    counted = [Document("a", [1, 2, 3], num_masked).num_labels for num_masked in (0, 1, 2)]
    assert counted == [2, 2, 1]
