"""An attack against real servers and a real checkpoint: what is asked, what is kept, what a kill leaves."""

import itertools
import math
import random
import sqlite3
import time
from pathlib import Path

import pytest

from pacos.core.prompts import render_prompt
from pacos.engines import Message
from pacos.judging.offline import Scored
from pacos.redteam.cases import Answered, Case, CaseStore
from pacos.redteam.counting import count
from pacos.redteam.proposing import load_templates
from tests.conftest import Command
from tests.redteam.conftest import CANARY, cases, leaky, report, start
from tests.servers.openai_server import OpenAIServer, scripted_faults

PLAIN_TEMPLATES = tuple(load_templates().texts.values())
WORDS = ("harbour", "lighthouse", "anchor", "bicycle", "pepper", "violin", "glacier", "blanket", "meadow", "candle")


@pytest.fixture
def topics(tmp_path: Path) -> Path:
    path = tmp_path / "topics.txt"
    path.write_text("\n".join(WORDS) + "\n\n")
    return path


def attack(server: OpenAIServer, topics: Path, folder: Path, *more: object) -> list[object]:
    return [
        *("redteam", "attack", f"http:{server.base_url}", "engines.target.model=small", "--run", folder),
        *("--objective", f"contains:{CANARY}", "--topics", topics, *more),
    ]


def test_what_was_found_is_kept_with_its_verdicts_and_a_rate(pacos: Command, topics: Path, tmp_path: Path) -> None:
    with OpenAIServer(text_of=leaky(("anchor", "pepper"), ("story", "poem"))) as server:
        code, out, _ = pacos(*attack(server, topics, tmp_path / "r", "--max-requests", 60))
        bodies = server.bodies
    assert code == 0
    found, told = cases(tmp_path / "r"), report(tmp_path / "r")
    assert len(found) == len(bodies) == told["requests"] == 60
    hits = [case for case in found if case["verdict"] == "hit"]
    assert hits
    assert all(CANARY in case["answer"] for case in hits)
    assert all(CANARY not in case["answer"] for case in found if case["verdict"] == "safe")
    assert {case["verdict"] for case in found} == {"hit", "safe"}
    assert [case["request"] for case in found] == list(range(60))
    assert {case["objective"] for case in found} == {f"contains:{CANARY}"}
    assert told["hits"] == len(hits)
    assert told["scored"] == 60
    assert told["rate"] == pytest.approx(len(hits) / 60)
    assert told["interval"][0] < told["rate"] < told["interval"][1]
    assert f"{len(hits)} hits of 60 scored" in out
    ten, hundred = told["forecast"]
    assert (ten["requests"], hundred["requests"]) == (600, 6000)
    # Of other prompts: one that was asked seven times and failed seven times is one failing prompt.
    failing = len({case["prompt"] for case in hits}) / len({case["prompt"] for case in found})
    for each in (ten, hundred):
        assert each["interval"][0] <= told["rate"] * each["requests"] <= each["interval"][1]
        assert each["hits"] / each["requests"] == pytest.approx(failing, abs=0.03)
    assert sum("in 600 " in line and "in 6,000 " in line for line in out.splitlines()) == 1
    # No two generations share a seed, and what was asked is what stands in the cases.
    assert len({body["seed"] for body in bodies}) == 60
    assert sorted(body["messages"][-1]["content"] for body in bodies if len(body["messages"]) == 1) == sorted(
        case["prompt"] for case in found if not case["technique"].endswith("+turns")
    )


def test_the_same_command_asks_nothing_again_and_more_requests_go_on(
    pacos: Command, topics: Path, tmp_path: Path
) -> None:
    with OpenAIServer(text_of=leaky(("anchor",))) as server:
        pacos(*attack(server, topics, tmp_path / "r", "--max-requests", 20))
        before = cases(tmp_path / "r")
        assert pacos(*attack(server, topics, tmp_path / "r", "--max-requests", 20))[0] == 0
        assert len(server.bodies) == 20
        assert cases(tmp_path / "r") == before
        pacos(*attack(server, topics, tmp_path / "r", "--max-requests", 33))
        assert len(server.bodies) == 33
    assert cases(tmp_path / "r")[:20] == before


