"""Every way a teacher can fail, through the command line: one clear line, the ledger intact, no key told."""

import json
import os
import socket
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.servers.openai_server import OpenAIServer, always
from tests.servers.scripted_teacher import teacher_text

KEY = "sk-test-" + "k3y" * 12
SAME = teacher_text("4. Instruction:", 1)


def pacos(tmp_path: Path, base_url: str, *overrides: str, key: str = KEY) -> subprocess.CompletedProcess[str]:
    recipe = tmp_path / "recipe.toml"
    recipe.write_text("[generate]\nnum_examples = 60\n")
    settings = ["teacher.engine=http", f"teacher.base_url={base_url}", "teacher.model=some-model", *overrides]
    environment = os.environ | {"OPENAI_API_KEY": key}
    command = [sys.executable, "-m", "pacos", "generate", str(recipe), *settings, "--run", str(tmp_path / "run")]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=ROOT, env=environment)


def check_one_line(result: subprocess.CompletedProcess[str], said: str) -> None:
    assert result.returncode == 2, result.stderr
    told = [line for line in result.stderr.splitlines() if not line.startswith("generate: ")]
    assert len(told) == 1, result.stderr
    assert told[0].startswith("pacos: ")
    assert said in told[0]
    assert KEY not in result.stdout + result.stderr


def check_no_key_on_disk(tmp_path: Path) -> None:
    # A run that made nothing leaves no folder of its own.
    for path in (path for path in tmp_path.rglob("*") if path.is_file()):
        data = path.read_bytes()
        assert KEY.encode() not in data
        assert b"Bearer" not in data
        assert b"uthorization" not in data


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("quota", "the account has no quota left"),
        ("404", "no such model or address (404: The model does not exist.)"),
        ("html", "not an OpenAI-compatible server: it answers an HTML page"),
        ("html-404", "no such model or address"),
        ("no-choices", "no choices in it"),
        ("400", "maximum context length"),
        ("endless", "its answer is longer than 16 MiB"),
        ("bomb", "its answer is longer than 16 MiB"),
    ],
)
def test_a_server_that_refuses(tmp_path: Path, fault: str, said: str) -> None:
    with OpenAIServer(always(fault)) as server:
        # One at a time: a slow machine would say that it waits for the others.
        check_one_line(pacos(tmp_path, server.base_url, "teacher.concurrency=1"), said)
    check_no_key_on_disk(tmp_path)


def test_a_wrong_key_is_not_told(tmp_path: Path) -> None:
    # This server says in its error which key it was given, as some do.
    with OpenAIServer(key="another") as server:
        check_one_line(pacos(tmp_path, server.base_url), "the server refuses the key")
    check_no_key_on_disk(tmp_path)


def test_a_key_that_comes_back_in_good_replies_is_not_kept(tmp_path: Path) -> None:
    def rewrite(answer: dict) -> None:
        message = answer["choices"][0]["message"]
        message["content"] = message["content"].replace("4. Output:\n", f"4. Output:\nBearer {KEY} ", 1)
        answer |= {"id": KEY, "model": KEY, "system_fingerprint": KEY}

    with OpenAIServer(rewrite=rewrite, reply_headers=lambda n: {"X-Request-Id": KEY, "Set-Cookie": KEY}) as server:
        result = pacos(tmp_path, server.base_url, "teacher.concurrency=2")
    assert result.returncode == 0, result.stderr
    assert KEY not in result.stdout + result.stderr
    files = [path for path in (tmp_path / "run").rglob("*") if path.is_file()]
    assert [path for path in files if KEY.encode() in path.read_bytes()] == []
    assert "Bearer ***" in (tmp_path / "run" / "generate" / "dataset.json").read_text()


def test_no_key_is_told_before_anything_is_sent(tmp_path: Path) -> None:
    result = pacos(tmp_path, "https://teacher.example/v1", key="")
    check_one_line(result, "the environment variable OPENAI_API_KEY is empty")


@pytest.mark.parametrize(
    ("text", "said", "fewest"),
    [
        ("I am sorry, I cannot write tasks.", "The last one reads: “I am sorry, I cannot write tasks.”", 6),
        ("<!doctype html><h1>Welcome</h1>", "The last one reads: “<!doctype html><h1>Welcome</h1>”", 6),
        ("", "no task could be read in its last 6 replies", 6),
        (SAME, "rejected: not_novel", 30),
    ],
    ids=["prose", "html", "nothing", "the same for ever"],
)
def test_a_teacher_without_tasks_stops_with_the_yield_it_had(tmp_path: Path, text: str, said: str, fewest: int) -> None:
    with OpenAIServer(text_of=lambda prompt, seed: text) as server:
        check_one_line(pacos(tmp_path, server.base_url), said)
        assert fewest <= len(server.bodies) <= 2 * fewest
    check_no_key_on_disk(tmp_path)


def test_a_budget_too_small_for_one_request(tmp_path: Path) -> None:
    with OpenAIServer() as server:
        result = pacos(tmp_path, server.base_url, "teacher.max_usd=0.0001", "teacher.output_usd_per_mtok=10")
        check_one_line(result, "0.0000 is spent and the next request may cost up to")
        assert server.bodies == []


def test_a_port_where_nobody_listens(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    check_one_line(pacos(tmp_path, f"http://127.0.0.1:{port}/v1"), f"127.0.0.1:{port}")


def test_a_failure_in_mid_job_keeps_what_arrived(tmp_path: Path) -> None:
    # Not only a wrong server fails: this one answered six times before its quota was gone.
    with OpenAIServer(lambda number: "quota" if number >= 6 else None) as server:
        result = pacos(tmp_path, server.base_url, "generate.num_examples=500", "teacher.concurrency=2")
        check_one_line(result, "no quota")
        answered = 6
    with closing(sqlite3.connect(tmp_path / "run" / "generate" / "ledger.sqlite")) as ledger:
        assert ledger.execute("pragma integrity_check").fetchone() == ("ok",)
        texts = [text for (text,) in ledger.execute("select text from replies")]
    assert len(texts) == answered
    assert all("Instruction:" in text for text in texts)
    with OpenAIServer() as server:
        # The same model at another address goes on from there.
        result = pacos(tmp_path, server.base_url, "generate.num_examples=500", "teacher.concurrency=2")
        assert result.returncode == 0
        written = {teacher_text(body["messages"][-1]["content"], body["seed"]) for body in server.bodies}
        assert written
        assert not written & set(texts)
    check_no_key_on_disk(tmp_path)
    events = [json.loads(line) for line in (tmp_path / "run" / "events.jsonl").read_text().splitlines()]
    assert {event["event"] for event in events} >= {"begin", "asking"}
