"""Every bad input is one clear line and exit code 2; nothing is lost and nothing is half-written."""

import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conftest import ROOT, missing_part

RECIPE = ROOT / "recipes" / "tiny.toml"
# Small enough for seconds, whole enough to pass through every stage.
SHORT = ["generate.num_examples=60", "train.num_epochs=1", "train.checkpoint_every=1", "evaluate.items_per_skill=1"]


def pacos(folder: Path, *arguments: object) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "pacos", *map(str, arguments)]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=240, check=False)


def assert_refused(done: "subprocess.CompletedProcess[str]", *said: str) -> None:
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    assert done.returncode == 2, done.stderr
    assert lines[-1].startswith("pacos: "), done.stderr
    assert "Traceback" not in done.stderr
    for part in said:
        assert part in lines[-1]


def seed_line(name: str) -> str:
    task = {"instruction": f"Name the {name} of the week.", "instances": [{"input": "", "output": name}]}
    return json.dumps(task | {"is_classification": False})


def test_a_misspelt_key_is_answered_with_the_right_one(tmp_path: Path) -> None:
    (tmp_path / "r.toml").write_text("[train]\nnum_epoch = 3\n")
    assert_refused(pacos(tmp_path, "run", "r.toml"), "r.toml", "train.num_epoch", "train.num_epochs")
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("arguments", [[], ["trian"], ["train"], ["train", "r.toml", "--rum", "x"]])
def test_a_wrong_call_says_how_to_call(tmp_path: Path, arguments: list[str]) -> None:
    done = pacos(tmp_path, *arguments)
    assert done.returncode == 2
    assert "Usage: pacos" in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


def test_a_password_in_an_address_is_refused_and_not_repeated(tmp_path: Path) -> None:
    done = pacos(tmp_path, "run", RECIPE, "serve.database=postgresql://me:sesame@localhost/pacos")
    assert_refused(done, "serve.database", "PGPASSWORD")
    assert "sesame" not in done.stderr


def test_a_recipe_that_is_not_toml(tmp_path: Path) -> None:
    (tmp_path / "r.toml").write_text("num_epochs: 3\n")
    assert_refused(pacos(tmp_path, "run", "r.toml"), "r.toml", "not TOML", "line 1")
    assert_refused(pacos(tmp_path, "run", "none.toml"), "none.toml", "no such file")


def test_a_seed_file_with_a_broken_line_17(tmp_path: Path) -> None:
    lines = [seed_line(str(n)) for n in range(20)]
    lines[16] = lines[16][:-5]
    (tmp_path / "seeds.jsonl").write_text("\n".join(lines))
    done = pacos(tmp_path, "generate", RECIPE, "generate.seed_tasks=seeds.jsonl")
    assert_refused(done, "seeds.jsonl:17")


def test_a_dataset_whose_record_5_has_no_instruction(tmp_path: Path) -> None:
    records = [{"instruction": f"Say {n}.", "input": "", "output": str(n)} for n in range(9)]
    del records[4]["instruction"]
    (tmp_path / "data.json").write_text(json.dumps(records))
    assert_refused(pacos(tmp_path, "train", RECIPE, "train.dataset=data.json"), "data.json", "record 5", "instruction")


def test_a_base_path_that_does_not_exist(tmp_path: Path) -> None:
    (tmp_path / "data.json").write_text(json.dumps([{"instruction": "Say a.", "input": "", "output": "a"}] * 9))
    done = pacos(tmp_path, "train", RECIPE, "train.dataset=data.json", "train.base=/no/such/base")
    assert_refused(done, "/no/such/base")
    # Before data is made, and paid for, that no base is there to learn from.
    done = pacos(tmp_path, "run", RECIPE, "train.base=/no/such/base")
    assert_refused(done, "/no/such/base")
    assert done.stdout == ""


NO_SERVER = ["teacher.engine=http", "teacher.base_url=http://127.0.0.1:9/v1", "teacher.model=x"]
REFUSED = {
    "generate": ["generate", RECIPE, "generate.seed_tasks=none.jsonl"],
    "no server": ["generate", RECIPE, *NO_SERVER],
    "train": ["train", RECIPE],
    "evaluate": ["evaluate", RECIPE, "--run", "some/where/else"],
    "serve": ["serve", "--model", "no-such-model"],
}


@pytest.mark.parametrize("arguments", REFUSED.values(), ids=REFUSED)
def test_what_is_refused_at_once_leaves_no_folder(tmp_path: Path, arguments: list[str]) -> None:
    assert pacos(tmp_path, *arguments).returncode == 2
    assert list(tmp_path.iterdir()) == []