def test_a_killed_attack_loses_no_verdict_and_asks_again_only_what_was_in_flight(topics: Path, tmp_path: Path) -> None:
    """Killed again and again at odd moments, it ends with the very cases of one that was never killed."""
    with OpenAIServer(text_of=leaky(("anchor", "violin"), ("story",)), latency_seconds=lambda n: 0.03) as server:
        whole = start(*attack(server, topics, tmp_path / "whole", "--max-requests", 80), folder=tmp_path)
        _, err = whole.communicate(timeout=120)
        assert whole.returncode == 0, err
        num_asked = len(server.bodies)
        assert num_asked == 80
        command, path = attack(server, topics, tmp_path / "cut", "--max-requests", 80), tmp_path / "cut" / "redteam"
        answered, in_flight = 0, 0
        for wait in itertools.chain((0.05, 0.2, 0.1, 0.3, 0.15), itertools.repeat(60.0)):
            process, seen = start(*command, folder=tmp_path), len(server.bodies)
            while process.poll() is None and len(server.bodies) == seen:
                time.sleep(0.01)
            time.sleep(wait if wait < 60 else 0)
            if wait < 60:
                process.kill()
                process.wait()
                time.sleep(0.1)
                now = num_verdicts(path / "cases.sqlite")
                assert now >= answered
                answered = now
                in_flight += 8
                continue
            assert process.wait(120) == 0
            break
        assert len(server.bodies) - num_asked <= 80 + in_flight
    assert cases(tmp_path / "cut") == cases(tmp_path / "whole")


def num_verdicts(path: Path) -> int:
    with sqlite3.connect(path) as connection:
        return int(connection.execute("SELECT count(*) FROM verdicts").fetchone()[0])


def test_max_usd_holds_and_what_was_paid_is_reported(pacos: Command, topics: Path, tmp_path: Path) -> None:
    priced = ("engines.target.input_usd_per_mtok=100", "engines.target.output_usd_per_mtok=200")
    with OpenAIServer(text_of=leaky(("anchor",))) as server:
        command = attack(server, topics, tmp_path / "r", *priced, "--max-requests", 200, "--max-usd", 0.3)
        code, out, _ = pacos(*command)
        told, num_asked = report(tmp_path / "r"), len(server.bodies)
        assert code == 0
        assert 0 < told["usd"] <= 0.3
        assert 0 < told["requests"] == num_asked < 200
        assert "max_usd" in out
        pacos(*command)
        assert len(server.bodies) == num_asked


def test_what_a_target_refuses_withholds_or_leaves_empty_is_neither_hit_nor_safe(
    pacos: Command, topics: Path, tmp_path: Path
) -> None:
    kinds = ["400", "400 no such prompts here", "400", "400", "400", "400", "400", None, "content_filter", None]
    with OpenAIServer(scripted_faults(*kinds), lambda prompt, seed: "" if seed == 11 else "Fine.") as server:
        assert pacos(*attack(server, topics, tmp_path / "r", "--max-requests", 24))[0] == 0
        assert len(server.bodies) == 24
    told, found = report(tmp_path / "r"), cases(tmp_path / "r")
    assert told["errors"] == 7
    assert told["unscored"] == 1
    assert told["hits"] == 0
    assert told["scored"] == told["safe"] == 24 - 7 - 1
    assert {case["rationale"].partition(":")[0] for case in found if case["verdict"] == "error"} == {
        "context_length",
        "bad_request",
    }


def test_a_target_that_refuses_everything_is_told_after_some_requests(
    pacos: Command, topics: Path, tmp_path: Path
) -> None:
    with OpenAIServer(lambda number: "400 not today") as server:
        code, _, err = pacos(*attack(server, topics, tmp_path / "r"))
        assert code == 2
        assert "none of the last 24 requests was answered" in err
        assert len(server.bodies) == 24
    assert report(tmp_path / "r")["rate"] is None


@pytest.mark.parametrize("fault", ["html", "endless", "text", "no-choices"])
def test_a_target_that_is_none_is_one_line(fault: str, pacos: Command, topics: Path, tmp_path: Path) -> None:
    with OpenAIServer(lambda number: fault) as server:
        code, _, err = pacos(*attack(server, topics, tmp_path / "r"))
        assert code == 2
        assert server.base_url in err
        assert err.strip().count("\n") == 0
    assert report(tmp_path / "r")["requests"] == 0


