"""A clock that jumps while a job runs: days back, years ahead, and a server that names its pauses as dates."""

import os
import subprocess
import sys
from pathlib import Path

from tests.conftest import ROOT, missing_part
from tests.generate.stage import DRIVER, generate, overrides, wait_for_replies
from tests.servers.openai_server import OpenAIServer

LIBRARIES = list(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))


def test_a_clock_that_jumps_costs_nothing(recipe_path: Path, tmp_path: Path) -> None:
    if not LIBRARIES:
        missing_part("needs libfaketime (Debian's package faketime)")
    with OpenAIServer() as server:
        generate(recipe_path, tmp_path / "calm", overrides(server, teacher__concurrency=2))
    clock = tmp_path / "clock"
    clock.write_text("+0")
    environment = os.environ | {
        "LD_PRELOAD": str(LIBRARIES[0]),
        "FAKETIME_TIMESTAMP_FILE": str(clock),
        "FAKETIME_NO_CACHE": "1",
        # Only the wall clock jumps on a real machine.
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "FAKETIME_DONT_RESET": "1",
    }
    faults = lambda number: "429-date" if number % 5 == 2 else None  # noqa: E731
    with OpenAIServer(faults, latency_seconds=lambda n: 0.2) as server:
        settings = overrides(server, teacher__concurrency=2)
        command = [sys.executable, "-c", DRIVER, str(recipe_path), str(tmp_path / "jumpy"), *settings]
        with subprocess.Popen(command, env=environment, cwd=ROOT, stdout=subprocess.DEVNULL) as child:
            try:
                for jump, replies in (("-10d", 1), ("+400d", 2), ("-400d", 3)):
                    wait_for_replies(tmp_path / "jumpy", replies)
                    clock.write_text(jump)
                assert child.wait(timeout=60) == 0
            finally:
                child.kill()
        assert server.faults_made["429-date"]
    calm, jumpy = ((tmp_path / run / "generate" / "dataset.json").read_bytes() for run in ("calm", "jumpy"))
    assert calm == jumpy
