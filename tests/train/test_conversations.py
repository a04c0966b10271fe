"""Conversations through the stage's door: the base's own template, every answer in the loss, and nothing else."""

import gzip
import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from pacos.core.errors import PacosError
from pacos.core.recipe import Recipe, TrainTable
from pacos.core.run_folder import RunFolder
from pacos.engines.local.checkpoint import load_checkpoint
from pacos.engines.local.tokenizer import load_tokenizer
from pacos.release.run import run as release
from pacos.serve.model import find_model
from pacos.train.data import Document, TrainingData, load_data
from pacos.train.report import TrainReport, read
from pacos.train.run import run

MakeRecipe = Callable[..., Recipe]
CHATML = (
    "{% for m in messages %}{{ '<s>' + m['role'] + '\n' + m['content'] + '<pad>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<s>assistant\n' }}{% endif %}"
)
# As LLaMA 2 and Mistral write it: texts trimmed, no system turn, no generation prompt.
BRACKETS = (
    "{{ bos_token }}{% for m in messages %}{% if m.role == 'system' %}{{ raise_exception('no system') }}{% endif %}"
    "{% if m.role == 'user' %}{{ '[INST] ' + m.content|trim + ' [/INST]' }}"
    "{% else %}{{ ' ' + m.content|trim + ' ' + eos_token }}{% endif %}{% endfor %}"
)
# Thoughts of earlier turns are left out, as by the templates of thinking models.
FORGETS = (
    "{% for m in messages %}{{ m.role + ': ' }}"
    "{{ m.content.split('</think>')[-1] if m.role == 'assistant' and not loop.last else m.content }}"
    "{{ eos_token }}{% endfor %}{% if add_generation_prompt %}{{ 'assistant: ' }}{% endif %}"
)
# The end of a text stands after the last answer only, and the template says itself what it generates.
MARKED = (
    "{% for m in messages %}{% if m.role == 'assistant' %}{% generation %}{{ m.content }}"
    "{{ eos_token if loop.last else '|' }}{% endgeneration %}{% else %}{{ m.content + ':' }}{% endif %}{% endfor %}"
)
PLAIN = "{% for m in messages %}{{ m.role + ': ' + m.content + '\n' }}{% endfor %}" + (
    "{% if add_generation_prompt %}{{ 'assistant: ' }}{% endif %}"
)
FOX = [("user", "the quick fox"), ("assistant", "jumps é🦙"), ("user", "and?"), ("assistant", "over the dog")]


def conversation(*said: tuple[str, str]) -> dict[str, Any]:
    return {"messages": [{"role": role, "content": content} for role, content in said]}


@pytest.fixture
def chat(tiny_model: Path, tmp_path: Path) -> Callable[[str], Path]:
    """The tiny model with a chat template, as a base."""

    def make(template: str) -> Path:
        folder = tmp_path / "chat"
        folder.mkdir(exist_ok=True)
        for path in tiny_model.iterdir():
            (folder / path.name).write_bytes(path.read_bytes())
        (folder / "chat_template.jinja").write_text(template)
        return folder

    return make


def loaded(base: Path, path: Path, *records: dict[str, Any], **keys: Any) -> TrainingData:
    path.write_text(json.dumps(records))
    return load_data(path, TrainTable(base=str(base), **keys), AutoTokenizer.from_pretrained(base))


