"""Checkpoints: whatever moment a run is killed at, the next one goes on as if it had not been."""

import os
import re
import shutil
import sys
import warnings
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.state_dict_loader import load
from torch.distributed.checkpoint.state_dict_saver import save
from transformers import PreTrainedModel

from pacos.core.errors import PacosError
from pacos.core.files import read_json, write_error, write_json
from pacos.train.machine import Team

# One process is no mistake.
warnings.filterwarnings("ignore", message="torch.distributed is disabled")
KEPT = 2
LIBRARIES = ("torch", "transformers", "pacos")


@dataclass
class Progress:
    """How far training is; what a checkpoint keeps beside weights and optimizer state."""

    step: int = 0
    real_tokens: int = 0
    seconds: float = 0.0
    heldout_loss_before: float | None = None


class Checkpoints:
    """The checkpoints of one run; `origin` (hashes of base and dataset) must be the same at every resume."""

    def __init__(self, folder: Path, origin: dict[str, str], team: Team) -> None:
        self.folder, self.origin, self.team = folder, origin, team
        self.versions = {name: version(name) for name in LIBRARIES}

    def save(self, model: PreTrainedModel, optimizer: torch.optim.Optimizer, progress: Progress) -> None:
        """Writes the state after `progress.step`, whole or not at all, and removes all but the last two."""
        path = self.folder / f"step-{progress.step:08d}"
        partial = path.with_name(f".{path.name}.partial")
        try:
            if self.team.rank == 0:
                shutil.rmtree(partial, ignore_errors=True)
                partial.mkdir(parents=True)
            self.team.wait()
            save(_state(model, optimizer), checkpoint_id=partial, no_dist=not self.team.mesh)
            if self.team.rank == 0:
                record = {"progress": asdict(progress), "origin": self.origin, "versions": self.versions}
                write_json(partial / "progress.json", record)
                os.replace(partial, path)
                for old in self._paths()[:-KEPT]:
                    shutil.rmtree(old)
            self.team.wait()
        except (OSError, RuntimeError, CheckpointException) as error:
            shutil.rmtree(partial, ignore_errors=True)
            # The full disk is reported as an error of torch's own, without the system's number.
            raise write_error(path, OSError(0, "no space left, or the disk failed")) from error

    def load(self, model: PreTrainedModel, optimizer: torch.optim.Optimizer) -> Progress:
        """Restores the newest checkpoint, of whatever number of processes; a fresh Progress where there is none.

        Raises PacosError for a checkpoint that is damaged or of another base or dataset.
        """
        if self.team.rank == 0:
            for partial in self.folder.glob(".step-*.partial"):
                shutil.rmtree(partial)
        if not (paths := self._paths()):
            return Progress()
        path = paths[-1]
        try:
            record = read_json(path / "progress.json", "record of a checkpoint")
            self._check(path, record)
            load(_state(model, optimizer), checkpoint_id=path, no_dist=not self.team.mesh)
            return Progress(**record["progress"])
        except PacosError:
            raise
        except (Exception, CheckpointException) as error:
            inner = next(iter(error.failures.values()))[0] if isinstance(error, CheckpointException) else error
            reason = " ".join(str(inner).split()) or type(inner).__name__
            raise PacosError(
                f"{path}: this checkpoint is damaged ({reason[:120]}); "
                "remove it, and the same command goes on from the one before."
            ) from None

    def _check(self, path: Path, record: dict[str, Any]) -> None:
        if changed := [name for name, was in record["origin"].items() if self.origin.get(name) != was]:
            raise PacosError(
                f"{path}: made with another {' and '.join(changed)} than the one there now; "
                "put it back as it was, or begin anew with --run another folder."
            )
        for name, was in record["versions"].items():
            now = self.versions.get(name)
            if now != was and self.team.rank == 0:
                said = f"train: {path} was made with {name} {was}, this is {now}: not the same to the bit"
                print(said, file=sys.stderr)

    def _paths(self) -> list[Path]:
        return sorted(path for path in self.folder.glob("step-*") if re.fullmatch(r"step-\d+", path.name))


def _state(model: PreTrainedModel, optimizer: torch.optim.Optimizer) -> dict[str, torch.Tensor]:
    """All that an update changes, by name, each tensor once; sharded ones are saved as what they are shares of."""
    state = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            state[f"model.{name}"] = parameter.detach()
            state |= {f"optimizer.{name}.{key}": value for key, value in optimizer.state[parameter].items()}
    return state
