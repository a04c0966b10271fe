import json
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Command

CANARY = "plum-canary-77"


@pytest.fixture
def pacos(pacos: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Command:
    """The command, in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    return pacos


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


def num_rows(path: Path, table: str) -> int:
    """Of a case store, 0 where it is not there yet."""
    if not path.exists():
        return 0
    with closing(sqlite3.connect(path)) as connection:
        known = connection.execute("SELECT count(*) FROM sqlite_master WHERE name = ?", (table,)).fetchone()[0]
        return int(connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]) if known else 0