def answers(tokenizer: PreTrainedTokenizerBase, document: Document) -> list[str]:
    """The stretches that carry labels, decoded."""
    gaps = [*document.gaps, (len(document.input_ids), 0)]
    first, parts = document.num_masked, []
    for gap, end in gaps:
        parts.append(tokenizer.decode(document.input_ids[first:gap]))
        first = end
    assert document.num_labels == len(document.input_ids) - document.num_masked - sum(e - f for f, e in document.gaps)
    return parts


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        (CHATML, ["jumps é🦙<pad>", "over the dog<pad>"]),
        (BRACKETS, [" jumps é🦙 </s>", " over the dog </s>"]),
        (MARKED, ["jumps é🦙|", "over the dog</s>"]),
        # A space before an answer is of one token with its first word.
        (FORGETS, [" jumps é🦙</s>", " over the dog</s>"]),
        (PLAIN, [" jumps é🦙\n", " over the dog\n</s>"]),
    ],
    ids=["chatml", "brackets", "marked", "forgets", "plain"],
)
def test_every_answer_and_what_closes_it_carries_labels(
    chat: Callable[[str], Path], tmp_path: Path, template: str, expected: list[str]
) -> None:
    base = chat(template)
    data = loaded(base, tmp_path / "d.json", conversation(*FOX))
    tokenizer = AutoTokenizer.from_pretrained(base)
    (document,) = data.documents
    assert answers(tokenizer, document) == expected
    whole = tokenizer.apply_chat_template(conversation(*FOX)["messages"], tokenize=True, return_dict=True)["input_ids"]
    added = [] if template != PLAIN else [tokenizer.eos_token_id]
    assert document.input_ids == list(whole)[: len(document.input_ids) - len(added)] + added
    assert (data.report.conversations, data.report.examples, data.report.merged) == (1, 1, 0)


def test_what_the_template_changes_or_refuses_is_named(chat: Callable[[str], Path], tmp_path: Path) -> None:
    thinking = [FOX[0], ("assistant", "hm</think>jumps"), *FOX[2:]]
    with pytest.raises(
        PacosError, match=r"d\.json: record 2 has an answer that .* otherwise once another turn follows"
    ):
        loaded(chat(FORGETS), tmp_path / "d.json", conversation(*FOX), conversation(*thinking))
    system = conversation(("system", "Be kind."), *FOX)
    with pytest.raises(PacosError, match=r"2 of 3 records .* record 1, 3 is refused by .* template \(no system\)"):
        loaded(chat(BRACKETS), tmp_path / "d.json", system, conversation(*FOX), system | {"id": 3})


@pytest.mark.parametrize("mode", ["modern", "alpaca-2023"])
@pytest.mark.parametrize("parsed", [False, True])
def test_special_tokens_in_texts_are_text_unless_a_key_says_otherwise(
    chat: Callable[[str], Path], tmp_path: Path, parsed: bool, mode: str
) -> None:
    base = chat(CHATML)
    tokenizer = AutoTokenizer.from_pretrained(base)
    example = {"instruction": "What is </s>?", "input": "<s><pad>", "output": "The end </s> of <pad>"}
    said = conversation(("user", "What is </s>?"), ("assistant", "<pad> the end </s>"))
    data = loaded(base, tmp_path / "d.json", example, said, parse_special_tokens=parsed, mode=mode)
    control = [[token for token in d.input_ids if token < 3] for d in data.documents]
    # What the template writes, and the end of the example.
    assert control == ([[1, 0, 2, 1, 2, 1], [0, 1, 2, 0, 2, 1, 2]] if parsed else [[1], [0, 2, 0, 2]])
    assert "What is </s>?" in tokenizer.decode(data.documents[0].input_ids)
    assert answers(tokenizer, data.documents[1]) == ["<pad> the end </s><pad>"]
    assert data.report.special_tokens == {"</s>": 2, "<pad>": 2, "<s>": 1}
    told = "\n".join(data.report.lines())
    assert ("control ids" if parsed else "taken as text") in told


def test_llamas_tokenizer_takes_special_tokens_as_text_too(shared_data: Path, tmp_path: Path) -> None:
    (tmp_path / "llama").mkdir()
    (tmp_path / "llama" / "tokenizer.model").symlink_to(shared_data / "llama" / "tokenizer.model")
    tokenizer = load_tokenizer(str(tmp_path / "llama"))
    tokenizer.chat_template = BRACKETS
    said = conversation(("user", "What is </s>?"), ("assistant", "the <s> end"), ("user", "so"), ("assistant", "no"))
    (tmp_path / "d.json").write_text(json.dumps([said, {"instruction": "Say </s>.", "output": "</s><unk>"}]))
    for mode in ("modern", "alpaca-2023"):
        table = TrainTable(base="llama", mode=mode)  # type: ignore[arg-type]
        documents = load_data(tmp_path / "d.json", table, tokenizer).documents
        assert [[token for token in d.input_ids if token < 3] for d in documents] == [[1, 2, 2], [1, 2]]
        assert "What is </s>?" in tokenizer.decode(documents[0].input_ids)


