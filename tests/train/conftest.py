"""A small dataset and a short recipe for every training test."""

import json
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from pacos.core.recipe import Recipe, load

WORDS = ("the", "quick", "brown", "fox", "jumps", "over", "lazy", "dog", "and", "reads", "a", "response")


def make_records(count: int, seed: int = 0) -> list[dict[str, str]]:
    """Instructions of mixed lengths whose answer is their first word: something a small model can learn."""
    rng = random.Random(seed)
    made = []
    for number in range(count):
        words = rng.choices(WORDS, k=rng.randint(1, 12))
        input = " ".join(rng.choices(WORDS, k=3)) if number % 2 else ""
        made.append({"instruction": " ".join(words), "input": input, "output": words[0]})
    return made


@pytest.fixture
def records() -> Callable[..., list[dict[str, str]]]:
    return make_records


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    path = tmp_path / "data.json"
    path.write_text(json.dumps(make_records(40)))
    return path


@pytest.fixture
def short_recipe(tmp_path: Path, tiny_model: Path, dataset: Path) -> Callable[..., Recipe]:
    """A recipe of ten steps on the tiny model; keyword arguments override its [train] keys."""
    path = tmp_path / "short.toml"
    path.write_text("[train]\nlearning_rate = 1e-2\nbatch_size = 8\nnum_epochs = 2\nmax_length = 300\n")

    def make(**overrides: object) -> Recipe:
        keys = {"base": tiny_model, "dataset": dataset, "precision": "fp32", **overrides}
        return load(path, [f"train.{key}={value}" for key, value in keys.items()])

    return make
