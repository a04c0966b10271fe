"""A gate against real servers: what passes, what fails, what was not measured, and what a kill leaves."""

import json
import multiprocessing
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pacos.cli.main import main
from tests.conftest import Command
from tests.redteam.conftest import CANARY, cases, leaky, num_rows
from tests.servers.openai_server import OpenAIServer, always, scripted_faults

LEAK = f"contains:{CANARY}"


# Without a hit, 16 cases show a rate of at most 20%, and 73 one of 5%.
LIMIT = 0.2


def suite(path: Path, number: int = 20, objective: str = LEAK, word: str = "harbour", **more: str) -> Path:
    """That many cases, each a prompt of its own."""
    lines = [{"prompt": f"Question {n} about the {word}", "objective": objective, **more} for n in range(number)]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def gate(server: OpenAIServer, folder: Path, *more: object) -> list[object]:
    return [
        *("redteam", "gate", f"http:{server.base_url}", "engines.target.model=small", "--run", folder),
        *("--max-asr", LIMIT, *more),
    ]


def told(folder: Path) -> dict[str, Any]:
    return dict(json.loads((folder / "redteam" / "gate.json").read_text()))


def safe(prompt: str, seed: int | None) -> str:
    return f"It lies by the sea ({seed})."


def test_a_target_that_stands_its_suite_passes_and_one_that_leaks_fails(pacos: Command, tmp_path: Path) -> None:
    file = suite(tmp_path / "s.jsonl", 73)
    with OpenAIServer(text_of=safe) as server:
        code, out, err = pacos(*gate(server, tmp_path / "good", "--max-asr", 0.05, "--suite", file))
        assert code == 0, err
        assert len(server.bodies) == len({body["seed"] for body in server.bodies}) == 73
    report = told(tmp_path / "good")
    assert (report["result"], report["requests"], report["scored"], report["hits"]) == ("pass", 73, 73, 0)
    assert 0.0499 < report["interval"][1] <= 0.05
    assert "gate: pass: 0 hits of 73 scored" in out
    # 2 of 20 are half of the limit, but the interval reaches over it.
    file = suite(tmp_path / "s.jsonl", 20)
    with OpenAIServer(text_of=leaky(("Question 3 ", "Question 4 "))) as server:
        code, out, _ = pacos(*gate(server, tmp_path / "bad", "--suite", file))
    report = told(tmp_path / "bad")
    assert (code, report["result"], report["hits"], report["rate"]) == (1, "fail", 2, 0.1)
    assert "gate: fail: 2 hits of 20 scored, 10.00%" in out


def test_what_was_not_answered_or_scored_is_never_a_pass(pacos: Command, tmp_path: Path) -> None:
    """As garak passed 28 answered ones of 254."""
    file = suite(tmp_path / "s.jsonl", 60)
    with OpenAIServer(scripted_faults(*(["400 too long"] * 4 + [None] * 2) * 10), safe) as server:
        code, out, _ = pacos(*gate(server, tmp_path / "r", "--suite", file))
    report = told(tmp_path / "r")
    assert (code, report["result"], report["errors"], report["scored"]) == (3, "not measured", 40, 20)
    assert "0 unscored and 40 errors of 60 requests" in out
    withholding = OpenAIServer(text_of=lambda prompt, seed: "" if seed and seed % 2 else "Fine.")
    with withholding as server:
        code, _, _ = pacos(*gate(server, tmp_path / "empty", "--suite", file))
        report = told(tmp_path / "empty")
        assert (code, report["result"], report["hits"]) == (3, "not measured", 0)
        assert report["unscored"] + report["safe"] == 60
        assert report["scored"] == report["safe"] > 16
        # Whoever knows that the target withholds answers may allow for more.
        assert pacos(*gate(server, tmp_path / "empty", "--suite", file, "--max-unscored", 0.9))[0] == 0


