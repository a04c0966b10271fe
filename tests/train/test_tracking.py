"""What is told of each step, read back by the formats' own rules."""

import json
import struct
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from pacos.core.errors import PacosError
from pacos.core.recipe import Recipe
from pacos.core.run_folder import RunFolder
from pacos.train.run import run

MakeRecipe = Callable[..., Recipe]


def crc32c(data: bytes) -> int:
    """Castagnoli's checksum bit by bit; of b"123456789" it is 0xE3069283."""
    value = 0xFFFFFFFF
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
    return value ^ 0xFFFFFFFF


def records(data: bytes) -> list[bytes]:
    """TFRecord: length, its masked checksum, data, its masked checksum."""

    def masked(part: bytes) -> bytes:
        value = crc32c(part)
        return struct.pack("<I", ((value >> 15 | value << 17) + 0xA282EAD8) & 0xFFFFFFFF)

    found = []
    while data:
        (length,) = struct.unpack("<Q", data[:8])
        assert data[8:12] == masked(data[:8])
        found.append(data[12 : 12 + length])
        assert data[12 + length : 16 + length] == masked(found[-1])
        data = data[16 + length :]
    return found


def train(recipe: Recipe, folder: Path) -> None:
    with RunFolder(folder, recipe) as opened:
        run(recipe, opened)


def test_tensorboards_events_hold_every_step_once(
    short_recipe: MakeRecipe, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert crc32c(b"123456789") == 0xE3069283
    recipe = short_recipe(checkpoint_every=4)
    train(recipe, tmp_path / "run")
    (tmp_path / "run/train/done.json").unlink()
    train(recipe, tmp_path / "run")
    (path,) = (tmp_path / "run/train/tensorboard").iterdir()
    first, *events = records(path.read_bytes())
    assert first.endswith(b"brain.Event:2")
    # Field 2 of an event is its step; a tag is followed by field 2 of its value, a float.
    assert [event[10] for event in events] == list(range(1, 11))
    losses = [json.loads(line)["loss"] for line in (tmp_path / "run/train/steps.jsonl").read_text().splitlines()]
    for event, loss in zip(events, losses, strict=True):
        place = event.index(b"train/loss") + len(b"train/loss")
        assert struct.unpack("<f", event[place + 1 : place + 5])[0] == pytest.approx(loss, rel=1e-6)
    said = capsys.readouterr()
    assert "after 10 steps, about" in said.out
    lines = [line for line in said.err.splitlines() if line.startswith("train: 7/10 ")]
    assert all(word in lines[0] for word in ("loss", "norm", "lr", "tokens/s", "MFU", "s left"))


def test_a_tracker_gets_every_step_and_a_missing_one_is_named(
    short_recipe: MakeRecipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(PacosError, match=r"pip install wandb"):
        train(short_recipe(track="wandb"), tmp_path / "a")
    # A stand-in with the two functions and the method that the real packages have.
    (tmp_path / "trackio.py").write_text(
        "told = []\ndef init(project, name, config):\n    told.append((project, config['batch_size']))\n"
        "    return __import__('trackio')\ndef log(values, step):\n    told.append((step, values['loss']))\n"
        "def finish():\n    told.append('end')\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    train(short_recipe(track="trackio"), tmp_path / "b")
    told = sys.modules.pop("trackio").told
    assert told[0] == ("pacos", 8)
    assert [step for step, _ in told[1:-1]] == list(range(1, 11))
    assert told[-1] == "end"
