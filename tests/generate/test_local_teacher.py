"""A Hugging Face checkpoint as the teacher, through the same loop: a model that learned one reply by heart."""

import json
from itertools import permutations
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from pacos.core.errors import PacosError
from pacos.core.models import resolve_model
from tests.generate.stage import generate, lines, stored

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
