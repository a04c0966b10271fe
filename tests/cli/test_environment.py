"""The model hub is out of reach, unless the recipe names a model that lies there."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

# Python imports this of itself, and it tells what the process was like when it ended.
WITNESS = """
import atexit, os
atexit.register(lambda: print("HF_HUB_OFFLINE is", os.environ.get("HF_HUB_OFFLINE")))
"""


def offline(tmp_path: Path, text: str, *overrides: str) -> bool:
    (tmp_path / "sitecustomize.py").write_text(WITNESS)
    (tmp_path / "r.toml").write_text(text)
    environment = {key: value for key, value in os.environ.items() if key != "HF_HUB_OFFLINE"}
    # Refused for its run folder after the recipe was read, and before anything heavy is imported.
    command = [sys.executable, "-m", "pacos", "run", "r.toml", *overrides, "--run", "."]
    environment |= {"PYTHONPATH": str(tmp_path)}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60)
    assert "--run is empty or '.'" in done.stderr
    return {"HF_HUB_OFFLINE is 1\n": True, "HF_HUB_OFFLINE is None\n": False}[done.stdout]


def test_without_a_hub_model_the_hub_is_out_of_reach(tmp_path: Path) -> None:
    (tmp_path / "model" / "inner").mkdir(parents=True)
    local = '[engines.x]\npath = "model/inner"\n[engines.y]\nengine = "http"\nmodel = "owner/name"\n'
    assert offline(tmp_path, local, "evaluate.judges=['x', 'y', 'builtin:judge', 'http:http://host/v1']")


@pytest.mark.parametrize(
    "override",
    [
        "train.base=owner/name",
        "evaluate.baseline=owner/name",
        "evaluate.candidates=['student', 'owner/name']",
        "evaluate.candidates=['local:owner/name']",
        "evaluate.judges=['local:owner/name']",
        "serve.model=owner/name",
        "teacher.path=owner/name",
        "judge.path=owner/name",
        "engines.x.path=owner/name",
    ],
)
def test_with_a_hub_model_it_is_not(tmp_path: Path, override: str) -> None:
    assert not offline(tmp_path, "", override)
