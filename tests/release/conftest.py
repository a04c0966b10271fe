"""Checkpoints made of a few tensors, and a run whose stages before the release are finished."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from pacos.core.files import sha256_file
from pacos.core.recipe import load
from pacos.core.run_folder import RunFolder
from pacos.release.run import run as release
from tests.study import made_run

Tensors = dict[str, torch.Tensor]
SaveCheckpoint = Callable[..., Path]


@pytest.fixture
def save_checkpoint(tmp_path: Path) -> SaveCheckpoint:
    """Saves tensors as a checkpoint folder; several dicts become several files with an index."""

    def save(name: str, *parts: Tensors) -> Path:
        folder = tmp_path / name
        folder.mkdir()
        (folder / "config.json").write_text('{"model_type": "llama"}')
        (folder / "tokenizer.json").write_text(json.dumps({"made": name}))
        if len(parts) == 1:
            save_file(parts[0], folder / "model.safetensors", {"format": "pt"})
            return folder
        files = [f"model-{number:05}-of-{len(parts):05}.safetensors" for number in range(1, len(parts) + 1)]
        for file, tensors in zip(files, parts, strict=True):
            save_file(tensors, folder / file, {"format": "pt"})
        places = {name: file for file, tensors in zip(files, parts, strict=True) for name in tensors}
        (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": places}))
        return folder

    return save


@pytest.fixture
def make_release(tmp_path: Path) -> Callable[..., Path]:
    """Runs the release stage for a student on a base and returns the release folder."""

    def make(base: Path, student: Path, *overrides: str, evaluated: dict | None = None) -> Path:
        run = tmp_path / "run"
        reports = {
            "generate": {"asked": 1320, "parsed": 1290, "kept": 1200, "rejected": {"too_short": 40, "not_novel": 50}},
            "train": {
                "steps": 75,
                "examples": 1200,
                "real_tokens": 98765,
                "real_tokens_per_second": 5000.0,
                "final_loss": 0.4321,
                "seconds": 61.0,
                "weights_sha256": "ab" * 32,
                "precision": "bf16",
                "optimizer": "adamw",
            },
        }
        if evaluated:
            reports["evaluate"] = evaluated
        for stage, values in reports.items():
            getattr(made_run, f"make_{stage}")(run / stage)
            whole = json.loads((run / stage / "report.json").read_text())
            made_run.finish(run / stage, whole | values)
        (run / "generate" / "dataset.json").write_text("[]")
        (run / "generate" / "datasheet.md").write_text("# Datasheet\n")
        (run / "train" / "model").symlink_to(student)
        path = tmp_path / "tiny.toml"
        path.write_text("")
        recipe = load(path, [f"train.base={base}", *overrides])
        with RunFolder(run, recipe) as folder:
            release(recipe, folder)
        return run / "release"

    return make


def hashes(folder: Path) -> dict[str, str]:
    """Relative path -> SHA-256 of every file in a folder."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {path.relative_to(folder).as_posix(): sha256_file(path) for path in files}


@pytest.fixture
def folder_hashes() -> Callable[[Path], dict[str, str]]:
    return hashes
