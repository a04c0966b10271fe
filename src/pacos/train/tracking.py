"""What is told of each step: steps.jsonl, a line, TensorBoard's event file, and W&B or trackio where asked for."""

import importlib
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tensorboardX.proto.event_pb2 import Event
from tensorboardX.proto.summary_pb2 import Summary
from tensorboardX.record_writer import RecordWriter

from pacos.core.errors import PacosError
from pacos.core.files import atomic_open, read_json_lines, write_error
from pacos.core.recipe import TrainTable

ESTIMATE_AFTER = 10


@contextmanager
def tracker(folder: Path, table: TrainTable, total: int, first: int) -> Iterator[Callable[[dict[str, float]], None]]:
    """Yields what tells one step; its line is on disk before that returns, so that no checkpoint is ahead of it.

    Of earlier processes' steps those before `first` stay. PacosError where `train.track` is not installed.
    """
    path = folder / "steps.jsonl"
    kept = path.read_bytes().split(b"\n")[: first - 1] if path.exists() else []
    with atomic_open(path, "wb") as file:
        file.writelines(line + b"\n" for line in kept)
    before = logged_steps(folder)
    if [values.get("step") for values in before] != list(range(1, first)):
        raise PacosError(
            f"{path}: is not the log of the {first - 1} steps before the last checkpoint; "
            f"put it back as it was, or remove {folder} to begin anew."
        )
    (folder / "tensorboard").mkdir(exist_ok=True)
    with ExitStack() as stack:
        service = _service(folder, table, stack) if table.track else None
        lines = stack.enter_context(open(path, "a", encoding="utf-8"))
        # Not the package's SummaryWriter: its thread dies of a full disk and leaves the process waiting for it.
        events = stack.enter_context(closing(RecordWriter(str(folder / "tensorboard/events.out.tfevents.pacos"))))
        events.write(Event(wall_time=time.time(), file_version="brain.Event:2").SerializeToString())
        for values in before:
            events.write(_event(values))
        began = time.perf_counter()

        def tell(values: dict[str, float]) -> None:
            step, told = int(values["step"]), int(values["step"]) - first + 1
            try:
                lines.write(json.dumps(values) + "\n")
                lines.flush()
                os.fsync(lines.fileno())
                events.write(_event(values))
                events.flush()
            except OSError as error:
                raise write_error(path, error) from error
            if service:
                service.log(values, step=step)
            left = (time.perf_counter() - began) / told * (total - step)
            if told == ESTIMATE_AFTER:
                print(f"train: after {ESTIMATE_AFTER} steps, about {left:,.0f} s are left", flush=True)
            mfu = f"MFU {values['mfu']:.0%} " if "mfu" in values else ""
            print(
                f"train: {step:,}/{total:,} loss {values['loss']:.4f} norm {values['grad_norm']:.3f} "
                f"lr {values['learning_rate']:.2e} {values['real_tokens_per_second']:,.0f} tokens/s "
                f"{mfu}{left:,.0f} s left",
                file=sys.stderr,
                flush=True,
            )

        yield tell


def _service(folder: Path, table: TrainTable, stack: ExitStack) -> Any:
    try:
        service = importlib.import_module(table.track)
    except ImportError:
        raise PacosError(
            f"train.track is {table.track!r}, which is not installed; pip install {table.track}."
        ) from None
    service.init(project="pacos", name=folder.parent.name, config=asdict(table))
    stack.callback(service.finish)
    return service


def _event(values: dict[str, float]) -> Any:
    told = {key: value for key, value in values.items() if key != "step"}
    scalars = [Summary.Value(tag=f"train/{key}", simple_value=value) for key, value in told.items()]
    return Event(wall_time=time.time(), step=int(values["step"]), summary=Summary(value=scalars)).SerializeToString()


def logged_steps(folder: Path) -> list[dict[str, float]]:
    """What was told of every step so far."""
    return [line for _, line in read_json_lines(folder / "steps.jsonl", "step log")]