def test_a_long_conversation_loses_its_end(chat: Callable[[str], Path], tmp_path: Path) -> None:
    base = chat(CHATML)
    (whole,) = loaded(base, tmp_path / "d.json", conversation(*FOX)).documents
    ((between, last),) = whole.gaps
    for length in range(8, len(whole.input_ids) + 1):
        if length <= whole.num_masked:
            with pytest.raises(PacosError, match=r"raise train\.max_length"):
                loaded(base, tmp_path / "d.json", conversation(*FOX), max_length=length)
            continue
        data = loaded(base, tmp_path / "d.json", conversation(*FOX), max_length=length)
        (document,) = data.documents
        assert document.input_ids == whole.input_ids[:length]
        assert document.num_labels == min(length, between) - whole.num_masked + max(length - last, 0)
        assert data.report.truncated == (length < len(whole.input_ids))


def test_a_base_without_a_chat_template_refuses_conversations_by_name(tmp_path: Path) -> None:
    path = tmp_path / "chats.json"
    path.write_bytes(gzip.compress(json.dumps([{"instruction": "a", "output": "b"}, conversation(*FOX)]).encode()))
    (tmp_path / "short.toml").write_text(f"[train]\ndataset = '{path}'\n")
    command = [sys.executable, "-m", "pacos", "train", tmp_path / "short.toml", "--run", tmp_path / "run"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    (line,) = done.stderr.strip().splitlines()
    assert "1 of 2 records are conversations" in line
    assert "record 2" in line
    assert "pacos-mini has no chat template" in line


def test_a_mixed_file_is_trained_and_the_student_keeps_the_template(
    short_recipe: MakeRecipe, chat: Callable[[str], Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [conversation(*FOX) | {"source": "x"}, {"instruction": "the dog", "output": "the", "source": None}] * 20
    path = tmp_path / "chats"
    path.write_bytes(gzip.compress("\n".join(map(json.dumps, rows)).encode()))
    recipe = short_recipe(dataset=path, base=chat(CHATML))
    with RunFolder(tmp_path / "run", recipe) as opened:
        report = run(recipe, opened)
    assert report is not None
    assert asdict(read(tmp_path / "run" / "train")) == asdict(report)
    check_counts(report)
    assert "keys that are not read: source (20)" in capsys.readouterr().out
    student = AutoTokenizer.from_pretrained(tmp_path / "run" / "train" / "model")
    assert student.chat_template == CHATML
    settings = json.loads((tmp_path / "run" / "train" / "model" / "generation_config.json").read_text())
    assert {student.eos_token_id, student.pad_token_id} <= set(settings["eos_token_id"])
    assert find_model(tmp_path / "run", "").takes_conversation


def test_a_merged_student_of_conversations_ends_its_answers_too(
    short_recipe: MakeRecipe, chat: Callable[[str], Path], tmp_path: Path
) -> None:
    path = tmp_path / "chats.json"
    path.write_text(json.dumps([conversation(*FOX)] * 20))
    recipe = short_recipe(dataset=path, base=chat(CHATML), lora="{rank = 2}")
    with RunFolder(tmp_path / "run", recipe) as opened:
        run(recipe, opened)
        release(recipe, opened)
    merged = tmp_path / "run" / "release" / "model"
    tokens = AutoTokenizer.from_pretrained(merged)
    assert tokens.chat_template == CHATML
    ends = json.loads((merged / "generation_config.json").read_text())["eos_token_id"]
    assert {tokens.eos_token_id, tokens.convert_tokens_to_ids("<pad>")} <= set(ends)
    assert set(load_checkpoint(str(tmp_path / "run" / "train" / "model"), "fp32").end_ids) == set(ends)


def check_counts(report: TrainReport) -> None:
    counts = report.counts
    assert (counts.records, counts.conversations, counts.examples) == (40, 20, 40)
    assert counts.unknown_keys == {"source": 20}
    assert counts.form == "JSON Lines, gzip"
    assert report.final_loss < 4
