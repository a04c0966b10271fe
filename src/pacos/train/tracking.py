"""What is told while training: a line a step, TensorBoard's event file, and W&B or trackio where asked for."""

import importlib
import struct
import sys
import time
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import IO, Any

from pacos.core.errors import PacosError

ESTIMATE_AFTER = 10


class Tracker:
    """Tells each step of rank 0; `before` are the steps of earlier processes, told to TensorBoard again."""

    def __init__(self, folder: Path, before: Iterable[dict[str, float]], total: int, track: str, config: Any) -> None:
        self.total, self.told, self.seconds = total, 0, 0.0
        self.service = _service(track, config, folder.parent.name)
        (folder / "tensorboard").mkdir(parents=True, exist_ok=True)
        for old in (folder / "tensorboard").glob("events.*"):
            old.unlink()
        self.events = open(folder / "tensorboard" / "events.out.tfevents.pacos", "wb")  # noqa: SIM115
        write_event(self.events, version=True)
        for values in before:
            write_event(self.events, values)

    def step(self, values: dict[str, float]) -> None:
        """Tells one step."""
        write_event(self.events, values)
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


def _service(track: str, config: Any, name: str) -> Any:
    if not track:
        return None
    try:
        service = importlib.import_module(track)
    except ImportError:
        raise PacosError(f"train.track is {track!r}, which is not installed; pip install {track}.") from None
    return service.init(project="pacos", name=name, config=config)


def write_event(file: IO[bytes], values: dict[str, float] | None = None, version: bool = False) -> None:
    """Appends one TensorBoard event: protobuf's Event by hand, framed as TFRecord with its masked checksums."""
    body = b"\x09" + struct.pack("<d", time.time())
    if version:
        body += _field(3, b"brain.Event:2")
    if values:
        scalars = ((key, value) for key, value in values.items() if key != "step")
        tagged = (_field(1, f"train/{key}".encode()) + b"\x15" + struct.pack("<f", value) for key, value in scalars)
        body += b"\x10" + _varint(int(values["step"])) + _field(5, b"".join(_field(1, value) for value in tagged))
    length = struct.pack("<Q", len(body))
    file.write(length + _checksum(length) + body + _checksum(body))
    file.flush()


def _field(number: int, value: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(value)) + value


def _varint(value: int) -> bytes:
    head = []
    while value > 127:
        head.append(value & 127 | 128)
        value >>= 7
    return bytes([*head, value])


@cache
def _crc_table() -> list[int]:
    table = []
    for value in range(256):
        for _ in range(8):
            value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
        table.append(value)
    return table


def _checksum(data: bytes) -> bytes:
    value = 0xFFFFFFFF
    for byte in data:
        value = _crc_table()[(value ^ byte) & 255] ^ value >> 8
    value ^= 0xFFFFFFFF
    return struct.pack("<I", ((value >> 15 | value << 17) + 0xA282EAD8) & 0xFFFFFFFF)
