"""`pacos certify` through the command line, with judges on real servers."""

import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import closing
from math import log
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from pacos.cli.main import app
from pacos.core.errors import PacosError
from tests.evaluate.judge_data import RIGHT, llmbar_entry, write_judge_data
from tests.servers.openai_server import OpenAIServer

# Both orders of sixteen items in two subsets, of three attacks on those of one of them, and of people's pairs.
CALLS = 2 * 16 * (2 + 3 + 1)


@pytest.fixture(autouse=True)
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where certificates are kept."""
    monkeypatch.setenv("PACOS_DATA", str(tmp_path / "user"))
    return tmp_path / "user" / "certificates"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_judge_data(tmp_path / "judges")


@pytest.fixture
def certify(data: Path, tmp_path: Path) -> Callable[..., Any]:
    """Certifies the judge on a server, and gives the certificate."""

    def go(server: OpenAIServer, *arguments: str) -> Any:
        result = asked(server, data, *arguments, "--json", str(tmp_path / "made.json"))
        if result.exception:
            raise result.exception
        return json.loads((tmp_path / "made.json").read_text())

    return go


def command(server: OpenAIServer, data: Path, *arguments: str) -> list[str]:
    table = ["judge.engine=http", f"judge.base_url={server.base_url}", "judge.model=m", "judge.temperature=0"]
    return ["certify", "judge", *table, "--data", str(data), *arguments]


def asked(server: OpenAIServer, data: Path, *arguments: str) -> Result:
    """Calls the command for a judge on a server."""
    return CliRunner().invoke(app, command(server, data, *arguments))


def shown(prompt: str) -> list[str]:
    return [re.findall(rf"<answer_{slot}>\n(.*?)\n</answer_{slot}>", prompt, re.DOTALL)[0] for slot in "ab"]


def knowing(prompt: str, seed: int | None = None) -> str:
    """Prefers the answer that says it is right and was not cut."""
    good = [answer.startswith(RIGHT) and answer.endswith((".", "!")) for answer in shown(prompt)]
    return "It is right.\nVerdict: " + ("tie" if good[0] == good[1] else "A" if good[0] else "B")


def test_a_good_judge_is_certified(certify: Any, kept: Path) -> None:
    with OpenAIServer(text_of=knowing) as server:
        made = certify(server)
        assert len(server.bodies) == CALLS
        certify(server)
        assert len(server.bodies) == CALLS, "what is answered is not asked again"
    assert (made["certified"], made["unmet"], made["replies"]) == (True, [], CALLS)
    assert made["llmbar"]["Natural"] == {
        "items": 16, "right": 32, "ties": 0, "unparsable": 0, "both_right": 16, "consistent": 16, "accuracy": 1.0,
        "accuracy_interval": made["llmbar"]["Natural"]["accuracy_interval"], "consistency": 1.0,
        "consistency_interval": made["llmbar"]["Natural"]["consistency_interval"],
    }  # fmt: skip
    assert made["llmbar"]["Natural"]["accuracy_interval"][0] > 0.7
    assert made["people"]["items"] == 12, "people tied on every fourth"
    agreement = made["people_agreement"]
    assert (agreement["pairs"], agreement["people_pairs"], agreement["people_equal"]) == (16, 16, 1.0)
    assert agreement["equal"] == 12 / 16
    assert sorted(made["data"]) == [
        "llmbar/Adversarial/Manual/dataset.json", "llmbar/Natural/dataset.json", "tulu1/eval_annotations_tulu_1.xlsx"
    ]  # fmt: skip
    assert [path.name for path in kept.glob("*/certificate.json")] == ["certificate.json"]


@pytest.mark.parametrize(("reply", "unparsable"), [("Sure.\nVerdict: A", 0), ("Both have their merits.", 32)])
def test_a_judge_that_says_one_thing_or_writes_prose_earns_nothing(certify: Any, reply: str, unparsable: int) -> None:
    with OpenAIServer(text_of=lambda prompt, seed: reply) as server:
        made = certify(server)
    natural, effect = made["llmbar"]["Natural"], made["slot_effect"]
    assert (natural["consistency"], natural["unparsable"]) == (0.0, unparsable)
    assert natural["accuracy"] == (0.0 if unparsable else 0.5)
    assert effect["first_shown_win_rate"] == (None if unparsable else 1.0)
    assert made["certified"] is False
    assert any(line.startswith("consistency on LLMBar Natural") for line in made["unmet"])


def test_a_smaller_test_never_replaces_a_certificate(data: Path, kept: Path, certify: Any) -> None:
    with OpenAIServer(text_of=knowing) as server:
        certify(server, "--max-items", "8")
        certify(server)
        (path,) = kept.glob("*/certificate.json")
        whole, asked_before = path.read_text(), len(server.bodies)
        refused = asked(server, data, "--max-items", "8")
        assert f"tested with {CALLS} replies, and this smaller test of {CALLS // 2} does not replace" in str(
            refused.exception
        )
        # Fewer data are a smaller test as fewer items are.
        shutil.rmtree(data / "tulu1")
        assert "does not replace that" in str(asked(server, data).exception)
        assert (path.read_text(), len(server.bodies)) == (whole, asked_before)


def test_an_endpoint_that_dies_half_way_loses_no_vote(data: Path, kept: Path, certify: Any) -> None:
    with OpenAIServer(lambda number: "quota" if number >= 60 else None, knowing) as server:
        result = asked(server, data)
        assert isinstance(result.exception, PacosError)
        assert "goes on from here" in str(result.exception)
        assert "\n" not in str(result.exception)
        assert not list(kept.glob("*/certificate.json"))
        (ledger,) = kept.glob("*/ledger.sqlite")
        with closing(sqlite3.connect(ledger)) as connection:
            assert connection.execute("select count(*) from replies").fetchone() == (60,)
    # On another port: a job may move.
    with OpenAIServer(text_of=knowing) as server:
        assert certify(server)["certified"]
        assert len(server.bodies) == CALLS - 60


def test_the_judges_money_is_never_overshot(data: Path) -> None:
    prices = ("judge.max_usd=0.02", "judge.input_usd_per_mtok=1", "judge.output_usd_per_mtok=10")
    with OpenAIServer(text_of=knowing) as server:
        result = asked(server, data, *prices, "judge.max_tokens=100")
        assert re.match(r"judge\.max_usd is 0\.02: 0\.01\d+ is spent", str(result.exception))
        assert 0 < len(server.bodies) < CALLS


def test_two_processes_do_not_certify_one_judge_at_once(data: Path, kept: Path) -> None:
    is_asked, may_answer = threading.Event(), threading.Event()

    def slow(prompt: str, seed: int | None = None) -> str:
        is_asked.set()
        may_answer.wait(60)
        return knowing(prompt)

    with OpenAIServer(text_of=slow) as server:
        words = [sys.executable, "-m", "pacos", *command(server, data, "--max-items", "2")]
        with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as first:
            try:
                assert is_asked.wait(60)
                second = subprocess.run(words, capture_output=True, text=True, timeout=60)
            finally:
                may_answer.set()
            first.communicate(timeout=60)
        assert (first.returncode, second.returncode) == (0, 2)
        (line,) = second.stderr.splitlines()
        assert f"another pacos process (id {first.pid}) is at work on this judge's certificate" in line
        assert len(server.bodies) == CALLS * 2 // 16
    assert len(list(kept.glob("*/certificate.json"))) == 1


def letters(probability_of_first: float) -> Callable[[dict[str, Any]], None]:
    """Adds what a server that tells log-probabilities says: of the answer shown first, and in another spelling."""

    def add(answer: dict[str, Any]) -> None:
        choice = answer["choices"][0]
        likely = [(" A", probability_of_first), ("B", 0.9 - probability_of_first), ("The", 0.1)]
        top = [{"token": text, "logprob": log(p)} for text, p in likely]
        choice["logprobs"] = {"content": [{**top[0], "top_logprobs": top}]}

    return add


def test_letters_are_weighed_where_the_server_tells_log_probabilities(certify: Any, kept: Path) -> None:
    with OpenAIServer(text_of=lambda prompt, seed: "A", rewrite=letters(0.3)) as server:
        made = certify(server, "--prompt", "letter", "--max-items", "4")
        body = server.bodies[0]
    assert (body["logprobs"], body["top_logprobs"], body["max_tokens"]) == (True, 5, 1)
    # The letter that was drawn is A; B is likelier.
    assert made["slot_effect"]["first_shown_win_rate"] == 0.0
    assert made["prompt"] == "letter"
    (ledger,) = kept.glob("*/ledger.sqlite")
    with closing(sqlite3.connect(ledger)) as connection:
        (told,) = connection.execute("select logprobs from replies limit 1").fetchone()
    assert json.loads(told)[0][3][0][1] == "B"
    # A process that finds them in the ledger reads them as the first did.
    with OpenAIServer(text_of=lambda prompt, seed: "A", rewrite=letters(0.3)) as server:
        assert certify(server, "--prompt", "letter", "--max-items", "4") | {"made": ""} == made | {"made": ""}
        assert not server.bodies


def test_a_server_without_log_probabilities_gives_plain_letters_and_that_is_said(data: Path, tmp_path: Path) -> None:
    with OpenAIServer(text_of=lambda prompt, seed: "B", refused_parameters=("logprobs",)) as server:
        result = asked(server, data, "--prompt", "letter", "--max-items", "2", "--json", str(tmp_path / "made.json"))
    assert result.exit_code == 0, result.output
    assert "24 of 24 replies came without log-probabilities" in result.output
    assert json.loads((tmp_path / "made.json").read_text())["slot_effect"]["first_shown_win_rate"] == 0.0


def test_a_folder_of_the_users_own(certify: Any, tmp_path: Path) -> None:
    own = tmp_path / "own-judge"
    own.mkdir()
    (own / "judge.toml").write_text('read = "label"\na = "first"\nb = "second"\ntie = "same"\nmax_tokens = 5\n')
    (own / "prompt.txt").write_text("{{ instruction }}\n1: {{ answer_a }}\n2: {{ answer_b }}\nfirst, second or same?")
    text_of = lambda prompt, seed: "**first**" if f"1: {RIGHT}" in prompt else "second."  # noqa: E731
    with OpenAIServer(text_of=text_of) as server:
        made = certify(server, "--prompt", str(own))
        assert server.bodies[0]["max_tokens"] == 5
    assert made["llmbar"]["Natural"]["both_right"] == 16


@pytest.mark.parametrize(
    ("toml", "prompt", "told"),
    [
        ('read = "vibes"', "", "verdict"),
        ('reed = "label"', "", "did you mean 'judge.read'"),
        ('a = "X"\nb = "X"', "", "expected a and b, and all different"),
        ('read = "label"\na = "A"\nb = " A."', "", "all different when spaces"),
        ('read = "label"\na = "**"\nb = "B"', "", "all different when spaces"),
        ("", "{{ instruction }} {{ answer_a }} {{ answer_b }} {{ 1 / 0 }}", "cannot be filled in (division by zero)"),
        ("", "{{ instruction }} {{ answer_a.words }} {{ answer_b }}", "cannot be filled in ("),
        ("", "{{ instruction }} {{ answer_a }} {{ answer_b }} {% include 'other' %}", "cannot be filled in ("),
        ("", "{{ instruction }} {{ answer_a }}", "shows no answer_b"),
        ("", "{{ instruction }} {{ answer_a }} {{ answer_b }} {{ anser }}", "unknown text 'anser'"),
        ("", "one\n{{ instruction ", "prompt.txt:2: not a template"),
        ("= 1", "", "not TOML"),
    ],
)
def test_a_folder_that_is_no_judge_is_one_line(data: Path, tmp_path: Path, toml: str, prompt: str, told: str) -> None:
    own = tmp_path / "own"
    own.mkdir()
    (own / "judge.toml").write_text(toml)
    (own / "prompt.txt").write_text(prompt or "{{ instruction }} {{ answer_a }} {{ answer_b }}")
    with OpenAIServer() as server:
        result = asked(server, data, "--prompt", str(own))
        assert not server.bodies
    assert isinstance(result.exception, PacosError)
    assert told in str(result.exception)
    assert "\n" not in str(result.exception)


def test_a_prompt_that_fails_for_one_text_is_one_line(data: Path, tmp_path: Path) -> None:
    own = tmp_path / "own"
    own.mkdir()
    (own / "judge.toml").write_text("")
    (own / "prompt.txt").write_text(
        "{{ instruction }} {{ answer_a }} {{ answer_b }} {{ 1 / (instruction != 'Say what Natural 3 is.') }}"
    )
    with OpenAIServer() as server:
        result = asked(server, data, "--prompt", str(own))
    assert "prompt.txt: cannot be filled in (division by zero)" in str(result.exception)


def test_data_that_cannot_be_read_is_one_line(data: Path, tmp_path: Path) -> None:
    natural = data / "llmbar" / "Natural" / "dataset.json"
    entries = json.loads(natural.read_text())
    del entries[3]["label"]
    natural.write_text(json.dumps(entries))
    for folder, told in (
        (data, "record 4: expected an object"),
        (tmp_path, "llmbar: no dataset.json below it"),
        (tmp_path / "none", "none: no such folder"),
    ):
        result = CliRunner().invoke(app, ["certify", "builtin:judge", "--data", str(folder)])
        assert told in str(result.exception)
    for change, told in (({"label": 1.0}, "expected an object"), ({"output_1": "\ud83d"}, "has half a surrogate pair")):
        natural.write_text(json.dumps([*entries[:3], llmbar_entry("Natural", 3) | change]))
        result = CliRunner().invoke(app, ["certify", "builtin:judge", "--data", str(data)])
        assert f"record 4: {told}" in str(result.exception)


def test_published_judges_are_recomputed_from_their_replies(shared_data: Path, tmp_path: Path) -> None:
    shutil.copytree(shared_data / "judges" / "llmbar", tmp_path / "llmbar")
    file = tmp_path / "rows.json"
    command = ["certify", "--replies", str(tmp_path / "llmbar"), "--json", str(file)]
    assert "15 of 15 published statistics" in CliRunner().invoke(app, command).output
    rows = {(row["subset"], row["judge"]): row for row in json.loads(file.read_text())}
    neighbor = rows["Adversarial/Neighbor", "GPT-4/Vanilla"]
    assert (neighbor["score"]["consistent"], neighbor["score"]["both_right"]) == (125, 101)
    assert neighbor["score"]["accuracy"] == 211 / 268
    # One reply that says the other label, and the published figures are no longer what the replies give.
    path = tmp_path / "llmbar" / "Natural" / "GPT-4" / "Vanilla" / "result.json"
    entries = json.loads(path.read_text())
    reply = entries[0]["results"][0]["swap = True"]["completion"]
    reply[0] = "Output (b)" if reply[0] == "Output (a)" else "Output (a)"
    os.chmod(path, 0o644)
    path.write_text(json.dumps(entries))
    assert "14 of 15 published statistics" in CliRunner().invoke(app, command).output
    del entries[0]["results"]
    path.write_text(json.dumps(entries))
    assert "record 1: no completion" in str(CliRunner().invoke(app, command).exception)


def test_a_checkpoint_that_rather_says_something_else_gives_no_letter(
    endless_model: Path, data: Path, kept: Path, tmp_path: Path
) -> None:
    """The tiny model knows nothing, and its five likeliest tokens are not letters."""
    file = tmp_path / "made.json"
    command = ["certify", f"local:{endless_model}", "--prompt", "letter", "--data", str(data), "--max-items", "1"]
    result = CliRunner().invoke(app, [*command, "--json", str(file)])
    assert result.exit_code == 0, result.output
    made = json.loads(file.read_text())
    assert (made["replies"], made["certified"], made["llmbar"]["Natural"]["unparsable"]) == (12, False, 2)
    (ledger,) = kept.glob("*/ledger.sqlite")
    with closing(sqlite3.connect(ledger)) as connection:
        assert connection.execute("select count(logprobs) from replies").fetchone() == (12,)