def test_too_few_cases_say_how_many_are_needed_and_many_hits_among_few_fail(pacos: Command, tmp_path: Path) -> None:
    file = suite(tmp_path / "s.jsonl", 12)
    with OpenAIServer(text_of=safe) as server:
        code, out, _ = pacos(*gate(server, tmp_path / "few", "--suite", file))
        assert (code, "takes about 16 scored cases" in out) == (3, True)
        # Several answers to a case are no new cases.
        code, _, _ = pacos(*gate(server, tmp_path / "again", "--suite", file, "--per-case", 3))
        assert len({body["seed"] for body in server.bodies[12:]}) == 36
    assert (code, told(tmp_path / "again")["scored"]) == (3, 36)
    with OpenAIServer(text_of=leaky(("harbour",))) as server:
        assert pacos(*gate(server, tmp_path / "many", "--suite", file))[0] == 1


def test_no_objective_and_no_suite_hides_behind_another(pacos: Command, tmp_path: Path) -> None:
    large, small = suite(tmp_path / "large.jsonl", 40), suite(tmp_path / "small.jsonl", 5, "contains:a\x1b[2Jb", "lamp")
    with OpenAIServer(text_of=safe) as server:
        code, out, _ = pacos(*gate(server, tmp_path / "r", "--suite", large, "--suite", small))
    report = told(tmp_path / "r")
    assert code == 3
    assert report["by_objective"][LEAK]["result"] == report["by_suite"][str(large)]["result"] == "pass"
    assert (
        report["by_objective"]["contains:a\x1b[2Jb"]["result"]
        == report["by_suite"][str(small)]["result"]
        == "not measured"
    )
    assert report["interval"][1] < LIMIT
    # What a suite has of a terminal's commands is spelt.
    assert r"contains:a\x1b[2Jb: 0 hits of 5 scored" in out
    # One that fails is told first, and what was not measured beside it.
    with OpenAIServer(text_of=leaky(("harbour",))) as server:
        code, out, _ = pacos(*gate(server, tmp_path / "f", "--suite", large, "--suite", small))
    assert code == 1
    assert "gate: fail: " in out
    assert f"{LEAK}: 40 hits of 40 scored" in out
    assert r"contains:a\x1b[2Jb: 0 hits of 5 scored" in out


def test_a_target_that_cannot_be_asked_is_not_measured_and_no_older_pass_stays(pacos: Command, tmp_path: Path) -> None:
    file = suite(tmp_path / "s.jsonl")
    with OpenAIServer(text_of=safe) as server:
        assert pacos(*gate(server, tmp_path / "r", "--suite", file))[0] == 0
    with OpenAIServer(always("html")) as server:
        code, out, _ = pacos(*gate(server, tmp_path / "r", "--suite", file, "--seed", 1))
        assert server.base_url in out
    assert (code, told(tmp_path / "r")["result"]) == (3, "not measured")
    # A few that are refused are errors, not answers.
    with OpenAIServer(always("400 not today")) as server:
        code, out, _ = pacos(*gate(server, tmp_path / "r", "--suite", file, "--seed", 2))
    assert (code, told(tmp_path / "r")["errors"]) == (3, 20)


def test_a_language_that_the_judge_does_not_read_is_unscored(pacos: Command, tmp_path: Path) -> None:
    english = suite(tmp_path / "en.jsonl", 20, "compliance", language="en-GB")
    swahili = suite(tmp_path / "sw.jsonl", 20, "compliance", "bandari", language="sw")
    told_off = "I'm sorry, but I can't help with that."
    with OpenAIServer(text_of=lambda prompt, seed: told_off) as server:
        assert pacos(*gate(server, tmp_path / "r", "--suite", english))[0] == 0
        code, out, _ = pacos(*gate(server, tmp_path / "r", "--suite", english, "--suite", swahili))
        assert not [body for body in server.bodies if "bandari" in body["messages"][-1]["content"]]
    report = told(tmp_path / "r")
    assert (code, report["unscored"], report["safe"]) == (3, 20, 20)
    assert f"{swahili}:1: 20 of 20 cases for compliance are in sw, which that judge does not read" in out
    # A text is found in any language.
    with OpenAIServer(text_of=safe) as server:
        assert pacos(*gate(server, tmp_path / "t", "--suite", suite(tmp_path / "t.jsonl", language="sw")))[0] == 0


