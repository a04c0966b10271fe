"""A Hugging Face checkpoint as the teacher, through the same loop: a model that learned one reply by heart."""

import json
import os
import pty
import re
import select
import shutil
import subprocess
import sys
import time
from itertools import permutations
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from pacos.core.errors import PacosError
from pacos.core.models import resolve_model
from tests.conftest import ROOT
from tests.generate.stage import DRIVER, generate, lines, stored

HEAD = "List of 5 tasks:"
SEEDS = {"Name a red fruit.": "Apple", "Say what cows eat.": "Grass", "Give the colour of snow.": "White"}
REPLY = (
    " Name the animal that says moo.\n4. Input:\n<noinput>\n4. Output:\nA cow.\n"
    "###\n5. Instruction: Write the number after two.\n5. Input:\n<noinput>\n5. Output:\nThree.\n"
)


def prompt(order: tuple[str, ...]) -> str:
    blocks = [
        f"###\n{k}. Instruction: {task}\n{k}. Input:\n<noinput>\n{k}. Output:\n{SEEDS[task]}\n"
        for k, task in enumerate(order, start=1)
    ]
    return f"{HEAD}\n{''.join(blocks)}###\n4. Instruction:"


@pytest.fixture(scope="module")
def learned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("local-teacher")
    base = resolve_model("pacos-mini")
    tokenizer, model = AutoTokenizer.from_pretrained(base), AutoModelForCausalLM.from_pretrained(base)
    texts = [prompt(order) for order in permutations(SEEDS)]
    rows = [tokenizer(text + REPLY)["input_ids"] + [tokenizer.eos_token_id] for text in texts]
    assert len({len(row) for row in rows}) == 1
    input_ids = torch.tensor(rows)
    labels = input_ids.clone()
    labels[:, : len(tokenizer(texts[0])["input_ids"])] = -100
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    for _ in range(40):
        loss = model(input_ids=input_ids, labels=labels).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    assert loss.item() < 0.05
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture
def settings(tmp_path: Path, learned: Path) -> list[str]:
    (tmp_path / "head.txt").write_text(HEAD)
    tasks = [{"instruction": i, "instances": [{"input": "", "output": o}]} for i, o in SEEDS.items()]
    (tmp_path / "seeds.jsonl").write_text("\n".join(map(json.dumps, tasks)))
    keys = {
        "teacher.engine": "local",
        "teacher.path": learned,
        "teacher.api": "completions",
        "teacher.temperature": 0,
        "teacher.max_tokens": 120,
        "generate.prompt": tmp_path / "head.txt",
        "generate.seed_tasks": tmp_path / "seeds.jsonl",
    }
    return [f"{key}={value}" for key, value in keys.items()]


def test_a_local_checkpoint_teaches(recipe_path: Path, tmp_path: Path, settings: list[str], learned: Path) -> None:
    report = generate(recipe_path, tmp_path / "run", [*settings, "generate.num_examples=2"])
    records = lines(tmp_path / "run" / "generate" / "dataset.jsonl")
    assert [record["output"] for record in records] == ["A cow.", "Three."]
    assert str(learned) in report.teacher
    assert report.completion_tokens > 20
    assert stored(tmp_path / "run") >= 1


def test_one_that_repeats_itself_stops_the_run(recipe_path: Path, tmp_path: Path, settings: list[str]) -> None:
    with pytest.raises(PacosError, match="nothing to keep in its last 30 replies; 2 of"):
        generate(recipe_path, tmp_path / "run", [*settings, "generate.num_examples=3"])
    assert stored(tmp_path / "run") >= 30


def test_a_chat_teacher_is_asked_by_its_template_and_one_without_is_told_so_before_it_is_loaded(
    recipe_path: Path, tmp_path: Path, settings: list[str], learned: Path
) -> None:
    chat = [*settings, "generate.num_examples=2", "teacher.api=chat"]
    with pytest.raises(PacosError, match=r'set api = "completions"') as caught:
        generate(recipe_path, tmp_path / "run", chat)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run" / "generate" / "ledger.sqlite").exists()

    templated = tmp_path / "templated"
    shutil.copytree(learned, templated)
    opening = "A teacher of many things writes tasks for those who learn."
    (templated / "chat_template.jinja").write_text(opening + "\n{% for m in messages %}{{ m.content }}{% endfor %}")
    raw = generate(recipe_path, tmp_path / "raw", [*settings, "generate.num_examples=2"])
    asked = generate(recipe_path, tmp_path / "chat", [*chat, f"teacher.path={templated}"])
    assert asked.prompt_tokens / asked.requests >= raw.prompt_tokens / raw.requests + 10


def test_prompts_that_leave_no_room_are_one_line_before_anything_is_asked(
    recipe_path: Path, tmp_path: Path, settings: list[str]
) -> None:
    (tmp_path / "head.txt").write_text("Words and more words. " * 300 + HEAD)
    with pytest.raises(
        PacosError, match="which holds 1,024 tokens, prompt and reply together, and the first"
    ) as caught:
        generate(recipe_path, tmp_path / "run", [*settings, "generate.num_examples=2"])
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run" / "generate" / "ledger.sqlite").exists()


def test_a_context_shorter_than_max_tokens_is_said_once(
    recipe_path: Path, tmp_path: Path, settings: list[str], tiny_model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    endless = [*settings, f"teacher.path={tiny_model}", "teacher.max_tokens=3072", "generate.num_examples=2"]
    with pytest.raises(PacosError, match="take a teacher of longer context, as this reply was cut"):
        generate(recipe_path, tmp_path / "run", endless)
    told = re.findall(
        r"teacher: a reply ended after (\d+) of max_tokens 3,072: .* (\d+) tokens", capsys.readouterr().err
    )
    assert [int(written) + int(read) for written, read in told] == [512]


def test_the_funnel_counts_tokens_before_the_first_reply(
    recipe_path: Path, tmp_path: Path, settings: list[str], endless_model: Path
) -> None:
    endless = [*settings, f"teacher.path={endless_model}", "teacher.max_tokens=100000", "generate.num_examples=2"]
    command = [sys.executable, "-c", DRIVER, str(recipe_path), str(tmp_path / "run"), *endless]
    screen, end = pty.openpty()
    environment = os.environ | {"COLUMNS": "150", "TERM": "xterm"}
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=end, cwd=ROOT, env=environment) as child:
        os.close(end)
        try:
            seen, counted = "", r"0/2 examples, 0\.0/s, 0 replies, [1-9][\d,]* tokens written, [\d,]+/s"
            patience = time.monotonic() + 120
            while not re.search(counted, seen) and time.monotonic() < patience:
                if select.select([screen], [], [], 1.0)[0]:
                    seen += os.read(screen, 4096).decode(errors="replace")
            assert re.search(counted, seen), seen[-500:]
        finally:
            child.kill()
            os.close(screen)
