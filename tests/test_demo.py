"""The demo recipe, shortened, from an empty folder to the report; the second time nothing is done again."""

import json
import os
import re
import shutil
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
from transformers import AutoModelForCausalLM

from pacos.core.records import read_examples
from tests.conftest import ROOT, missing_part

SHORT = ["generate.num_examples=400", "train.num_epochs=1", "evaluate.items_per_skill=1"]


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("demo")
    done = run(folder)
    assert done.returncode == 0, done.stderr
    return folder


def run(folder: Path) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "pacos", "run", str(ROOT / "recipes" / "tiny.toml"), *SHORT]
    # A namespace without a network: whatever reaches out fails.
    isolated = ["unshare", "--net", "--map-root-user"]
    if shutil.which("unshare") and subprocess.run([*isolated, "true"], capture_output=True).returncode == 0:
        command = [*isolated, *command]
    elif os.environ.get("CI") == "true":
        missing_part("needs unshare and the right to make a namespace without a network")
    else:
        warnings.warn("the demo ran with the network within reach: unshare is missing or refused", stacklevel=2)
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=280, check=False)


def report(demo: Path, stage: str) -> dict[str, object]:
    value: dict[str, object] = json.loads((demo / "runs" / "tiny" / stage / "report.json").read_text())
    return value


def test_generate_keeps_and_rejects_for_real(demo: Path) -> None:
    made = report(demo, "generate")
    assert made["kept"] == 400
    assert len(made["rejected"]) >= 5  # type: ignore[arg-type]
    assert len(read_examples(demo / "runs" / "tiny" / "generate" / "dataset.json")) == 400


def test_the_student_loads_and_has_learned(demo: Path) -> None:
    trained = report(demo, "train")
    assert trained["steps"] == 12
    AutoModelForCausalLM.from_pretrained(demo / "runs" / "tiny" / "train" / "model")
    judged = report(demo, "evaluate")
    exact: dict[str, float] = judged["exact_match"]  # type: ignore[assignment]
    assert exact["student"] > exact["base"]


def test_the_report_and_the_release_are_there(demo: Path) -> None:
    page = (demo / "runs" / "tiny" / "report.html").read_text()
    assert not re.findall(r'(?:src|href)="https?://', page)
    release = demo / "runs" / "tiny" / "release"
    assert subprocess.run(["sha256sum", "-c", "--quiet", "SHA256SUMS"], cwd=release).returncode == 0


def test_the_second_time_nothing_is_done(demo: Path) -> None:
    done_files = sorted((demo / "runs" / "tiny").rglob("done.json"))
    before = [path.stat().st_mtime_ns for path in done_files]
    again = run(demo)
    assert again.returncode == 0
    assert "All is done" in again.stdout
    assert [path.stat().st_mtime_ns for path in done_files] == before


def test_the_student_is_rebuilt_bit_for_bit_from_the_released_difference(demo: Path) -> None:
    release, out = demo / "runs" / "tiny" / "release", demo / "rebuilt"
    command = [sys.executable, "-m", "pacos", "rebuild", release, "--base", "pacos-mini", "--out", out]
    assert subprocess.run(command, capture_output=True, timeout=120).returncode == 0
    student = demo / "runs" / "tiny" / "train" / "model" / "model.safetensors"
    assert (out / "model.safetensors").read_bytes() == student.read_bytes()
