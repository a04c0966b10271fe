"""Checkpoints and the step log: whatever moment a run is killed at, the next one goes on as if it had not been."""

import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Self

import torch
from transformers import PreTrainedModel

from pacos.core.errors import PacosError
from pacos.core.files import atomic_open, read_json_lines, write_error

KEPT = 2


@dataclass
class Progress:
    """How far training is; what a checkpoint keeps beside weights, optimizer state and random state."""

    step: int = 0
    real_tokens: int = 0
    seconds: float = 0.0
    heldout_loss_before: float | None = None


class Checkpoints:
    """The checkpoints of one run; `origin` (hashes of base and dataset) must be the same at every resume."""

    def __init__(self, folder: Path, origin: dict[str, str]) -> None:
        self.folder = folder
        self.origin = origin

    def save(self, model: PreTrainedModel, optimizer: torch.optim.Optimizer, progress: Progress) -> None:
        """Writes the state after `progress.step`, whole or not at all, and removes all but the last two."""
        state = {
            "model": model.state_dict(),
            "optimizer": optimizer.state_dict(),
            "random": torch.get_rng_state(),
            "progress": vars(progress),
            "origin": self.origin,
        }
        path = self.folder / f"step-{progress.step:08d}.pt"
        with atomic_open(path, "wb") as file:
            _save(state, file, path)
        for old in self._paths()[:-KEPT]:
            old.unlink()

    def load(self, model: PreTrainedModel, optimizer: torch.optim.Optimizer) -> Progress:
        """Restores the newest checkpoint; a fresh Progress where there is none.

        Raises PacosError for a checkpoint that is damaged or of another base or dataset.
        """
        for path in self.folder.glob(".step-*.partial"):
            path.unlink()
        paths = self._paths()
        if not paths:
            return Progress()
        state = _read(paths[-1])
        changed = [name for name, was in state["origin"].items() if self.origin.get(name) != was]
        if changed:
            raise PacosError(
                f"{paths[-1]}: made with another {' and '.join(changed)} than the one there now; "
                "put it back as it was, or begin anew with --run another folder."
            )
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        torch.set_rng_state(state["random"])
        return Progress(**state["progress"])

    def _paths(self) -> list[Path]:
        return sorted(path for path in self.folder.glob("*.pt") if re.fullmatch(r"step-\d+\.pt", path.name))


def _save(state: dict[str, Any], file: IO[bytes], path: Path) -> None:
    try:
        torch.save(state, file)
    except RuntimeError as error:
        # torch reports a full disk as an error of its own, without the system's number.
        raise write_error(path, OSError(0, "no space left, or the disk failed")) from error


def _read(path: Path) -> dict[str, Any]:
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        return state
    except Exception as error:
        raise PacosError(
            f"{path}: this checkpoint is damaged ({str(error).splitlines()[0][:80]}); "
            "remove it, and the same command goes on from the one before."
        ) from None


class StepLog:
    """steps.jsonl, one line an optimizer step; opened after `step` steps it drops the lines of later ones."""

    def __init__(self, path: Path, step: int) -> None:
        self.path = path
        kept = []
        if path.exists():
            lines = path.read_bytes().split(b"\n")[:step]
            kept = [line + b"\n" for line in lines]
        with atomic_open(path, "wb") as file:
            file.writelines(kept)

    def __enter__(self) -> Self:
        self._file = open(self.path, "a", encoding="utf-8")
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def write(self, values: dict[str, Any]) -> None:
        """Appends one line and hands it to the system, so that a killed process loses none."""
        try:
            self._file.write(json.dumps(values) + "\n")
            self._file.flush()
        except OSError as error:
            raise write_error(self.path, error) from error

    def sync(self) -> None:
        """Puts the lines on disk, before a checkpoint counts on them."""
        os.fsync(self._file.fileno())


def logged_losses(path: Path) -> list[float]:
    """The loss of every step so far."""
    return [line["loss"] for _, line in read_json_lines(path, "step log")]
