"""A student is a checkpoint like its base: the same tensor names, one truth in every file, a difference that is one."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import peft
import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, GenerationConfig

from pacos.core.errors import PacosError
from pacos.core.files import sha256_file
from pacos.core.recipe import Recipe
from pacos.core.run_folder import RunFolder
from pacos.release.rebuild import rebuild
from pacos.release.run import run as release
from pacos.train.run import run
from tests.train.bases import BASES, save_base

MakeRecipe = Callable[..., Recipe]


def tensors_of(folder: Path) -> dict[str, torch.Tensor]:
    return {name: tensor for file in folder.glob("model*.safetensors") for name, tensor in load_file(file).items()}


def run_and_release(recipe: Recipe, folder: Path) -> None:
    with RunFolder(folder, recipe) as opened:
        run(recipe, opened)
        release(recipe, opened)


def records_of(release_dir: Path) -> list[dict]:
    manifest = json.loads((release_dir / "weights_diff/manifest.json").read_text())
    return [tensor for file in manifest["files"] for tensor in file["tensors"]]


def hashes(folder: Path) -> dict[str, str]:
    return {path.name: sha256_file(path) for path in folder.iterdir()}


# What a base's files hold beside the weights: tables that the model computes.
NOT_WEIGHTS = ("inv_freq", ".attn.bias")


@pytest.mark.parametrize("kind", BASES)
def test_the_student_has_its_bases_names_and_differs_from_it_alone(
    kind: str, short_recipe: MakeRecipe, tmp_path: Path, tiny_model: Path
) -> None:
    base = save_base(kind, tiny_model, tmp_path / "base", files=1 + len(kind) % 2)
    run_and_release(short_recipe(base=base, num_epochs=1, max_examples=16), tmp_path / "run")
    student, made = tmp_path / "run/train/model", tmp_path / "run/release"
    expected = {name for name in tensors_of(base) if not name.endswith(NOT_WEIGHTS)}
    names = tensors_of(student).keys()
    head = {"lm_head.weight", "model.embed_tokens.weight"}
    assert names - head == expected - head
    assert names <= expected | head

    loaded, info = AutoModelForCausalLM.from_pretrained(student, output_loading_info=True)
    assert not info["missing_keys"] | info["unexpected_keys"] | info["mismatched_keys"]
    assert loaded.config.architectures == [type(loaded).__name__]
    assert all(record["base"] for record in records_of(made))
    shutil.rmtree(made / "model")
    rebuild(made, str(base), tmp_path / "rebuilt")
    assert hashes(tmp_path / "rebuilt") == hashes(student)


@pytest.mark.parametrize("lora", [None, "{rank = 2}"], ids=["all weights", "adapters"])
@pytest.mark.parametrize("mode", ["modern", "alpaca-2023"])
def test_keys_of_a_generation_config_that_cannot_be_saved_are_dropped_and_said_once(
    mode: str, lora: str | None, short_recipe: MakeRecipe, tmp_path: Path, tiny_model: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    base = save_base("llama", tiny_model, tmp_path / "base")
    path = base / "generation_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "temperature": 0.9, "top_p": 0.6, "max_length": 99}))
    keys = {"lora": lora} if lora else {}
    run_and_release(short_recipe(base=base, num_epochs=1, mode=mode, **keys), tmp_path / "run")
    said = [line for line in capsys.readouterr().out.splitlines() if "temperature and top_p" in line]
    assert len(said) == 1
    for folder in ("release/model", *([] if lora else ["train/model"])):
        saved = json.loads((tmp_path / "run" / folder / "generation_config.json").read_text())
        assert {"temperature", "top_p"}.isdisjoint(saved)
        assert saved["max_length"] == 99
        GenerationConfig.from_pretrained(tmp_path / "run" / folder).validate(strict=True)


def ids_in(folder: Path) -> list[tuple[int | None, ...]]:
    """(bos, eos, pad) by the config, the generation config and the tokenizer."""
    readers = (AutoConfig, GenerationConfig, AutoTokenizer)
    names = ("bos_token_id", "eos_token_id", "pad_token_id")
    return [tuple(getattr(reader.from_pretrained(folder), name) for name in names) for reader in readers]


@pytest.mark.parametrize("lora", [None, "{rank = 2}"], ids=["all weights", "adapters"])
@pytest.mark.parametrize("mode", ["modern", "alpaca-2023"])
def test_the_special_tokens_are_one_truth_in_all_files(
    mode: str, lora: str | None, short_recipe: MakeRecipe, tmp_path: Path, tiny_model: Path
) -> None:
    base = save_base("llama", tiny_model, tmp_path / "base")
    path = base / "tokenizer_config.json"
    config = json.loads(path.read_text())
    config.pop("pad_token")
    path.write_text(json.dumps(config))
    for name in ("config.json", "generation_config.json"):
        broken = {"bos_token_id": 7, "eos_token_id": [0, 9], "pad_token_id": 5}
        (base / name).write_text(json.dumps({**json.loads((base / name).read_text()), **broken}))
    keys = {"lora": lora} if lora else {}
    run_and_release(short_recipe(base=base, num_epochs=1, mode=mode, **keys), tmp_path / "run")
    tokens = AutoTokenizer.from_pretrained(tmp_path / "run/train/model")
    truth = (tokens.bos_token_id, tokens.eos_token_id, tokens.pad_token_id)
    assert truth[:2] == (0, 1)
    assert (truth[2] is not None) is (mode == "alpaca-2023" and not lora)
    for folder in [tmp_path / "run/release/model", *([] if lora else [tmp_path / "run/train/model"])]:
        assert ids_in(folder) == [truth] * 3


@pytest.mark.parametrize("kind", ["llama", "gpt2", "gpt_neox", "qwen3_moe", "mixtral", "phimoe"])
def test_adapters_on_a_bf16_base_are_merged_in_fp32_under_the_bases_names(
    kind: str, short_recipe: MakeRecipe, tmp_path: Path, tiny_model: Path
) -> None:
    base = save_base(kind, tiny_model, tmp_path / "base", dtype=torch.bfloat16)
    run_and_release(short_recipe(base=base, num_epochs=2, lora="{rank = 4}"), tmp_path / "run")
    merged = tmp_path / "run/release/model"
    adapted = peft.AutoPeftModelForCausalLM.from_pretrained(str(tmp_path / "run/train/model"), dtype=torch.float32)
    ids = torch.arange(1, 60)[None]
    plain = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    loaded = AutoModelForCausalLM.from_pretrained(merged)
    assert loaded.dtype == torch.float32
    with torch.no_grad():
        assert torch.allclose(loaded(ids).logits, adapted(ids).logits, atol=2e-5)
        assert (loaded(ids).logits - plain(ids).logits).abs().max() > 1e-3
    names = {name for name in tensors_of(base) if not name.endswith(NOT_WEIGHTS)}
    assert tensors_of(merged).keys() == names
    assert all(record["base"] for record in records_of(tmp_path / "run/release"))
    expected = hashes(merged)
    shutil.rmtree(merged)
    rebuild(tmp_path / "run/release", str(base), tmp_path / "rebuilt")
    assert hashes(tmp_path / "rebuilt") == expected


def test_a_base_that_takes_no_adapters_is_one_line(short_recipe: MakeRecipe, tmp_path: Path, tiny_model: Path) -> None:
    base = save_base("mamba", tiny_model, tmp_path / "base")
    with pytest.raises(PacosError, match=r"takes no adapters .* without \[train\.lora\]"):
        run_and_release(short_recipe(base=base, lora="{rank = 2}"), tmp_path / "run")


@pytest.mark.parametrize("zipped", [True, False], ids=["of today", "of 2019"])
def test_a_base_from_before_safetensors_gives_its_names_and_no_difference(
    zipped: bool, short_recipe: MakeRecipe, tmp_path: Path, tiny_model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    base = save_base("gpt2", tiny_model, tmp_path / "base")
    tensors = tensors_of(base)
    torch.save(tensors, base / "pytorch_model.bin", _use_new_zipfile_serialization=zipped)
    (base / "model.safetensors").unlink()
    run_and_release(short_recipe(base=base, num_epochs=1), tmp_path / "run")
    names = {name for name in tensors if not name.endswith(NOT_WEIGHTS)}
    assert tensors_of(tmp_path / "run/train/model").keys() == names
    assert not (tmp_path / "run/release/weights_diff").exists()
    assert "Convert" in capsys.readouterr().out
