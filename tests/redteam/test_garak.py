"""garak as its users run it, unmodified, against a server of a real checkpoint; and its results read back.

    PACOS_GARAK_PYTHON=/path/to/that/environment/bin/python pytest tests/redteam/test_garak.py

docs/redteam-garak.md says how to make that environment: 2 GB and some minutes, so CI has none; it has the same commands
for users.
"""

import json
import os
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest

from pacos.redteam.cases import CaseStore
from tests.conftest import Command
from tests.redteam.conftest import start

PYTHON = os.environ.get("PACOS_GARAK_PYTHON", "")
pytestmark = pytest.mark.skipif(not PYTHON, reason="PACOS_GARAK_PYTHON names no python with garak")
MODEL = "pacos-mini"
SPEC = "probes.lmrc.Sexualisation,probes.goodside.WhoIsRiley,probes.dan.AntiDAN"


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """`pacos serve`, as a user starts it."""
    folder = tmp_path_factory.mktemp("served")
    with closing(socket.socket()) as free:
        free.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{free.getsockname()[1]}"
    command = ("serve", "--model", MODEL, "--run", folder / "run", f"serve.port={address.rpartition(':')[2]}")
    process = start(*command, folder=folder)
    try:
        end = time.monotonic() + 300
        while time.monotonic() < end:
            with suppress(urllib.error.URLError):
                urllib.request.urlopen(f"{address}/v1/models").close()
                break
            assert process.poll() is None, process.communicate()
            time.sleep(0.1)
        yield address
    finally:
        process.terminate()
        process.communicate(timeout=30)


def garak(url: str, folder: Path, spec: str, *more: str, suppressed: tuple[str, ...] = ("seed",)) -> tuple[Path, str]:
    """Runs it with a generator file as the docs have it: where its report is, and what it says."""
    options = {"uri": f"{url}/v1/", "stop": [], "max_tokens": 16, "suppressed_params": suppressed}
    (folder / "generator.json").write_text(json.dumps({"openai": {"OpenAICompatible": options}}))
    homes = {f"XDG_{name}_HOME": str(folder / "garak") for name in ("DATA", "CACHE", "CONFIG")}
    done = subprocess.run(
        [
            *(PYTHON, "-m", "garak", "--target_type", "openai.OpenAICompatible", "--target_name", MODEL),
            *("--generator_option_file", "generator.json", "--spec", spec, "--report_prefix", "one", *more),
        ],
        cwd=folder,
        env={"PATH": os.environ["PATH"], "HOME": str(folder), "OPENAICOMPATIBLE_API_KEY": "none", "HF_HUB_OFFLINE": "1"}
        | homes,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    (report,) = folder.rglob("one.report.jsonl")
    return report, done.stdout


def rows(report: Path, kind: str) -> list[dict[str, Any]]:
    read = [json.loads(line) for line in report.read_text().splitlines()]
    return [row for row in read if row["entry_type"] == kind]


def counted(run: Path) -> dict[tuple[str, str], Counter[str | None]]:
    """Verdicts by probe and detector."""
    found: defaultdict[tuple[str, str], Counter[str | None]] = defaultdict(Counter)
    with closing(CaseStore(run / "redteam" / "cases.sqlite")) as store:
        for number in range(1, 100):
            for each in store.read(number):
                found[each.case.technique, each.judge.removeprefix("garak: ")][each.verdict] += 1
    return dict(found)


def test_what_garak_found_is_imported_with_garak_s_own_counts(pacos: Command, url: str, tmp_path: Path) -> None:
    report, said = garak(url, tmp_path, SPEC, "--generations", "2")
    code, out, err = pacos("redteam", "import", tmp_path / "r", report)
    assert code == 0, err
    found, evaluations = counted(tmp_path / "r"), rows(report, "eval")
    assert found.keys() == {(row["probe"], row["detector"]) for row in evaluations}
    # What garak scored although there is nothing to read is unscored here, and was garak's hit or pass.
    empty = sum(counts["unscored"] for counts in found.values())
    for row in evaluations:
        counts = found[row["probe"], row["detector"]]
        assert counts["error"] == row["nones"]
        assert counts.total() == row["total_processed"]
        assert 0 <= row["fails"] - counts["hit"] <= counts["unscored"]
        assert 0 <= row["passed"] - counts["safe"] <= counts["unscored"]
    assert sum(counts["hit"] + counts["safe"] for counts in found.values()) > 10
    assert (f"{empty} empty answers" in out) == bool(empty)
    # A prompt that is longer than the model holds has no answer: garak calls that "ok on 0/0", here it is an error.
    assert found["dan.AntiDAN", "dan.AntiDAN"] == {"error": 2}
    assert "2 errors" not in said


@pytest.mark.parametrize("suppressed", [("seed",), ()])
def test_a_seed_of_garak_s_makes_copies_unless_it_is_suppressed(
    suppressed: tuple[str, ...], pacos: Command, url: str, tmp_path: Path
) -> None:
    more = ("--generations", "3", "--seed", "1")
    report, _ = garak(url, tmp_path, "probes.lmrc.Sexualisation", *more, suppressed=suppressed)
    attempts = [row["outputs"] for row in rows(report, "attempt") if row["status"] == 2]
    num_texts = [len({output["text"] for output in outputs}) for outputs in attempts]
    assert len(num_texts) == 3
    assert (max(num_texts) > 1) == bool(suppressed)
    assert "are copies of one" in pacos("redteam", "import", tmp_path / "r", report)[1]


def test_a_prompt_that_is_too_long_is_refused_by_the_code_that_garak_gives_up_on(url: str) -> None:
    """A 400, which garak takes as no answer at once; what it tries again for ever is 408, 429 and 5xx."""
    body = {"model": MODEL, "messages": [{"role": "user", "content": "word " * 3000}]}
    asked = urllib.request.Request(
        f"{url}/v1/chat/completions", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(asked)
    assert refused.value.code == 400
    assert json.load(refused.value)["error"]["code"] == "context_length_exceeded"
