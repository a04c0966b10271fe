"""Hugging Face's Trainer as the oracle: the same data gives the same losses and weights, in either mode."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM

from pacos.core.errors import PacosError
from pacos.core.recipe import Recipe
from pacos.core.run_folder import RunFolder
from pacos.train.report import TrainReport
from pacos.train.run import run

MakeRecipe = Callable[..., Recipe]


def train(recipe: Recipe, folder: Path) -> TrainReport:
    with RunFolder(folder, recipe) as opened:
        report = run(recipe, opened)
    assert report
    return report


@pytest.mark.parametrize("mode", ["modern", "alpaca-2023"])
def test_both_engines_take_the_same_steps(short_recipe: MakeRecipe, tmp_path: Path, mode: str) -> None:
    lines, weights = [], []
    for engine in ("pacos", "trainer"):
        folder = tmp_path / engine
        report = train(short_recipe(mode=mode, engine=engine, learning_rate=1e-3, weight_decay=0.01), folder)
        lines.append([json.loads(line) for line in (folder / "train/steps.jsonl").read_text().splitlines()])
        weights.append(AutoModelForCausalLM.from_pretrained(folder / "train/model").state_dict())
        assert report.steps == len(lines[-1]) == 10
    for ours, theirs in zip(*lines, strict=True):
        assert ours["learning_rate"] == pytest.approx(theirs["learning_rate"], rel=1e-5)
        assert ours["real_tokens"] == theirs["real_tokens"]
        # Trainer rounds what it logs to four places.
        assert ours["loss"] == pytest.approx(theirs["loss"], abs=2e-3)
        assert ours["grad_norm"] == pytest.approx(theirs["grad_norm"], rel=2e-3)
    for name, tensor in weights[0].items():
        assert torch.allclose(tensor, weights[1][name], atol=2e-5), name


def test_trainer_goes_on_from_its_own_checkpoint(short_recipe: MakeRecipe, tmp_path: Path) -> None:
    recipe = short_recipe(engine="trainer", checkpoint_every=4)
    first = train(recipe, tmp_path / "run")
    (tmp_path / "run/train/done.json").unlink()
    (tmp_path / "run/train/checkpoints/checkpoint-10").rename(tmp_path / "out of the way")
    again = train(recipe, tmp_path / "run")
    assert again.weights_sha256 == first.weights_sha256
    lines = (tmp_path / "run/train/steps.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == list(range(1, 11))


@pytest.mark.parametrize("name", ["optimizer.pt", "model.safetensors", "trainer_state.json"])
def test_a_damaged_checkpoint_of_trainers_is_one_line(short_recipe: MakeRecipe, tmp_path: Path, name: str) -> None:
    recipe = short_recipe(engine="trainer", checkpoint_every=4, max_examples=16, num_epochs=4)
    train(recipe, tmp_path / "run")
    (tmp_path / "run/train/done.json").unlink()
    newest = max((tmp_path / "run/train/checkpoints").glob("checkpoint-*"), key=lambda path: path.stat().st_mtime)
    whole = (newest / name).read_bytes()
    (newest / name).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(PacosError, match=r"damaged.*remove it"):
        train(recipe, tmp_path / "run")


def test_a_batch_larger_than_the_data_is_all_of_it(short_recipe: MakeRecipe, tmp_path: Path) -> None:
    for engine in ("pacos", "trainer"):
        recipe = short_recipe(engine=engine, batch_size=64, mode="alpaca-2023", max_examples=23, learning_rate=1e-3)
        report = train(recipe, tmp_path / engine)
        assert (report.steps, report.real_tokens) == (2, 2 * report.counts.tokens)
        assert report.seconds > 0


@pytest.mark.parametrize("keys", [{"precision": "split"}, {"optimizer": "adamw-8bit"}])
def test_what_trainer_cannot_do_is_refused(short_recipe: MakeRecipe, tmp_path: Path, keys: dict[str, str]) -> None:
    with pytest.raises(PacosError, match="keeps weights and optimizer states in fp32"):
        train(short_recipe(engine="trainer", **keys), tmp_path / "run")