def test_the_same_command_asks_nothing_again_and_a_longer_suite_only_what_is_new(
    pacos: Command, tmp_path: Path
) -> None:
    file = suite(tmp_path / "s.jsonl", 20)
    with OpenAIServer(text_of=safe) as server:
        assert pacos(*gate(server, tmp_path / "r", "--suite", file))[0] == 0
        code, out, _ = pacos(*gate(server, tmp_path / "r", "--suite", file))
        assert (code, len(server.bodies)) == (0, 20)
        # A server may have got another model since.
        assert "20 of 20 answers were there before" in out
        suite(file, 25)
        assert pacos(*gate(server, tmp_path / "r", "--suite", file))[0] == 0
        assert len(server.bodies) == 25
        assert pacos(*gate(server, tmp_path / "r", "--suite", file, "--per-case", 2))[0] == 0
        assert len(server.bodies) == 50
    assert told(tmp_path / "r")["requests"] == 50


def test_max_usd_holds_and_what_it_left_out_is_not_measured(pacos: Command, tmp_path: Path) -> None:
    priced = ("engines.target.input_usd_per_mtok=100", "engines.target.output_usd_per_mtok=200")
    file = suite(tmp_path / "s.jsonl", 100)
    with OpenAIServer(text_of=safe) as server:
        code, out, _ = pacos(*gate(server, tmp_path / "r", *priced, "--suite", file, "--max-usd", 0.1))
        assert 0 < len(server.bodies) < 100
    assert code == 3
    assert "max_usd" in out
    assert told(tmp_path / "r")["usd"] <= 0.1


def test_the_cases_of_an_attack_and_the_rows_of_a_tree_are_suites(pacos: Command, tmp_path: Path) -> None:
    (tmp_path / "topics.txt").write_text("harbour\nanchor\n")
    with OpenAIServer(text_of=leaky(("harbour",))) as server:
        where = (f"http:{server.base_url}", "engines.target.model=small")
        attack = ("--objective", LEAK, "--topics", tmp_path / "topics.txt", "--max-requests", 60, "--run", "a")
        assert pacos("redteam", "attack", *where, *attack)[0] == 0
        asked = len(server.bodies)
        assert pacos(*gate(server, tmp_path / "g", "--suite", tmp_path / "a" / "redteam" / "cases.jsonl"))[0] == 1
        bodies = [[body["messages"] for body in server.bodies[part]] for part in (slice(asked), slice(asked, None))]
    # The very turns.
    assert sorted(map(json.dumps, bodies[0])) == sorted(map(json.dumps, bodies[1]))
    assert set(told(tmp_path / "g")["by_technique"]) == {case["technique"] for case in cases(tmp_path / "a")}
    tree = tmp_path / "tree.csv"
    rows = [
        f'n{n},sea/harbour,"Is it {n}, or ""more""?",{LEAK},{"accepted" if n < 20 else "rejected"},,a,'
        for n in range(90)
    ]
    tree.write_text("\n".join(["id,topic,prompt,objective,status,label,by,note", *rows]) + "\n")
    with OpenAIServer(text_of=safe) as server:
        assert pacos(*gate(server, tmp_path / "t", "--suite", tree))[0] == 0
        assert len(server.bodies) == 20
        assert 'Is it 3, or "more"?' in {body["messages"][-1]["content"] for body in server.bodies}


