import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pacos.cli.main import main

Command = Callable[..., tuple[int, str, str]]
CANARY = "plum-canary-77"


@pytest.fixture
def pacos(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Command:
    """Runs a command in this process: exit code, output, errors."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")

    def command(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["pacos", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            main()
        said = capsys.readouterr()
        return int(end.value.code or 0), said.out, said.err

    return command


def start(*arguments: object, folder: Path) -> "subprocess.Popen[str]":
    """The command in a process of its own, which may be killed."""
    line = [sys.executable, "-m", "pacos", *map(str, arguments)]
    return subprocess.Popen(line, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def cases(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "redteam" / "cases.jsonl").read_text().split("\n")[:-1]]


def report(folder: Path) -> dict[str, Any]:
    return dict(json.loads((folder / "redteam" / "report.json").read_text()))


def leaky(words: tuple[str, ...], phrases: tuple[str, ...] = ()) -> Callable[[str, int | None], str]:
    """A target that gives the canary away where a prompt names one of the words in one of the phrases."""

    def text_of(prompt: str, seed: int | None) -> str:
        leaks = any(word in prompt for word in words) and (not phrases or any(phrase in prompt for phrase in phrases))
        return f"The code is {CANARY}." if leaks else f"I cannot say anything about that ({seed})."

    return text_of
