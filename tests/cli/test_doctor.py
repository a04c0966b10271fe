"""The doctor's verdict: parts that add up, no weights read, no key shown."""

import json
import re
from pathlib import Path

import pytest
from transformers import AutoModelForCausalLM, LlamaConfig

from pacos.cli.doctor import doctor
from pacos.core.errors import PacosError
from pacos.core.free_memory import free_memory_bytes
from pacos.core.recipe import load


def examine(tmp_path: Path, text: str, capsys: pytest.CaptureFixture[str]) -> str:
    path = tmp_path / "recipe.toml"
    path.write_text(text)
    doctor(load(path))
    return capsys.readouterr().out


def gigabytes(name: str, output: str) -> float:
    found = re.search(rf"^  {name} +([\d.]+) GB", output, re.MULTILINE)
    assert found, f"no {name} in {output}"
    return float(found.group(1))


def config_only(folder: Path, **shape: int) -> Path:
    folder.mkdir()
    (folder / "config.json").write_text(LlamaConfig(**shape).to_json_string(use_diff=False))
    return folder


def test_without_a_recipe_it_tells_the_machine(capsys: pytest.CaptureFixture[str]) -> None:
    doctor(None)
    output = capsys.readouterr().out
    assert re.search(r"^  torch +\d", output, re.MULTILINE)
    assert gigabytes("disk free", output) > 0
    assert 10**8 < free_memory_bytes() < 10**14


def test_a_small_model_fits_and_its_parameters_are_counted_exactly(
    tmp_path: Path, tiny_model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = examine(tmp_path, f'[train]\nbase = "{tiny_model}"\nbatch_size = 2\nmax_length = 64\n', capsys)
    parameters = AutoModelForCausalLM.from_pretrained(tiny_model).num_parameters()
    assert f"{parameters:,} parameters" in output
    assert output.endswith("\nfits.\n")


def test_a_7b_config_alone_gives_the_parts_and_the_verdict(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    base = config_only(tmp_path / "7b", max_position_embeddings=2048)
    output = examine(tmp_path, f'[train]\nbase = "{base}"\nprecision = "bf16"\n', capsys)
    assert "6,738,415,616 parameters" in output
    parts = [
        gigabytes(n, output) for n in ("libraries", "weights", "gradients", "optimizer state", "activations", "logits")
    ]
    assert gigabytes("total", output) == pytest.approx(sum(parts), abs=0.05)
    # A step has several rows: of the second the head's gradient stands beside that of the first.
    assert parts[1:4] == [26.95, 27.48, 53.91]
    if free_memory_bytes() < 107e9:
        assert "does not fit" in output
        assert "train.base" in output


def test_a_batch_too_long_names_the_keys_to_lower(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shape = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 2}
    base = config_only(tmp_path / "wide", vocab_size=1_000, **shape)
    output = examine(tmp_path, f'[train]\nbase = "{base}"\nmax_length = 1000000000\n', capsys)
    assert "does not fit" in output
    assert "lower train.max_length" in output


def test_a_key_is_told_present_or_absent_and_never_shown(
    tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    text = f'[teacher]\nengine = "http"\nmodel = "m"\napi_key_env = "A_KEY"\n[train]\nbase = "{tiny_model}"\n'
    monkeypatch.delenv("A_KEY", raising=False)
    assert "no key: A_KEY is unset" in examine(tmp_path, text, capsys)
    monkeypatch.setenv("A_KEY", "sk-very-secret")
    output = examine(tmp_path, text, capsys)
    assert "key in A_KEY" in output
    assert "secret" not in output


def test_a_base_that_cannot_be_read_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "odd"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"model_type": "no-such-model"}))
    with pytest.raises(PacosError, match=r"config\.json cannot be used"):
        examine(tmp_path, f'[train]\nbase = "{folder}"\n', capsys)


@pytest.mark.parametrize(
    ("base", "parameters"),
    [
        ("./models/llama-7b", 6_738_415_616),
        ("./models/llama-13b", 13_015_864_320),
        ("huggyllama/llama-65b", 65_285_660_672),
        ("meta-llama/Llama-2-70b-hf", 68_976_648_192),
        ("meta-llama/Meta-Llama-3-8B", 8_030_261_248),
    ],
)
def test_a_published_llama_is_known_by_its_name_before_it_is_there(
    base: str, parameters: int, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    output = examine(tmp_path, f'[train]\nbase = "{base}"\n', capsys)
    assert f"{parameters:,} parameters" in output
    assert "not here yet" in output
    assert re.search(r"^(fits\.|does not fit: )", output, re.MULTILINE)


def test_another_base_that_is_not_there_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(PacosError, match="no such model folder"):
        examine(tmp_path, '[train]\nbase = "./models/nowhere"\n', capsys)