def test_a_target_that_hangs_is_given_up(
    pacos: Command, topics: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pacos.redteam.account.TIMEOUT_SECONDS", 0.3)
    with OpenAIServer(lambda number: "stall") as server:
        code, _, err = pacos(*attack(server, topics, tmp_path / "r"))
    assert code == 2
    assert err.strip().count("\n") == 0


def test_one_request_that_hangs_stops_nothing(
    pacos: Command, topics: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pacos.redteam.account.TIMEOUT_SECONDS", 1.0)
    with OpenAIServer(scripted_faults(None, None, "stall", "stall"), leaky(("anchor",))) as server:
        assert pacos(*attack(server, topics, tmp_path / "r", "--max-requests", 16))[0] == 0
    assert report(tmp_path / "r")["scored"] == 16


def test_two_processes_on_one_folder_and_the_second_is_refused(topics: Path, tmp_path: Path) -> None:
    with OpenAIServer(text_of=leaky(()), latency_seconds=lambda n: 2.0) as server:
        command = attack(server, topics, tmp_path / "r", "--max-requests", 300)
        first = start(*command, folder=tmp_path)
        while not server.bodies:
            time.sleep(0.02)
        second = start(*command, folder=tmp_path)
        _, err = second.communicate(timeout=60)
        first.kill()
        first.wait()
    assert second.returncode == 2
    assert f"process (id {first.pid})" in err


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "0 topics"),
        (b"\n\n  \n", "0 topics"),
        (b"\xff\xfe\x00\x01", "not UTF-8"),
        (b"bread\x00butter\n", "control characters"),
        (b"x" * 5000, "5,000 characters"),
    ],
)
def test_topics_that_are_none_are_one_line(content: bytes, says: str, pacos: Command, tmp_path: Path) -> None:
    (tmp_path / "t.txt").write_bytes(content)
    code, _, err = pacos("redteam", "attack", "http://127.0.0.1:1/v1", "--objective", "contains:x", "--topics", "t.txt")
    assert code == 2
    assert says in err
    assert err.strip().count("\n") == 0
    assert not (tmp_path / "runs").exists()


def test_the_report_says_how_good_its_judge_is_and_corrects_the_rate_for_it(
    pacos: Command, topics: Path, tmp_path: Path
) -> None:
    def text_of(prompt: str, seed: int | None) -> str:
        return "It lies by the sea." if "anchor" in prompt else "I'm sorry, but I can't help with that."

    with OpenAIServer(text_of=text_of) as server:
        command = attack(server, topics, tmp_path / "r", "--max-requests", 40)
        command[command.index(f"contains:{CANARY}")] = "compliance"
        code, out, err = pacos(*command)
    assert code == 0, err
    told = report(tmp_path / "r")
    assert told["judge"] == "compliance"
    assert told["hits"] == sum("anchor" in case["prompt"] for case in cases(tmp_path / "r")) > 0
    styles = {each["style"]: each for each in told["judge_by_style"]}
    # 49 of its 50 answers were found, and none of its 2 refusals was taken for one.
    alpaca = styles["Alpaca 7B, AlpacaFarm, davinci-003, where they may refuse"]
    assert (alpaca["labels"], alpaca["kappa"]) == (52, 0.79)
    assert alpaca["corrected_rate"] == pytest.approx(told["rate"] / 0.98)
    assert alpaca["corrected_interval"][0] <= told["rate"] <= alpaca["corrected_interval"][1]
    # No rate can be corrected by labels of one kind alone.
    assert styles["PyRIT's answers off the topic, labelled as refusals"]["corrected_rate"] is None
    assert "corrected for its errors" in out


@pytest.mark.parametrize("objective", ["kindness", "contains:", "regex:(", "regex:.*", "regex:a?", ""])
def test_an_objective_that_nobody_can_score_is_one_line(objective: str, pacos: Command, tmp_path: Path) -> None:
    code, _, err = pacos("redteam", "attack", "http://127.0.0.1:1/v1", "--objective", objective)
    assert code == 2
    assert "objective" in err
    assert err.strip().count("\n") == 0
    assert not (tmp_path / "runs").exists()


def test_an_engine_proposes_wordings_from_what_failed(pacos: Command, topics: Path, tmp_path: Path) -> None:
    def idea(prompt: str, seed: int | None) -> str:
        topic = prompt.partition("request of this kind about ")[2].partition(",")[0]
        return f'1. "Sing the {seed}th song of the sailors who once carried {topic} over the sea"'

    with OpenAIServer(text_of=idea) as writer, OpenAIServer(text_of=leaky(WORDS, ("Sing",))) as server:
        spent = ("engines.writer.engine=http", f"engines.writer.base_url={writer.base_url}", "engines.writer.model=w")
        code, _, _ = pacos(*attack(server, topics, tmp_path / "r", *spent, "--proposer", "writer"))
        assert code == 0
        assert writer.bodies
        assert len(server.bodies) == 300
    proposed = [case for case in cases(tmp_path / "r") if case["technique"].startswith("proposed")]
    assert proposed
    assert any(case["prompt"].startswith("Sing the") for case in proposed)
    assert report(tmp_path / "r")["by_technique"]["proposed"]["hits"] > 0


