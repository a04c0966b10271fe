"""What is told of each step: steps.jsonl, a line, TensorBoard's event file, and W&B or trackio where asked for."""

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager, nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tensorboardX.proto.event_pb2 import Event
from tensorboardX.proto.summary_pb2 import Summary
from tensorboardX.record_writer import RecordWriter

from pacos.core.errors import PacosError
from pacos.core.files import atomic_open, write_error
from pacos.core.recipe import TrainTable
from pacos.train.report import Step, read_steps

ESTIMATE_AFTER = 10
OnStep = Callable[[Step], None]
# What tells of the steps from the first one on that is yet to be taken.
Follow = Callable[[int], AbstractContextManager[OnStep]]


def untold(first: int) -> AbstractContextManager[OnStep]:
    """Of several processes one tells; the others follow so."""
    return nullcontext(lambda step: None)


@contextmanager
def tracker(folder: Path, table: TrainTable, total: int, first: int) -> Iterator[OnStep]:
    """Yields what tells one step; its line is on disk before that returns, so that no checkpoint is ahead of it. Of
    earlier processes' steps those before `first` stay. PacosError where `train.track` is not installed."""
    path = folder / "steps.jsonl"
    kept = path.read_bytes().split(b"\n")[: first - 1] if path.exists() else []
    with atomic_open(path, "wb") as file:
        file.writelines(line + b"\n" for line in kept)
    before = read_steps(folder)
    if [step.step for step in before] != list(range(1, first)):
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
        for step in before:
            events.write(_event(step))
        began = time.perf_counter()

        def tell(step: Step) -> None:
            number, taken = step.step, step.step - first + 1
            try:
                lines.write(json.dumps(step.told()) + "\n")
                lines.flush()
                os.fsync(lines.fileno())
                events.write(_event(step))
                events.flush()
            except OSError as error:
                raise write_error(path, error) from error
            if service:
                service.log(step.told(), step=number)
            left = (time.perf_counter() - began) / taken * (total - number)
            if taken == ESTIMATE_AFTER:
                print(f"train: after {ESTIMATE_AFTER} steps, about {left:,.0f} s are left", flush=True)
            mfu = "" if step.mfu is None else f"MFU {step.mfu:.0%} "
            print(
                f"train: {number:,}/{total:,} loss {step.loss:.4f} norm {step.grad_norm:.3f} "
                f"lr {step.learning_rate:.2e} {step.real_tokens_per_second:,.0f} tokens/s {mfu}{left:,.0f} s left",
                file=sys.stderr,
                flush=True,
            )

        yield tell


def _service(folder: Path, table: TrainTable, stack: ExitStack) -> Any:
    try:
        if table.track == "wandb":
            import wandb as service
        else:
            import trackio as service
    except ImportError:
        raise PacosError(
            f"train.track is {table.track!r}, which is not installed; pip install {table.track}."
        ) from None
    service.init(project="pacos", name=folder.parent.name, config=asdict(table))
    stack.callback(service.finish)
    return service


def _event(step: Step) -> Any:
    told = step.told().items()
    scalars = [Summary.Value(tag=f"train/{name}", simple_value=value) for name, value in told if name != "step"]
    return Event(wall_time=time.time(), step=step.step, summary=Summary(value=scalars)).SerializeToString()