def test_what_is_refused_leaves_what_was_there(tmp_path: Path) -> None:
    (tmp_path / "runs" / "tiny").mkdir(parents=True)
    assert_refused(pacos(tmp_path, "train", RECIPE), "generate")
    assert_refused(pacos(tmp_path, "train", RECIPE, "--run", "runs/other"), "generate")
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["tiny"]
    assert pacos(tmp_path, "generate", RECIPE, *SHORT).returncode == 0
    assert_refused(pacos(tmp_path, "evaluate", RECIPE, *SHORT), "train")
    assert (tmp_path / "runs" / "tiny" / "generate" / "dataset.json").exists()


def test_a_base_cut_in_half(tmp_path: Path, tiny_model: Path) -> None:
    base = tmp_path / "base"
    shutil.copytree(tiny_model, base)
    weights = base / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[: weights.stat().st_size // 2])
    (tmp_path / "data.json").write_text(json.dumps([{"instruction": "Say a.", "input": "", "output": "a"}] * 9))
    assert_refused(pacos(tmp_path, "train", RECIPE, "train.dataset=data.json", "train.base=base"), "train.base base")


def test_the_doctor_misses_a_file_before_a_run_does(tmp_path: Path) -> None:
    files = ["train.dataset=nope.json", "generate.seed_tasks=none.jsonl", "evaluate.instructions=no.json"]
    done = pacos(tmp_path, "doctor", RECIPE, *files, "evaluate.references=nil.json")
    assert (done.returncode, done.stderr) == (0, "")
    *_, verdict, seeds, dataset, questions, answers = done.stdout.splitlines()
    assert verdict == "fits."
    for line, name in ((seeds, "none.jsonl"), (dataset, "nope.json"), (questions, "no.json"), (answers, "nil.json")):
        assert line.startswith("missing: ")
        assert name in line


def test_a_run_made_with_another_recipe_names_the_keys(tmp_path: Path) -> None:
    assert pacos(tmp_path, "generate", RECIPE, *SHORT).returncode == 0
    done = pacos(tmp_path, "generate", RECIPE, *SHORT, "generate.seed=7")
    assert_refused(done, "runs/tiny", "generate.seed was 42, is now 7", "--run")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 300 kB; needs the right to mount."""
    folder = tmp_path / "small"
    folder.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=300k", "tmpfs", folder], capture_output=True).returncode:
        missing_part("needs the right to mount a small tmpfs")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


def test_a_full_disk_loses_nothing(tmp_path: Path, small_disk: Path) -> None:
    done = pacos(tmp_path, "generate", RECIPE, "--run", small_disk / "run")
    assert_refused(done)
    assert "disk" in done.stderr
    assert not (small_disk / "run" / "generate" / "done.json").exists()
    assert not list((small_disk / "run").rglob("*.partial"))
    subprocess.run(["mount", "-o", "remount,size=20m", small_disk], check=True)
    assert pacos(tmp_path, "generate", RECIPE, "--run", small_disk / "run").returncode == 0


def test_training_on_a_full_disk_is_one_line(tmp_path: Path, small_disk: Path) -> None:
    records = [{"instruction": f"Say {n}.", "input": "", "output": str(n)} for n in range(64)]
    (tmp_path / "data.json").write_text(json.dumps(records))
    arguments = (RECIPE, "train.dataset=data.json", "train.num_epochs=1", "--run", small_disk / "run")
    assert_refused(pacos(tmp_path, "train", *arguments), "full")
    assert not (small_disk / "run" / "train" / "model").exists()


@pytest.mark.parametrize("stage", ["generate", "train", "evaluate", "release"])
def test_ctrl_c_in_any_stage_stops_cleanly_and_the_same_command_goes_on(tmp_path: Path, stage: str) -> None:
    command = [sys.executable, "-m", "pacos", "run", str(RECIPE), *SHORT]
    process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    events = tmp_path / "runs" / "tiny" / "events.jsonl"
    wait_for(lambda: events.exists() and f'"{stage}", "event": "begin"' in events.read_text(), process)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=120)
    assert "Traceback" not in errors
    # The last stage may be over before the signal arrives; then there was nothing to stop.
    if '"release", "event": "done"' not in events.read_text():
        assert process.returncode == 2, errors
        assert "same command goes on" in errors
    done = pacos(tmp_path, "run", RECIPE, *SHORT)
    assert done.returncode == 0, done.stderr
    sums = subprocess.run(["sha256sum", "-c", "--quiet", "SHA256SUMS"], cwd=tmp_path / "runs" / "tiny" / "release")
    assert sums.returncode == 0


def wait_for(condition: Callable[[], object], process: "subprocess.Popen[str]", seconds: float = 200) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_second_process_on_the_same_run_is_refused(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pacos", "generate", str(RECIPE), "generate.num_examples=3000"]
    first = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        lock = tmp_path / "runs" / "tiny" / ".lock"
        wait_for(lambda: lock.exists() and lock.read_text(), first)
        assert_refused(pacos(tmp_path, "generate", RECIPE), "runs/tiny", str(first.pid))
    finally:
        first.kill()
        first.wait()
