"""`serve.compare` on real checkpoints: two engines, two keys, one page."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

from pacos.core.models import MINI
from pacos.watermark import read_settings
from tests.serve.conftest import ScriptedEngine, Served
from tests.serve.test_chat_page import Visitor

COMMAND = [sys.executable, "-m", "pacos", "serve", "--model", str(MINI), "serve.port=0"]


def test_two_checkpoints_answer_each_with_a_mark_of_its_own(tiny_model: Path, tmp_path: Path) -> None:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [*COMMAND, f"serve.compare={tiny_model}"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=tmp_path, env=environment) as process:
        try:
            assert process.stdout
            process.stdout.readline()
            url = process.stdout.readline().partition(" at ")[2].split()[0]
            visitor = Visitor(Served(url, ScriptedEngine(), None, Path()))
            visitor.accept()
            question = {"messages": [{"role": "user", "content": "Name a colour."}]}
            question["sampling"] = {"temperature": 0, "top_p": 1, "max_tokens": 20, "seed": None}
            status, body = visitor.send("POST", "/comparisons", question)
            start, *events = map(json.loads, body.splitlines())
            _, metrics = visitor.send("GET", "/metrics")
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(timeout=30)
    assert (status, start["names"]) == (200, [MINI.name, tiny_model.name])
    assert [event["side"] for event in events if event["type"] == "end"].count(1) == 1
    for name in start["names"]:
        assert f'pacos_watermark_checked_total{{model="{name}"}}' in metrics
    assert "pacos_answers_total" in metrics
    (folder,) = (tmp_path / "runs").iterdir()
    own, other = (read_settings(folder / "serve" / path) for path in ("watermark.json", "compare/watermark.json"))
    assert own.key != other.key
    assert own.vocab_size != other.vocab_size


def test_base_is_a_runs(tmp_path: Path) -> None:
    told = subprocess.run([*COMMAND, "serve.compare=base"], capture_output=True, text=True, cwd=tmp_path)
    assert told.returncode == 2
    assert "serve.compare: base" in told.stderr.splitlines()[-1]
