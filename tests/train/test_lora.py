"""Low-rank adapters: trained alone, saved in peft's format, merged by the release."""

import json
from collections.abc import Callable
from pathlib import Path

import peft
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from pacos.core.files import sha256_file
from pacos.core.recipe import Recipe
from pacos.core.run_folder import RunFolder
from pacos.release.run import run as release
from pacos.train.run import run

MakeRecipe = Callable[..., Recipe]


def test_adapters_are_trained_saved_for_peft_and_merged(
    short_recipe: MakeRecipe, tmp_path: Path, tiny_model: Path
) -> None:
    folder = tmp_path / "run"
    recipe = short_recipe(lora="{rank = 4, alpha = 8}", num_epochs=4)
    with RunFolder(folder, recipe) as opened:
        report = run(recipe, opened)
        release(recipe, opened)
    assert report
    lines = [json.loads(line) for line in (folder / "train/steps.jsonl").read_text().splitlines()]
    assert lines[0]["loss"] > 1.05 * report.final_loss
    saved = load_file(folder / "train/model/adapter_model.safetensors")
    assert len(saved) == 2 * 2 * 7
    assert all(tensor.abs().max() > 0 for tensor in saved.values())
    assert not (folder / "train/model/model.safetensors").exists()

    ids = torch.arange(1, 40)[None]
    adapted = peft.PeftModel.from_pretrained(
        AutoModelForCausalLM.from_pretrained(tiny_model), str(folder / "train/model")
    )
    merged = AutoModelForCausalLM.from_pretrained(folder / "release/model")
    base = AutoModelForCausalLM.from_pretrained(tiny_model)
    assert torch.allclose(merged(ids).logits, adapted(ids).logits, atol=1e-4)
    assert (merged(ids).logits - base(ids).logits).abs().max() > 0.1
    assert (folder / "release/weights_diff/manifest.json").exists()
    assert report.trained_parameters == sum(tensor.numel() for tensor in saved.values())
    assert report.parameters == report.trained_parameters + base.num_parameters()
    card = (folder / "release/MODEL_CARD.md").read_text()
    assert sha256_file(folder / "release/model/model.safetensors") in card
    assert f"LoRA of rank 4, alpha 8: {report.trained_parameters:,} parameters" in card


def test_adapters_resume_to_the_bit(short_recipe: MakeRecipe, tmp_path: Path) -> None:
    shas = []
    for interrupted in (False, True):
        folder = tmp_path / str(interrupted)
        recipe = short_recipe(lora="{rank = 4, dropout = 0.1}", num_epochs=4, checkpoint_every=5)
        with RunFolder(folder, recipe) as opened:
            if interrupted:
                run(recipe, opened)
                (folder / "train/done.json").unlink()
            report = run(recipe, opened)
        assert report
        shas.append(report.weights_sha256)
    assert shas[0] == shas[1]
