"""Several processes on the CPU: one run's numbers, killed and resumed to the bit, on another number too."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from pacos.core.recipe import Recipe, load_run
from pacos.core.run_folder import RunFolder
from tests.train import members
from tests.train.bases import save_base

MakeRecipe = Callable[..., Recipe]


@pytest.fixture
def arguments(short_recipe: MakeRecipe, tmp_path: Path) -> Callable[..., list[str]]:
    def make(folder: Path, **overrides: object) -> list[str]:
        recipe = short_recipe(**overrides)
        path = tmp_path / "short.toml"
        path.write_text(recipe.text)
        values = {"base": recipe.train.base, "dataset": recipe.train.dataset, "precision": "fp32", **overrides}
        return [str(path), *(f"train.{key}={value}" for key, value in values.items()), "--run", str(folder)]

    return make


def steps(folder: Path) -> list[dict[str, float]]:
    path = folder / "train/steps.jsonl"
    lines = path.read_text().split("\n")[:-1] if path.exists() else []
    return [json.loads(line) for line in lines]


def sha(folder: Path) -> str:
    return str(json.loads((folder / "train/report.json").read_text())["weights_sha256"])


def train(size: int, arguments: list[str], tmp_path: Path) -> None:
    codes = members.wait(members.start(size, arguments, tmp_path / "said"))
    assert codes == [0] * size, (tmp_path / "said.0").read_text()[-2000:]


def killed_after(step: int, size: int, arguments: list[str], folder: Path, tmp_path: Path) -> None:
    running = members.start(size, arguments, tmp_path / "said")
    while len(steps(folder)) < step and all(process.is_alive() for process in running):
        time.sleep(0.005)
    assert all(process.is_alive() for process in running), (tmp_path / "said.0").read_text()[-2000:]
    members.kill(running)


def test_two_killed_processes_end_in_the_same_bits_and_four_in_the_same_losses(
    arguments: Callable[..., list[str]], tmp_path: Path
) -> None:
    unbroken, broken, four = (tmp_path / name for name in ("unbroken", "broken", "four"))
    keys = {"checkpoint_every": 3, "num_epochs": 8}
    train(2, arguments(unbroken, **keys), tmp_path)
    killed_after(4, 2, arguments(broken, **keys), broken, tmp_path)
    killed_after(11, 2, arguments(broken, **keys), broken, tmp_path)
    train(2, arguments(broken, **keys), tmp_path)
    assert sha(broken) == sha(unbroken)
    assert [s["loss"] for s in steps(broken)] == [s["loss"] for s in steps(unbroken)]
    train(4, arguments(four, **{**keys, "num_epochs": 1}), tmp_path)
    both = zip(steps(four), steps(unbroken), strict=False)
    assert all(a["real_tokens"] == b["real_tokens"] for a, b in both)
    assert steps(four)[0]["loss"] == pytest.approx(steps(unbroken)[0]["loss"], rel=1e-6)
    assert steps(four)[0]["grad_norm"] == pytest.approx(steps(unbroken)[0]["grad_norm"], rel=1e-5)


@pytest.mark.parametrize(
    "keys",
    [{}, {"precision": "split"}, {"lora": "{rank = 4}"}],
    ids=["fp32", "split, 8-bit states", "adapters"],
)
def test_two_one_and_two_processes_go_on_from_each_other(
    arguments: Callable[..., list[str]], tmp_path: Path, keys: dict[str, object]
) -> None:
    folder, alone = tmp_path / "run", tmp_path / "alone"
    keys = {"checkpoint_every": 1, "num_epochs": 6, "learning_rate": 1e-3, **keys}
    killed_after(3, 2, arguments(folder, **keys), folder, tmp_path)
    killed_after(9, 1, arguments(folder, **keys), folder, tmp_path)
    train(2, arguments(folder, **keys), tmp_path)
    train(1, arguments(alone, **keys), tmp_path)
    assert [s["step"] for s in steps(folder)] == list(range(1, 31))
    apart = 2e-2 if keys.get("precision") == "split" else 1e-4
    assert [s["loss"] for s in steps(folder)] == pytest.approx([s["loss"] for s in steps(alone)], rel=apart)
    models = [AutoModelForCausalLM.from_pretrained(path / "train/model") for path in (folder, alone)]
    for a, b in zip(*(model.parameters() for model in models), strict=True):
        assert a.dtype == torch.float32
        assert torch.allclose(a, b, atol=5e-3)


def test_a_second_group_on_the_same_run_is_refused_in_one_line(
    arguments: Callable[..., list[str]], tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    first = members.start(2, arguments(folder, num_epochs=400), tmp_path / "said")
    try:
        while not steps(folder) and first[0].is_alive():
            time.sleep(0.01)
        codes = members.wait(members.start(2, arguments(folder, num_epochs=400), tmp_path / "second"))
        assert codes[0] == 2
        assert (tmp_path / "second.0").read_text().count("another pacos process") == 1
        assert all(process.is_alive() for process in first)
    finally:
        members.kill(first)


def test_gpus_starts_the_processes_and_one_line_says_what_is_wrong(
    arguments: Callable[..., list[str]], tmp_path: Path
) -> None:
    keys = arguments(tmp_path / "run", engine="trainer")
    command = [sys.executable, "-m", "pacos", "train", *keys, "--gpus", "2"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 2
    assert [line for line in done.stderr.splitlines() if line.startswith("pacos:")] == [
        'pacos: train.engine = "trainer" on several CPU processes would silently be DDP, with no sharding; '
        'run it in one process, on GPUs, or with train.engine = "pacos".'
    ]


@pytest.mark.parametrize("ending", [signal.SIGHUP, signal.SIGKILL])
def test_ending_the_launcher_ends_its_processes(
    arguments: Callable[..., list[str]], tmp_path: Path, ending: signal.Signals
) -> None:
    folder = tmp_path / "run"
    command = [sys.executable, "-m", "pacos", "train", *arguments(folder, num_epochs=400), "--gpus", "2"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as launcher:
        while not steps(folder) and launcher.poll() is None:
            time.sleep(0.05)
        children = Path(f"/proc/{launcher.pid}/task/{launcher.pid}/children").read_text().split()
        assert len(children) == 2
        launcher.send_signal(ending)
        assert launcher.wait(30) == (-ending if ending == signal.SIGKILL else 128 + ending)
    # A killed launcher's children are the system's to end, a moment later.
    for _ in range(100):
        if not any(alive(int(child)) for child in children):
            break
        time.sleep(0.1)
    # The lock is free: nobody is at work on the run.
    with RunFolder(folder, load_run(folder)):
        told = len(steps(folder))
        time.sleep(1)
        assert len(steps(folder)) == told


def alive(process: int) -> bool:
    """Whether any of its threads is: what it held is free when the last has ended, which may not be the first one."""
    try:
        stats = [path.read_text() for path in Path(f"/proc/{process}/task").glob("*/stat")]
    except (FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{process}").exists()
    return any(stat.rpartition(")")[2].split()[0] not in "ZX" for stat in stats)


@pytest.mark.parametrize("told", [{"WORLD_SIZE": "two"}, {"WORLD_SIZE": "2"}, {"WORLD_SIZE": "0"}, {"RANK": "1"}])
def test_half_an_environment_of_torchrun_is_one_line(
    arguments: Callable[..., list[str]], tmp_path: Path, told: dict[str, str]
) -> None:
    command = [sys.executable, "-m", "pacos", "train", *arguments(tmp_path / "run")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, env={**os.environ, **told})
    assert done.returncode == 2
    assert [line for line in done.stderr.splitlines() if "as torchrun sets them" in line] == done.stderr.splitlines()


def test_a_process_that_is_ended_from_outside_is_one_line(arguments: Callable[..., list[str]], tmp_path: Path) -> None:
    folder = tmp_path / "run"
    command = [sys.executable, "-m", "pacos", "train", *arguments(folder, num_epochs=400), "--gpus", "2"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as launcher:
        while not steps(folder) and launcher.poll() is None:
            time.sleep(0.05)
        children = Path(f"/proc/{launcher.pid}/task/{launcher.pid}/children").read_text().split()
        os.kill(int(children[1]), signal.SIGKILL)
        _, said = launcher.communicate(timeout=60)
    assert launcher.returncode == 2
    assert "Traceback" not in said
    assert [line for line in said.splitlines() if line.startswith("pacos:")][-1].startswith(
        "pacos: train: process 1 was ended by signal 9"
    )


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM])
def test_a_launcher_that_is_told_to_stop_saves_and_the_same_command_ends_in_the_same_weights(
    arguments: Callable[..., list[str]], tmp_path: Path, ending: signal.Signals
) -> None:
    broken, unbroken = tmp_path / "broken", tmp_path / "unbroken"
    keys = {"num_epochs": 12, "checkpoint_every": 100}
    command = [sys.executable, "-m", "pacos", "train", *arguments(broken, **keys), "--gpus", "2"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as launcher:
        while len(steps(broken)) < 3 and launcher.poll() is None:
            time.sleep(0.02)
        launcher.send_signal(ending)
        _, said = launcher.communicate(timeout=60)
    assert launcher.returncode == 2, said
    assert said.count("stopping after this step") == said.count("stopped; the same command") == 1
    (saved,) = (broken / "train/checkpoints").glob("step-*")
    assert len(steps(broken)) == int(saved.name.removeprefix("step-")) < 60
    train(2, arguments(broken, **keys), tmp_path)
    train(2, arguments(unbroken, **keys), tmp_path)
    assert sha(broken) == sha(unbroken)


@pytest.mark.parametrize(("kind", "tensors"), [("gpt2", 28), ("mixtral", 41)])
def test_a_student_of_two_processes_has_its_bases_names(
    kind: str, tensors: int, arguments: Callable[..., list[str]], tmp_path: Path, tiny_model: Path
) -> None:
    base = save_base(kind, tiny_model, tmp_path / "base")
    train(2, arguments(tmp_path / "two", base=base, num_epochs=1), tmp_path)
    student = load_file(tmp_path / "two/train/model/model.safetensors").keys()
    assert student <= load_file(base / "model.safetensors").keys()
    assert len(student) == tensors