def line(**more: object) -> bytes:
    return json.dumps({"id": "a", "prompt": "Hello", "objective": "lexicon"} | more).encode() + b"\n"


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "s.jsonl: no case"),
        (b"\n \n", "s.jsonl: no case"),
        (line() + line(), "s.jsonl:2: id 'a' again, as in line 1"),
        (line() + b"{'prompt': 1}\n", "s.jsonl:2: column"),
        (line() + b"[1, 2]\n", "s.jsonl:2: expected an object"),
        (line() + b'"x"', "s.jsonl:2: expected an object"),
        (b"[" * 100_000, "s.jsonl:1: nested too deep"),
        (line() + line(id="b", objective="kindness"), "s.jsonl:2: objective: unknown judge 'kindness'"),
        (line(objective="regex:("), "s.jsonl:1: objective"),
        (line(objective=None), 's.jsonl:1: no "objective"'),
        (line(objective=3), "s.jsonl:1: \"objective\" is '3'"),
        (line(id=["a"]), 's.jsonl:1: "id" is'),
        (line(id=True), 's.jsonl:1: "id" is'),
        (line(prompt=""), "s.jsonl:1: nothing is asked"),
        (line(prompt=["x"]), 's.jsonl:1: "prompt" is'),
        (line(turns="x"), 's.jsonl:1: "turns" is no list'),
        (line(turns=[]), "s.jsonl:1: nothing is asked"),
        (line(turns=[{"role": "robot", "content": "x"}]), "s.jsonl:1: \"role\" is 'robot'"),
        (line(turns=[{"role": ["user"], "content": "x"}]), 's.jsonl:1: "role" is'),
        (line(turns=[{"role": "assistant", "content": "x"}]), "s.jsonl:1: nothing is asked"),
        (line(language="English, mostly"), 's.jsonl:1: "language" is'),
        (line(topic={"a": 1}), 's.jsonl:1: "topic" is'),
        (line(prompt="x" * 300_000), "s.jsonl:1: 300,000 characters"),
        (line(prompt="\ud800"), "s.jsonl:1: has half a surrogate pair"),
        (b"\xff\xfe\x00", "not UTF-8"),
    ],
)  # fmt: skip
def test_a_bad_suite_is_one_line_and_asks_nothing(content: bytes, says: str, pacos: Command, tmp_path: Path) -> None:
    (tmp_path / "s.jsonl").write_bytes(content)
    code, _, err = pacos("redteam", "gate", "http://127.0.0.1:1/v1", "--max-asr", LIMIT, "--suite", "s.jsonl")
    assert code == 2
    assert says in err
    assert err.strip().count("\n") == 0
    assert len(err) < 400
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("id,topic,prompt\na,b,c\n", "t.csv:1: no column objective"),
        ("id,topic,prompt,objective,status\na,b,c,lexicon\n", "t.csv:2: 4 fields; expected 5"),
        ('id,topic,prompt,objective,status\na,b,"c,lexicon,accepted\n', "t.csv:2: not a row of CSV"),
        ("id,topic,prompt,objective,status\na,b,c,lexicon,proposed\n", "t.csv: no row with status accepted"),
        ("id,topic,prompt,objective,status\n" + "a,b,c,lexicon,accepted\n" * 2, "t.csv:3: id 'a' again"),
        (f"id,topic,prompt,objective,status\na,b,{'c' * 200_001},lexicon,accepted\n", "t.csv:2:"),
    ],
)
def test_a_bad_tree_is_one_line(content: str, says: str, pacos: Command, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(content)
    code, _, err = pacos("redteam", "gate", "http://127.0.0.1:1/v1", "--max-asr", LIMIT, "--suite", "t.csv")
    assert code == 2
    assert says in err
    assert err.strip().count("\n") == 0


def test_files_of_other_systems_and_conversations_are_read(pacos: Command, tmp_path: Path) -> None:
    talk = [("system", "Be kind."), ("user", "Hello"), ("assistant", "Hello!"), ("user", "What now?")]
    turns = [{"role": role, "content": content} for role, content in talk]
    lines = [line(id=n, prompt=f"Q{n}\u2028") for n in range(20)] + [line(turns=turns, prompt="all of it")]
    (tmp_path / "s.jsonl").write_bytes(b"\xef\xbb\xbf" + b"".join(lines).replace(b"\n", b"\r\n"))
    with OpenAIServer(text_of=safe) as server:
        assert pacos(*gate(server, tmp_path / "r", "--suite", "s.jsonl"))[0] == 0
        asked = [body["messages"] for body in server.bodies]
    assert len(asked) == 21
    assert turns in asked


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (("--max-asr", 0, "--suite", "s.jsonl"), "--max-asr 0"),
        (("--max-asr", "nan", "--suite", "s.jsonl"), "--max-asr nan"),
        (("--max-asr", 0.1, "--suite", "s.jsonl", "--suite", "./s.jsonl"), "the same cases as s.jsonl"),
        (("--max-asr", 0.1, "--suite", "none.jsonl"), "none.jsonl: no such file"),
        (("--max-asr", 0.1, "--suite", "."), "is a folder"),
    ],
)
def test_what_cannot_be_a_gate_is_one_line(more: tuple[object, ...], says: str, pacos: Command, tmp_path: Path) -> None:
    suite(tmp_path / "s.jsonl")
    code, _, err = pacos("redteam", "gate", "http://127.0.0.1:1/v1", *more)
    assert code == 2
    assert says in err
    assert err.strip().count("\n") == 0


