"""What is told of each step: steps.jsonl, a line, TensorBoard's event file, and W&B or trackio where asked for."""

import importlib
import json
import os
import sys
import time
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tensorboardX.proto.event_pb2 import Event
from tensorboardX.proto.summary_pb2 import Summary
from tensorboardX.record_writer import RecordWriter

from pacos.core.errors import PacosError
from pacos.core.files import atomic_open, read_json_lines, write_error
from pacos.core.recipe import TrainTable

ESTIMATE_AFTER = 10


class Tracker:
    """`with Tracker(folder, table, total_steps) as tracker: tracker.step(values)`, of process 0 alone.

    The first step that is told decides what stays of earlier processes' steps: those before it. PacosError where
    `train.track` names a package that is not installed.
    """

    def __init__(self, folder: Path, table: TrainTable, total: int) -> None:
        self.folder, self.total, self.told, self.seconds = folder, total, 0, 0.0
        self.service: Any = None
        if table.track:
            try:
                self.service = importlib.import_module(table.track)
            except ImportError:
                raise PacosError(
                    f"train.track is {table.track!r}, which is not installed; pip install {table.track}."
                ) from None
            self.service.init(project="pacos", name=folder.parent.name, config=asdict(table))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.told:
            self.file.close()
            self.events.close()
        if self.service:
            self.service.finish()

    def step(self, values: dict[str, float]) -> None:
        """Tells one step; its line is on disk before this returns, so that no checkpoint is ahead of it."""
        step = int(values["step"])
        if not self.told:
            self._begin(step)
        try:
            self.file.write(json.dumps(values) + "\n")
            self.file.flush()
            os.fsync(self.file.fileno())
            self._add_event(values)
            self.events.flush()
        except OSError as error:
            raise write_error(self.folder / "steps.jsonl", error) from error
        if self.service:
            self.service.log(values, step=step)
        self.told += 1
        self.seconds += values["seconds"]
        left = self.seconds / self.told * (self.total - step)
        if self.told == ESTIMATE_AFTER:
            print(f"train: after {ESTIMATE_AFTER} steps, about {left:,.0f} s are left", flush=True)
        mfu = f"MFU {values['mfu']:.0%} " if "mfu" in values else ""
        print(
            f"train: {step:,}/{self.total:,} loss {values['loss']:.4f} norm {values['grad_norm']:.3f} "
            f"lr {values['learning_rate']:.2e} {values['real_tokens_per_second']:,.0f} tokens/s "
            f"{mfu}{left:,.0f} s left",
            file=sys.stderr,
            flush=True,
        )

    def _begin(self, first: int) -> None:
        path = self.folder / "steps.jsonl"
        kept = path.read_bytes().split(b"\n")[: first - 1] if path.exists() else []
        with atomic_open(path, "wb") as file:
            file.writelines(line + b"\n" for line in kept)
        (self.folder / "tensorboard").mkdir(exist_ok=True)
        # Not the package's SummaryWriter: its thread dies of a full disk and leaves the process waiting for it.
        self.events = RecordWriter(str(self.folder / "tensorboard" / "events.out.tfevents.pacos"))
        self.events.write(Event(wall_time=time.time(), file_version="brain.Event:2").SerializeToString())
        for values in logged_steps(self.folder):
            self._add_event(values)
        self.file = open(path, "a", encoding="utf-8")  # noqa: SIM115

    def _add_event(self, values: dict[str, float]) -> None:
        told = {key: value for key, value in values.items() if key != "step"}
        scalars = [Summary.Value(tag=f"train/{key}", simple_value=value) for key, value in told.items()]
        event = Event(wall_time=time.time(), step=int(values["step"]), summary=Summary(value=scalars))
        self.events.write(event.SerializeToString())


def logged_steps(folder: Path) -> list[dict[str, float]]:
    """What was told of every step so far."""
    return [line for _, line in read_json_lines(folder / "steps.jsonl", "step log")]
