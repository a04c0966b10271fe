"""What is told while training: a line a step, TensorBoard's event file, and W&B or trackio where asked for."""

import importlib
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tensorboardX.proto.event_pb2 import Event
from tensorboardX.proto.summary_pb2 import Summary
from tensorboardX.record_writer import RecordWriter

from pacos.core.errors import PacosError

ESTIMATE_AFTER = 10


class Tracker:
    """Tells each step of rank 0; `before` are the steps of earlier processes, told to TensorBoard again."""

    def __init__(self, folder: Path, before: Iterable[dict[str, float]], total: int, track: str, config: Any) -> None:
        self.total, self.told, self.seconds = total, 0, 0.0
        self.service = _service(track, config, folder.parent.name)
        path = folder / "tensorboard" / "events.out.tfevents.pacos"
        path.parent.mkdir(exist_ok=True)
        # Not the package's SummaryWriter: its thread dies of a full disk and leaves the process waiting for it.
        self.events = RecordWriter(str(path))
        self._write(file_version="brain.Event:2")
        for values in before:
            self._write_step(values)

    def step(self, values: dict[str, float]) -> None:
        """Tells one step."""
        self._write_step(values)
        self.events.flush()
        if self.service:
            self.service.log(values, step=int(values["step"]))
        self.told += 1
        self.seconds += values["seconds"]
        left = self.seconds / self.told * (self.total - values["step"])
        if self.told == ESTIMATE_AFTER:
            print(f"train: after {ESTIMATE_AFTER} steps, about {left:,.0f} s are left", flush=True)
        mfu = f"MFU {values['mfu']:.0%} " if "mfu" in values else ""
        print(
            f"train: {values['step']:,.0f}/{self.total:,} loss {values['loss']:.4f} norm {values['grad_norm']:.3f} "
            f"lr {values['learning_rate']:.2e} {values['real_tokens_per_second']:,.0f} tokens/s "
            f"{mfu}{left:,.0f} s left",
            file=sys.stderr,
            flush=True,
        )

    def close(self) -> None:
        """Ends the event file and the service's run."""
        self.events.close()
        if self.service:
            self.service.finish()

    def _write_step(self, values: dict[str, float]) -> None:
        scalars = [
            Summary.Value(tag=f"train/{key}", simple_value=value) for key, value in values.items() if key != "step"
        ]
        self._write(step=int(values["step"]), summary=Summary(value=scalars))

    def _write(self, **fields: Any) -> None:
        self.events.write(Event(wall_time=time.time(), **fields).SerializeToString())


def _service(track: str, config: Any, name: str) -> Any:
    if not track:
        return None
    try:
        service = importlib.import_module(track)
    except ImportError:
        raise PacosError(f"train.track is {track!r}, which is not installed; pip install {track}.") from None
    return service.init(project="pacos", name=name, config=config)
