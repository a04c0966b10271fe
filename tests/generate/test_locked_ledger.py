"""Another process holds the ledger's lock while paid replies arrive."""

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from pacos.core.errors import PacosError
from pacos.store.database import Database
from tests.generate.stage import generate, overrides, process, stored, wait_for_replies
from tests.servers.openai_server import OpenAIServer

HOLDER = """
import sqlite3, sys, time
ledger = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=30)
ledger.execute("begin exclusive")
print("locked", flush=True)
time.sleep(float(sys.argv[2]))
ledger.execute("rollback")
"""


@contextlib.contextmanager
def locked(folder: Path, seconds: float) -> Iterator[subprocess.Popen]:
    command = [sys.executable, "-c", HOLDER, str(folder / "generate" / "ledger.sqlite"), str(seconds)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "locked\n"
        try:
            yield holder
        finally:
            holder.kill()


def test_a_lock_is_waited_for_and_no_paid_reply_is_lost(recipe_path: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    with OpenAIServer(latency_seconds=lambda n: 0.3) as server:
        settings = overrides(server, teacher__concurrency=2, generate__num_examples=120)
        with process(recipe_path, folder, settings) as child:
            wait_for_replies(folder, 2)
            # Longer than SQLite itself waits unless told.
            with locked(folder, 8) as holder:
                holder.wait(timeout=60)
            _, errors = child.communicate(timeout=120)
        assert child.returncode == 0, errors
        assert errors.count("locked by another process") == 1
        assert stored(folder) == len(server.bodies)


def test_a_lock_without_end_is_one_line_and_the_run_goes_on_later(
    recipe_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "run"
    with OpenAIServer(lambda n: "quota" if n >= 3 else None) as server:
        settings = overrides(server, teacher__concurrency=1, generate__num_examples=120)
        with pytest.raises(PacosError, match="no quota"):
            generate(recipe_path, folder, settings)
    assert stored(folder) == 3
    monkeypatch.setattr("pacos.asking.ledger.Database", partial(Database, patience_seconds=1.0))
    with OpenAIServer() as server:
        settings = overrides(server, teacher__concurrency=1, generate__num_examples=120)
        with locked(folder, 120), pytest.raises(PacosError, match="Another process has it open") as caught:
            generate(recipe_path, folder, settings)
        assert "\n" not in str(caught.value)
        assert generate(recipe_path, folder, settings).requests == 3 + len(server.bodies)