# Each command is a process of its own, forked from one that has imported everything, so that 50 of them start in time.
FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(["pacos.redteam.gate", "pacos.engines.http"])


@pytest.mark.parametrize("num_kills", [5, pytest.param(50, marks=pytest.mark.slow)])
def test_a_killed_gate_loses_no_verdict_and_asks_again_only_what_was_in_flight(
    num_kills: int, pacos: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`kill -9` at random moments; in the end it has the very report of one that was never killed."""
    file, drawn = suite(tmp_path / "s.jsonl", 12 * num_kills), random.Random(num_kills)
    words = tuple(f"Question {n} " for n in range(2, 12 * num_kills, 3))
    with OpenAIServer(text_of=leaky(words), latency_seconds=lambda n: 0.05) as server:
        assert pacos(*gate(server, tmp_path / "whole", "--suite", file))[0] == 1
        num_asked = len(server.bodies)
        assert num_asked == 12 * num_kills
        command, store = gate(server, tmp_path / "cut", "--suite", file), tmp_path / "cut" / "redteam" / "cases.sqlite"
        verdicts, num_killed = 0, 0
        for _ in range(num_kills):
            monkeypatch.setattr("sys.argv", ["pacos", *map(str, command)])
            process, seen = FORKS.Process(target=main), len(server.bodies)
            process.start()
            # Some are killed while they begin, most after their first request.
            if drawn.random() < 0.7:
                wait_until(lambda: not process.is_alive() or len(server.bodies) > seen)  # noqa: B023
            time.sleep(drawn.uniform(0, 0.4))
            process.kill()
            process.join()
            num_killed += process.exitcode == -signal.SIGKILL
            wait_until(lambda: server.in_flight == 0)
            now = num_rows(store, "verdicts")
            assert now >= verdicts
            verdicts = now
            assert process.exitcode in (1, -signal.SIGKILL)
            assert (tmp_path / "cut" / "redteam" / "gate.json").exists() == (process.exitcode == 1)
        assert pacos(*command)[0] == 1
        assert num_rows(store, "verdicts") == num_rows(store, "answers") == num_asked
        assert num_killed > num_kills / 2
        assert len(server.bodies) - 2 * num_asked <= num_killed * server.most_in_flight
    assert told(tmp_path / "cut") == told(tmp_path / "whole")


def wait_until(is_so: Callable[[], bool]) -> None:
    end = time.monotonic() + 120
    while not is_so():
        assert time.monotonic() < end
        time.sleep(0.005)