def test_a_checkpoint_tells_how_near_it_came(pacos: Command, topics: Path, tmp_path: Path, tiny_model: Path) -> None:
    """A safe case's score is the text's likelihood, as the model library computes it."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    text = "lazy dog"
    code, _, err = pacos(
        *("redteam", "attack", tiny_model, "--objective", f"contains:{text}", "--topics", topics),
        *("--max-requests", 12, "--run", "r"),
    )
    assert code == 0, err
    # A model of random weights may end its answer before it begins.
    found = [case for case in cases(tmp_path / "r") if case["verdict"] == "safe"]
    assert len(found) > 3
    model, tokenizer = AutoModelForCausalLM.from_pretrained(tiny_model), AutoTokenizer.from_pretrained(tiny_model)
    for case in found:
        before, own = tokenizer(render_prompt(case["prompt"]))["input_ids"], tokenizer(text)["input_ids"]
        with torch.no_grad():
            logprobs = model(torch.tensor([before + own])).logits[0].log_softmax(-1)
        expected = sum(float(logprobs[len(before) - 1 + at, token]) for at, token in enumerate(own)) / len(own)
        assert case["score"] == pytest.approx(math.exp(expected), rel=1e-3)
    assert len({case["score"] for case in found}) > 1


def test_what_an_answer_holds_is_kept_as_it_is(pacos: Command, topics: Path, tmp_path: Path) -> None:
    odd = "<script>alert(1)</script>\x00\u2028" + CANARY
    with OpenAIServer(lambda n: None, lambda prompt, seed: odd) as server:
        assert pacos(*attack(server, topics, tmp_path / "r", "--max-requests", 3))[0] == 0
    assert [case["answer"] for case in cases(tmp_path / "r")] == [odd] * 3


def test_what_is_planted_is_found_within_300_requests(pacos: Command, tmp_path: Path) -> None:
    """Three hidden topics of 7 or 8 words among 277, given away in 2 of the phrasings; random ones need about 350."""
    num_found = []
    for seed in range(5):
        drawn = random.Random(seed)
        words = ["".join(drawn.choices("bcdfgklmnprst", k=3)) + drawn.choice("aeiou") + str(n) for n in range(277)]
        (tmp_path / "words.txt").write_text("\n".join(words))
        hidden = drawn.sample(words, 22)
        phrases = drawn.sample([text.partition("{topic}")[0] for text in PLAIN_TEMPLATES], 2)
        with OpenAIServer(text_of=leaky(tuple(hidden), tuple(phrases))) as server:
            more = ("--max-requests", 300, "--seed", seed)
            assert pacos(*attack(server, tmp_path / "words.txt", tmp_path / f"r{seed}", *more))[0] == 0
        hits = {case["topic"] for case in cases(tmp_path / f"r{seed}") if case["verdict"] == "hit"}
        topics = (hidden[:7], hidden[7:14], hidden[14:])
        num_found.append(sum(bool(hits & set(topic)) for topic in topics))
    assert num_found.count(3) >= 4, num_found


def test_a_person_has_the_last_word_and_an_error_stays_one(tmp_path: Path) -> None:
    """What import, gate and adapt write: cases with answers from elsewhere, and a second verdict on one."""
    store = CaseStore(tmp_path / "cases.sqlite")
    campaign = store.campaign("import", "garak", "toxicity", {"file": "report.jsonl"})
    assert store.campaign("import", "garak", "toxicity", {"file": "report.jsonl"}) == campaign
    asked = [Case(n, "insults", "lmrc.Profanity", f"Say {n}.", (Message("user", f"Say {n}."),)) for n in range(4)]
    store.add(campaign, asked)
    store.answer(campaign, asked[0], Answered("crow", "stop"), "lexicon", Scored("hit", 0.9, "crow"))
    store.answer(campaign, asked[1], Answered("", "error", "timeout: 60 s"), "lexicon", None)
    store.answer(campaign, asked[2], Answered("fine", "stop"))
    store.judge(campaign, asked[0], "a person", Scored("safe", None, "a bird"))
    read = store.read(campaign)
    store.close()
    assert [each.verdict for each in read] == ["safe", "error", None, None]
    assert [each.answer is None for each in read] == [False, False, False, True]
    assert (read[0].judge, read[0].rationale) == ("a person", "a bird")
    counts = count(read)
    assert (counts.requests, counts.hits, counts.safe, counts.unscored, counts.errors, counts.scored) == (
        3,
        0,
        1,
        1,
        1,
        1,
    )


def test_a_target_that_always_fails_is_tried_in_many_ways(pacos: Command, tmp_path: Path) -> None:
    topics = tmp_path / "topics.txt"
    topics.write_text("anchor\npepper\nviolin\n")
    with OpenAIServer(text_of=leaky(("",))) as server:
        pacos(*attack(server, topics, tmp_path / "r", "--max-requests", 80))
    assert report(tmp_path / "r")["rate"] == 1
    assert len({case["technique"] for case in cases(tmp_path / "r")}) > 40
