"""Checkpoints: whatever moment a run is killed at, the next one goes on as if it had not been."""

import json
import logging
import re
import shutil
import sys
import warnings
from importlib.metadata import version
from pathlib import Path

import torch
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.state_dict_loader import load
from torch.distributed.checkpoint.state_dict_saver import save
from transformers import PreTrainedModel

from pacos.core.errors import PacosError
from pacos.core.files import read_json, write_error, write_json
from pacos.train.machine import PEER_GONE, Team, out_of_memory
from pacos.train.optimizer import AdamW

# One process is no mistake.
warnings.filterwarnings("ignore", message="torch.distributed is disabled")
KEPT = 2
LIBRARIES = ("torch", "transformers", "pacos")


def check_origin(folder: Path, origin: dict[str, str]) -> None:
    """Notes the hashes of base and dataset beside the checkpoints; PacosError where others are noted there. The run
    folder compares small inputs by itself; a base of many gigabytes is compared here alone."""
    path = folder / "origin.json"
    was = read_json(path, "hashes of what is trained from") if path.exists() else origin
    if was != origin:
        changed = [name for name, now in origin.items() if not isinstance(was, dict) or was.get(name) != now]
        raise PacosError(
            f"{path}: made with another {' and '.join(changed)} than the one there now; "
            "put it back as it was, or begin anew with --run another folder."
        )
    write_json(path, origin)


class Checkpoints:
    """The checkpoints of one run."""

    def __init__(self, folder: Path, team: Team) -> None:
        self.folder, self.team = folder, team

    def save(self, model: PreTrainedModel, optimizer: AdamW, step: int, loss_before: float | None) -> None:
        """Writes the state after `step`, whole or not at all, and removes all but the last two."""
        path = self.folder / f"step-{step:08d}"
        try:
            with self.team.whole_folder(path) as partial:
                save(_state(model, optimizer), checkpoint_id=partial, no_dist=not self.team.mesh)
                if self.team.leads:
                    versions = {name: version(name) for name in LIBRARIES}
                    write_json(partial / "progress.json", {"heldout_loss_before": loss_before, "versions": versions})
            for old in self._paths()[:-KEPT] if self.team.leads else ():
                shutil.rmtree(old)
        except (OSError, RuntimeError, CheckpointException) as error:
            inner = _inner(error)
            if is_not_of_the_disk(inner):
                raise inner from None
            # The full disk is reported as an error of torch's own, without the system's number.
            reason = inner.strerror if isinstance(inner, OSError) else "no space left, or the disk failed"
            raise write_error(path, OSError(0, reason)) from error

    def load(self, model: PreTrainedModel, optimizer: AdamW) -> tuple[int, float | None]:
        """Restores the newest checkpoint, of whatever number of processes: its step, and the held-out loss before
        training. Step 0 where there is none. PacosError for one that is damaged."""
        for partial in self.folder.glob(".step-*.partial") if self.team.leads else ():
            shutil.rmtree(partial)
        if not (paths := self._paths()):
            return 0, None
        path = paths[-1]
        try:
            record = json.loads((path / "progress.json").read_text(encoding="utf-8"))
            for name, was in record["versions"].items():
                if (now := version(name)) != was:
                    said = f"train: {path} was made with {name} {was}, this is {now}: not the same to the bit"
                    self.team.say(said, sys.stderr)
            # What is damaged is told in one line below, not by tracebacks in the root logger.
            logging.disable(logging.CRITICAL)
            load(_state(model, optimizer), checkpoint_id=path, no_dist=not self.team.mesh)
            return int(path.name.removeprefix("step-")), record["heldout_loss_before"]
        except (Exception, CheckpointException) as error:
            inner = _inner(error)
            if is_not_of_the_disk(inner):
                raise inner from None
            raise damaged(path, inner) from None
        finally:
            logging.disable(logging.NOTSET)

    def _paths(self) -> list[Path]:
        return sorted(path for path in self.folder.glob("step-*") if re.fullmatch(r"step-\d+", path.name))


def _inner(error: BaseException) -> BaseException:
    """What went wrong in the process that failed first."""
    return next(iter(error.failures.values()))[0] if isinstance(error, CheckpointException) else error


def damaged(path: Path | str, error: BaseException) -> PacosError:
    """The line for a checkpoint that cannot be read."""
    reason = " ".join(str(error).split()) or type(error).__name__
    return PacosError(
        f"{path}: this checkpoint is damaged ({reason[:120]}); "
        "remove it, and the same command goes on from the one before, or from the start where there is none."
    )


def is_not_of_the_disk(error: BaseException) -> bool:
    """Whether a checkpoint is as it was, and something else went wrong beside it."""
    return out_of_memory(error) or bool(PEER_GONE.search(str(error)) or "CUDA" in str(error) or "NCCL" in str(error))


def _state(model: PreTrainedModel, optimizer: AdamW) -> dict[str, torch.Tensor]:
    """All that an update changes, by name, each tensor once; sharded ones are saved as what they are shares of."""
    state = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            state[f"model.{name}"] = parameter.detach()
            state |= {f"optimizer.{name}.{key}": value for key, value in optimizer.state[parameter].items()}
    return state
