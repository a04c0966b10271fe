"""The generate stage's door for its tests: in this process, and in one that can be killed."""

import json
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from pacos.core.recipe import load
from pacos.core.run_folder import RunFolder
from pacos.generate.run import GenerateReport, run
from tests.conftest import ROOT
from tests.servers.openai_server import OpenAIServer

DRIVER = """
import sys
from pathlib import Path
from pacos.core.recipe import load
from pacos.core.run_folder import RunFolder
from pacos.generate.run import run
recipe = load(sys.argv[1], sys.argv[3:])
with RunFolder(Path(sys.argv[2]), recipe) as folder:
    run(recipe, folder)
"""


def overrides(server: OpenAIServer, **keys: object) -> list[str]:
    values = {"teacher.engine": "http", "teacher.base_url": server.base_url, "generate.num_examples": 60}
    values |= {key.replace("__", "."): value for key, value in keys.items()}
    return [f"{key}={value}" for key, value in values.items()]


def generate(recipe_path: Path, folder: Path, settings: list[str]) -> GenerateReport:
    recipe = load(recipe_path, settings)
    with RunFolder(folder, recipe) as open_folder:
        return run(recipe, open_folder)


def lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def stored(folder: Path) -> int:
    with closing(sqlite3.connect(folder / "generate" / "ledger.sqlite")) as ledger:
        return ledger.execute("select count(*) from replies").fetchone()[0]


@contextmanager
def process(recipe_path: Path, folder: Path, settings: list[str]) -> Iterator[subprocess.Popen]:
    arguments = [sys.executable, "-c", DRIVER, str(recipe_path), str(folder), *settings]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT) as child:
        try:
            yield child
        finally:
            child.kill()


def wait_for_replies(folder: Path, count: int) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        if (folder / "generate" / "ledger.sqlite").exists():
            try:
                if stored(folder) >= count:
                    return
            except sqlite3.OperationalError:
                pass
        time.sleep(0.02)
    pytest.fail("no replies reached the ledger")
