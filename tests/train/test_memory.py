"""The memory estimate: what a real run of the stage held at its peak, in a process of its own."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    Gemma3TextConfig,
    GPTNeoXConfig,
    LlamaConfig,
    PreTrainedConfig,
)

from pacos.core.recipe import TrainTable
from pacos.train.memory import estimate_memory

# Large enough that what is estimated outweighs the interpreter.
SHAPE = {"hidden_size": 512, "intermediate_size": 1536, "num_hidden_layers": 8, "num_attention_heads": 8}
WIDE = {"hidden_size": 256, "intermediate_size": 512, "num_hidden_layers": 4, "num_attention_heads": 4}
GEMMA = {"num_key_value_heads": 1, "head_dim": 64, "sliding_window": 64}
BASES = {
    "llama": lambda size: LlamaConfig(vocab_size=size, **SHAPE),
    "gemma3": lambda size: Gemma3TextConfig(vocab_size=131_072, **GEMMA, **WIDE),
    "padded": lambda size: GPTNeoXConfig(vocab_size=size, **SHAPE),
}


def save_base(folder: Path, tokenizer_of: Path, config: PreTrainedConfig) -> None:
    AutoTokenizer.from_pretrained(tokenizer_of).save_pretrained(folder)
    torch.manual_seed(0)
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)


@pytest.mark.parametrize(("name", "precision"), [("llama", "bf16"), ("gemma3", "fp32"), ("padded", "bf16")])
def test_the_estimate_is_near_what_a_run_holds(name: str, precision: str, tmp_path: Path, tiny_model: Path) -> None:
    base, recipe, data = tmp_path / "base", tmp_path / "some.toml", tmp_path / "data.json"
    save_base(base, tiny_model, BASES[name](len(AutoTokenizer.from_pretrained(tiny_model))))
    rows = [
        {"instruction": f"Say {n}.", "input": "", "output": "the quick brown fox " * (n % 9 + 3)} for n in range(64)
    ]
    data.write_text(json.dumps(rows))
    recipe.write_text("[train]\nbatch_size = 32\nmax_length = 256\nnum_epochs = 1\n")
    keys = [f"train.base={base}", f"train.dataset={data}", f"train.precision={precision}"]
    command = [sys.executable, "-m", "pacos", "train", str(recipe), *keys, "--run", str(tmp_path / "run")]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, timeout=300, env={**os.environ, "RANK": "0"})
    report = json.loads((tmp_path / "run/train/report.json").read_text())
    assert 0.6 < report["peak_memory_bytes"] / report["estimated_memory_bytes"] < 1.2, report


def test_what_a_run_holds_beyond_its_weights_grows_with_what_its_steps_have(tmp_path: Path, tiny_model: Path) -> None:
    save_base(tmp_path / "base", tiny_model, LlamaConfig(vocab_size=300, **WIDE))
    table = TrainTable(base=str(tmp_path / "base"), batch_size=16, max_length=128)
    unknown, short, long = (
        estimate_memory(table, torch.device("cpu"), tokens=tokens) for tokens in (None, 1_000, 100_000)
    )
    assert short.parts["activations"] < unknown.parts["activations"] < long.parts["activations"]
    # No row is longer, so that more of them hold no more than the gradients of one and of the next.
    assert long.parts["activations"] < 3 * unknown.parts["activations"]
    assert long.parts["gradients"] - short.parts["gradients"] == 4 * 300 * 256
    assert short.parts["weights"] == long.parts["weights"]


def test_a_run_begun_by_a_large_program_reports_its_own_peak(tmp_path: Path) -> None:
    asked = "import torch; from pacos.train.machine import peak_memory_bytes as p; print(p(torch.device('cpu')))"
    # Linux lets a new program begin with the peak of the one that started it.
    large = f"import subprocess, sys; held = b'1' * 2_000_000_000; subprocess.run([sys.executable, '-c', {asked!r}])"
    printed = subprocess.run([sys.executable, "-c", large], capture_output=True, text=True, check=True).stdout
    assert 100e6 < int(printed) < 1.5e9
