"""The generate stage through its door, against a real server: what it keeps, what it stores, how it stops."""

import json
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from contextlib import closing
from pathlib import Path

import pytest

from pacos.asking import Ledger
from pacos.core.errors import PacosError
from pacos.generate.report import read
from tests.generate.stage import generate, lines, overrides, process, stored, wait_for_replies
from tests.servers.openai_server import RETRIED, OpenAIServer, always, seeded_faults
from tests.servers.scripted_teacher import teacher_text


@pytest.mark.parametrize("api", ["chat", "completions"])
@pytest.mark.parametrize("mode", ["alpaca", "alpaca-fixed"])
def test_makes_a_data_set_and_accounts_for_every_block(recipe_path: Path, tmp_path: Path, api: str, mode: str) -> None:
    with OpenAIServer() as server:
        report = generate(
            recipe_path,
            tmp_path / "run",
            overrides(server, teacher__api=api, generate__mode=mode, generate__num_examples=120),
        )
        endpoint = "prompt" if api == "completions" else "messages"
        assert all(endpoint in body for body in server.bodies)
        assert len(server.bodies) <= 13
    folder = tmp_path / "run" / "generate"
    dataset = json.loads((folder / "dataset.json").read_text())
    assert len(dataset) == report.kept == 120
    assert all(list(record) == ["instruction", "input", "output"] for record in dataset)
    assert report.parsed == report.kept + sum(report.rejected.values())
    assert len(report.rejected) >= 4
    provenance = lines(folder / "dataset.jsonl")
    assert [[p["instruction"], p["input"], p["output"]] for p in provenance] == [list(r.values()) for r in dataset]
    assert all(p["similarity"] <= 0.7 for p in provenance)
    rejected = lines(folder / "rejected.jsonl")
    assert Counter(r["rule"] for r in rejected) == report.rejected
    near = [r for r in rejected if r["rule"] == "not_novel"]
    assert near
    assert all(r["similarity"] > 0.7 and r["nearest"] for r in near)
    assert json.loads((folder / "report.json").read_text())["asked"] == report.asked
    assert f"{report.kept:,} examples" in (folder / "datasheet.md").read_text()


def test_a_finished_stage_asks_nothing_again(recipe_path: Path, tmp_path: Path) -> None:
    with OpenAIServer() as server:
        settings = overrides(server)
        generate(recipe_path, tmp_path / "run", settings)
        asked = len(server.bodies)
        command = [sys.executable, "-m", "pacos", "generate", recipe_path, *settings, "--run", tmp_path / "run"]
        again = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
        assert "done before" in again.stdout
        assert len(server.bodies) == asked


def test_order_of_arrival_faults_and_concurrency_do_not_shape_the_data(recipe_path: Path, tmp_path: Path) -> None:
    with OpenAIServer() as calm:
        generate(recipe_path, tmp_path / "calm", overrides(calm, teacher__concurrency=1))
    slow = lambda number: 0.2 if number % 3 == 0 else 0.0  # noqa: E731
    faults = seeded_faults(0.7, tuple(kind for kind in RETRIED if kind != "stall"))
    with OpenAIServer(faults, latency_seconds=slow, retry_after_seconds=0) as wild:
        generate(recipe_path, tmp_path / "wild", overrides(wild, teacher__concurrency=6))
        assert wild.faults_made
    for name in ("dataset.json", "dataset.jsonl"):
        calm_bytes, wild_bytes = ((tmp_path / run / "generate" / name).read_bytes() for run in ("calm", "wild"))
        if name == "dataset.jsonl":
            calm_bytes = calm_bytes.replace(calm.base_url.encode(), wild.base_url.encode())
        assert calm_bytes == wild_bytes


@pytest.mark.parametrize("sent", [signal.SIGKILL, signal.SIGINT])
def test_a_stopped_run_loses_no_reply_and_goes_on(recipe_path: Path, tmp_path: Path, sent: signal.Signals) -> None:
    with OpenAIServer() as server:
        generate(recipe_path, tmp_path / "whole", overrides(server))
    concurrency = 2
    with OpenAIServer(latency_seconds=lambda n: 0.15) as server:
        settings = overrides(server, teacher__concurrency=concurrency)
        folder = tmp_path / "stopped"
        with process(recipe_path, folder, settings) as child:
            wait_for_replies(folder, 2)
            child.send_signal(sent)
            _, errors = child.communicate(timeout=60)
        assert child.returncode != 0
        assert not (folder / "generate" / "dataset.json").exists()
        if sent == signal.SIGINT:
            assert "KeyboardInterrupt" in errors
            # What was under way when it was stopped has arrived.
            assert stored(folder) == len(server.bodies)
            assert '"interrupted"' in (folder / "events.jsonl").read_text()
        before = stored(folder)
        generate(recipe_path, folder, settings)
        assert len(server.bodies) <= stored(folder) + concurrency
        assert before >= 2
        prompts = Counter(json.dumps(body["messages"]) for body in server.bodies)
        assert sum(count - 1 for count in prompts.values()) <= concurrency
    whole, resumed = ((tmp_path / run / "generate" / "dataset.json").read_bytes() for run in ("whole", "stopped"))
    assert whole == resumed


def test_money_is_never_overshot_and_a_raised_limit_goes_on(recipe_path: Path, tmp_path: Path) -> None:
    prices = {"teacher__input_usd_per_mtok": 1, "teacher__output_usd_per_mtok": 10, "teacher__max_tokens": 1500}
    with OpenAIServer() as server:
        with pytest.raises(PacosError, match=r"teacher\.max_usd is 0\.05") as caught:
            generate(recipe_path, tmp_path / "run", overrides(server, teacher__max_usd=0.05, **prices))
        assert "\n" not in str(caught.value)
        asked = len(server.bodies)
        assert asked >= 1
        report = generate(recipe_path, tmp_path / "run", overrides(server, teacher__max_usd=5, **prices))
        assert report.kept == 60
        assert report.requests == len(server.bodies) == stored(tmp_path / "run")
    with closing(sqlite3.connect(tmp_path / "run" / "generate" / "ledger.sqlite")) as ledger:
        costs = [usd for (usd,) in ledger.execute("select usd from replies order by rowid")]
    assert sum(costs[:asked]) <= 0.05
    assert report.usd == pytest.approx(sum(costs), abs=1e-6)


def test_a_budget_too_small_for_one_request_sends_none(recipe_path: Path, tmp_path: Path) -> None:
    with OpenAIServer() as server:
        settings = overrides(server, teacher__max_usd=0.001, teacher__output_usd_per_mtok=10)
        with pytest.raises(PacosError, match=r"0\.0000 is spent"):
            generate(recipe_path, tmp_path / "run", settings)
        assert server.bodies == []


def test_a_limit_without_prices_is_refused_but_on_this_machine(
    recipe_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with OpenAIServer() as server:
        report = generate(recipe_path, tmp_path / "here", overrides(server, teacher__max_usd=0))
        assert (report.kept, report.usd) == (60, 0)
        monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
        for host in ("teacher.example", "localhost.example", "127.0.0.1.example"):
            away = overrides(server, teacher__max_usd=1, teacher__base_url=f"https://{host}/v1")
            with pytest.raises(PacosError, match=r"set teacher\.input_usd_per_mtok and teacher\.output_usd_per_mtok"):
                generate(recipe_path, tmp_path / "away", away)


def test_a_fatal_failure_among_others_loses_no_reply(recipe_path: Path, tmp_path: Path) -> None:
    quota_at_the_fourth = lambda n: "quota" if n == 3 else None  # noqa: E731
    with OpenAIServer(quota_at_the_fourth, latency_seconds=lambda n: 0.0 if n == 3 else 0.7) as server:
        settings = overrides(server, generate__num_examples=500)
        with pytest.raises(PacosError, match="no quota"):
            generate(recipe_path, tmp_path / "run", settings)
        # The six that are asked before anything is read; the other five were answered after the failure.
        assert (len(server.bodies), stored(tmp_path / "run")) == (6, 5)


def test_a_report_of_another_version_is_one_line(recipe_path: Path, tmp_path: Path) -> None:
    with OpenAIServer() as server:
        generate(recipe_path, tmp_path / "run", overrides(server))
        report = tmp_path / "run" / "generate" / "report.json"
        report.write_text(json.dumps(json.loads(report.read_text()) | {"unheard_of": 1}))
        with pytest.raises(PacosError, match=r"report\.json: .*not a report of this version"):
            read(report.parent)


def test_a_barren_teacher_stops_the_run(recipe_path: Path, tmp_path: Path) -> None:
    with OpenAIServer(text_of=lambda prompt, seed: teacher_text("4. Instruction:", 1)) as server:
        with pytest.raises(PacosError, match="nothing to keep in its last 30 replies") as caught:
            generate(recipe_path, tmp_path / "run", overrides(server))
        assert "\n" not in str(caught.value)
        assert len(server.bodies) <= 60


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "I cannot help with that.\nSorry.\x1b[2J",
            r"“I cannot help with that\.\\nSorry\.\\x1b\[2J” .*change the teacher",
        ),
        ("请 自 己 写 任 务 。" * 99, "“请 自 己 .*…” "),
        ("", r"reads: \(nothing\) "),
        (
            "<think>\n4. Instruction: Name a draft.\n4. Input:\nx\n4. Output:\ny\n",
            r"reads: \(nothing\) .*raise teacher\.max_tokens",
        ),
    ],
)
def test_replies_that_cannot_be_read_stop_the_run_soon(recipe_path: Path, tmp_path: Path, text: str, said: str) -> None:
    with OpenAIServer(text_of=lambda prompt, seed: text) as server:
        with pytest.raises(PacosError, match="no task could be read in its last 6 replies") as caught:
            generate(recipe_path, tmp_path / "run", overrides(server))
        assert re.search(said, str(caught.value)), str(caught.value)
        assert len(str(caught.value)) < 800
        assert str(caught.value).isprintable()
        # Six, and those that were under way.
        assert len(server.bodies) < 30


def test_a_teacher_that_labels_in_its_own_way_is_told_of_the_mode_that_reads_it(
    recipe_path: Path, tmp_path: Path
) -> None:
    json_text = lambda prompt, seed: json.dumps([{"instruction": "Name it.", "input": "", "output": "x"}])  # noqa: E731
    with OpenAIServer(text_of=json_text) as server, pytest.raises(PacosError, match=r"generate\.mode=alpaca-fixed"):
        generate(recipe_path, tmp_path / "run", overrides(server, generate__mode="alpaca"))


@pytest.mark.parametrize("fault", ["quota", "404", "html", "400"])
def test_a_hopeless_server_stops_the_run_at_once(recipe_path: Path, tmp_path: Path, fault: str) -> None:
    with OpenAIServer(always(fault)) as server:
        with pytest.raises(PacosError, match="goes on from here"):
            generate(recipe_path, tmp_path / "run", overrides(server))
        # Each of the eight in flight may have tried three times before the first gave up.
        assert len(server.bodies) <= 24


def test_an_address_may_be_mended_while_nothing_is_made(recipe_path: Path, tmp_path: Path) -> None:
    with OpenAIServer() as gone:
        pass
    with pytest.raises(PacosError, match=gone.base_url):
        generate(recipe_path, tmp_path / "run", overrides(gone))
    with OpenAIServer() as server:
        assert generate(recipe_path, tmp_path / "run", overrides(server)).kept == 60


def test_no_key_reaches_any_file(recipe_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key = "sk-secret-0123456789"
    monkeypatch.setenv("OPENAI_API_KEY", key)
    with OpenAIServer(key="another") as server, pytest.raises(PacosError) as caught:
        generate(recipe_path, tmp_path / "wrong", overrides(server))
    assert key not in str(caught.value)
    with OpenAIServer(key=key) as server:
        generate(recipe_path, tmp_path / "right", overrides(server))
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) > 8
    assert [path for path in files if key.encode() in path.read_bytes()] == []


def test_a_broken_seed_line_is_named(recipe_path: Path, tmp_path: Path) -> None:
    good = json.dumps({"instruction": "Name a fruit.", "instances": [{"input": "", "output": "Apple"}]})
    seeds = tmp_path / "seeds.jsonl"
    seeds.write_text("\n".join([good] * 16 + ['{"instruction": "Name'] + [good] * 3))
    with OpenAIServer() as server, pytest.raises(PacosError, match=r"seeds\.jsonl:17: "):
        generate(recipe_path, tmp_path / "run", overrides(server, generate__seed_tasks=seeds))
    seeds.write_text("\n".join([good] * 20))
    with OpenAIServer() as server:
        report = generate(recipe_path, tmp_path / "run", overrides(server, generate__seed_tasks=seeds))
    assert report.seed_tasks == 20


def test_self_instructs_own_seed_tasks_are_read(recipe_path: Path, tmp_path: Path, shared_data: Path) -> None:
    seeds = shared_data / "self_instruct" / "seed_tasks.jsonl"
    with OpenAIServer() as server:
        report = generate(recipe_path, tmp_path / "run", overrides(server, generate__seed_tasks=seeds))
    assert report.seed_tasks == 175


def test_a_full_disk_is_one_line_and_keeps_every_reply(recipe_path: Path, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = shutil.which("mount")
    if os.geteuid() != 0 or not mount:
        pytest.skip("needs root, to mount a small tmpfs")
    if subprocess.run([mount, "-t", "tmpfs", "-o", "size=300k", "tmpfs", disk], capture_output=True).returncode:
        pytest.skip("needs the right to mount a small tmpfs")
    try:
        with OpenAIServer() as server:
            settings = overrides(server, generate__num_examples=500)
            with pytest.raises(PacosError, match="repeat the same command") as caught:
                generate(recipe_path, disk / "run", settings)
            assert "\n" not in str(caught.value)
            before, asked = stored(disk / "run"), len(server.bodies)
            assert before >= 1
            subprocess.run([mount, "-o", "remount,size=20m", disk], check=True)
            report = generate(recipe_path, disk / "run", settings)
            assert report.kept == 500
            # Only what was in flight when the disk was full is asked again.
            assert len(server.bodies) - asked <= report.requests - before + 8
    finally:
        subprocess.run(["umount", disk], check=True)


def test_a_request_that_is_lost_among_the_last_is_asked_again(recipe_path: Path, tmp_path: Path) -> None:
    """Later replies, enough to fill the pool, wait for it: it must not wait for them."""
    with OpenAIServer() as calm:
        generate(recipe_path, tmp_path / "calm", overrides(calm))
    with closing(sqlite3.connect(tmp_path / "calm" / "generate" / "ledger.sqlite")) as ledger:
        (first,) = ledger.execute("select prompt from replies where number = 1").fetchone()

    def lose_the_first(number: int) -> str | None:
        tries = [body for body in server.bodies if body["messages"][-1]["content"] == first]
        return "truncated" if server.bodies[number] in tries and len(tries) <= 3 else None

    with OpenAIServer(lose_the_first) as server:
        generate(recipe_path, tmp_path / "lossy", overrides(server))
        assert server.faults_made["truncated"] == 3
    calm_bytes, lossy_bytes = ((tmp_path / run / "generate" / "dataset.json").read_bytes() for run in ("calm", "lossy"))
    assert calm_bytes == lossy_bytes


def test_requests_refused_in_a_row_are_asked_again_by_the_next_run(recipe_path: Path, tmp_path: Path) -> None:
    with OpenAIServer() as calm:
        generate(recipe_path, tmp_path / "calm", overrides(calm))
    broken = {"now": True}
    with OpenAIServer(lambda number: "400" if broken["now"] else None) as server:
        with pytest.raises(PacosError, match="goes on from here"):
            generate(recipe_path, tmp_path / "run", overrides(server, teacher__concurrency=1))
        broken["now"] = False
        generate(recipe_path, tmp_path / "run", overrides(server, teacher__concurrency=1))
    calm_bytes, later_bytes = ((tmp_path / run / "generate" / "dataset.json").read_bytes() for run in ("calm", "run"))
    assert calm_bytes == later_bytes


def test_a_reply_beside_five_refused_in_a_row_gives_none_of_them_up(recipe_path: Path, tmp_path: Path) -> None:
    with OpenAIServer() as calm:
        generate(recipe_path, tmp_path / "calm", overrides(calm, generate__num_examples=300))
    broken = {"now": True}
    faults = lambda number: "400" if broken["now"] and number else None  # noqa: E731

    def held_until_others_have_stopped_the_run(number: int) -> float:
        while number == 0 and server.faults_made["400"] < 5:
            time.sleep(0.01)
        return 0.0 if number else 0.5

    with OpenAIServer(faults, latency_seconds=held_until_others_have_stopped_the_run) as server:
        settings = overrides(server, teacher__concurrency=8, generate__num_examples=300)
        with pytest.raises(PacosError, match="goes on from here"):
            generate(recipe_path, tmp_path / "run", settings)
        broken["now"] = False
        generate(recipe_path, tmp_path / "run", settings)
    calm_bytes, later_bytes = ((tmp_path / run / "generate" / "dataset.json").read_bytes() for run in ("calm", "run"))
    assert calm_bytes == later_bytes


def test_each_line_names_the_server_that_wrote_it(recipe_path: Path, tmp_path: Path) -> None:
    with OpenAIServer(lambda number: "quota" if number >= 3 else None) as first, pytest.raises(PacosError):
        generate(recipe_path, tmp_path / "run", overrides(first, teacher__concurrency=1))
    with OpenAIServer(refused_parameters=("temperature",)) as second:
        report = generate(recipe_path, tmp_path / "run", overrides(second, teacher__concurrency=1))
    names = [f"default ({server.base_url})" for server in (first, second)]
    assert report.teacher == " and ".join(names)
    teachers = [line["teacher"] for line in lines(tmp_path / "run" / "generate" / "dataset.jsonl")]
    assert teachers == sorted(teachers, key=names.index)
    assert set(teachers) == set(names)
    assert "did not take temperature" in (tmp_path / "run" / "generate" / "datasheet.md").read_text()


def test_an_evaluation_set_named_later_is_said(recipe_path: Path, tmp_path: Path) -> None:
    questions = tmp_path / "questions.json"
    questions.write_text(json.dumps([{"instruction": "What is the capital of France, and why is it there?"}]))
    with OpenAIServer(lambda number: "quota" if number >= 3 else None) as server:
        with pytest.raises(PacosError):
            generate(recipe_path, tmp_path / "run", overrides(server, teacher__concurrency=1))
        with pytest.raises(PacosError, match=r"questions\.json: .* was begun without this file"):
            generate(recipe_path, tmp_path / "run", overrides(server, evaluate__instructions=questions))


def test_a_request_that_is_always_refused_is_given_up_for_good(recipe_path: Path, tmp_path: Path) -> None:
    poison = lambda number: "400" if "poison" in server.bodies[number]["messages"][-1]["content"] else None  # noqa: E731
    seeds = tmp_path / "seeds.jsonl"
    names = ["poison", *(f"fruit {number}" for number in range(5))]
    tasks = [{"instruction": f"Name {n} now.", "instances": [{"input": "", "output": "x"}]} for n in names]
    seeds.write_text("\n".join(map(json.dumps, tasks)))
    with OpenAIServer(poison) as server:
        keys = {"generate__seed_tasks": seeds, "generate__num_examples": 150, "teacher__output_usd_per_mtok": 5}
        settings = overrides(server, teacher__max_usd=0.024, teacher__concurrency=1, **keys)
        with pytest.raises(PacosError, match="max_usd"):
            generate(recipe_path, tmp_path / "run", settings)
        refused = server.faults_made["400"]
        assert refused >= 1
        asked = [json.dumps(body["messages"]) for body in server.bodies]
        settings = overrides(server, teacher__max_usd=9, teacher__concurrency=1, **keys)
        assert generate(recipe_path, tmp_path / "run", settings).kept == 150
        again = [json.dumps(body["messages"]) for body in server.bodies[len(asked) :]]
    assert not {prompt for prompt in again if "poison" in prompt} & {prompt for prompt in asked if "poison" in prompt}


def test_what_a_stop_leaves_under_way_counts_against_the_budget(recipe_path: Path, tmp_path: Path) -> None:
    slow = lambda number: 30.0 if number >= 4 else 0.0  # noqa: E731
    with OpenAIServer(latency_seconds=slow) as server:
        prices = {"teacher__max_usd": 5, "teacher__output_usd_per_mtok": 10, "teacher__max_tokens": 1000}
        settings = overrides(server, teacher__concurrency=4, generate__num_examples=500, **prices)
        with process(recipe_path, tmp_path / "run", settings) as child:
            wait_for_replies(tmp_path / "run", 4)
            deadline = time.monotonic() + 20
            while server.in_flight < 4 and time.monotonic() < deadline:
                time.sleep(0.05)
            child.send_signal(signal.SIGINT)
            time.sleep(0.5)
            child.send_signal(signal.SIGINT)
            child.communicate(timeout=30)
    with closing(sqlite3.connect(tmp_path / "run" / "generate" / "ledger.sqlite")) as ledger:
        unseen = ledger.execute("select count(*), sum(unseen_usd) from failures").fetchone()
    assert unseen == (4, pytest.approx(4 * 0.01))


def test_what_lost_answers_may_have_cost_counts_in_every_process(recipe_path: Path, tmp_path: Path) -> None:
    prices = {"teacher__output_usd_per_mtok": 10, "teacher__max_tokens": 1000, "teacher__concurrency": 1}
    with OpenAIServer(lambda number: "truncated" if number else None) as server:
        settings = overrides(server, teacher__max_usd=0.04, generate__num_examples=500, **prices)
        for _ in range(4):
            with pytest.raises(PacosError, match=r"max_usd is 0\.04"):
                generate(recipe_path, tmp_path / "run", settings)
        assert 2 <= len(server.bodies) <= 4


def test_a_reply_stored_out_of_order_is_not_paid_for_twice(recipe_path: Path, tmp_path: Path) -> None:
    """What a kill leaves when a later request was answered first: found again when its turn comes."""
    run = tmp_path / "run"
    with OpenAIServer(lambda number: "quota" if number == 6 else None) as server:
        settings = overrides(server, teacher__concurrency=1, generate__num_examples=120)
        with pytest.raises(PacosError, match="no quota"):
            generate(recipe_path, run, settings)
        with closing(sqlite3.connect(run / "generate" / "ledger.sqlite")) as ledger:
            ledger.execute("delete from replies where number in (0, 3)")
            ledger.commit()
        report = generate(recipe_path, run, settings)
        # Six answered and one refused, then the two that are missing and all after the sixth.
        assert len(server.bodies) == 7 + 2 + report.requests - 6


def test_raw_calls_are_kept_where_the_recipe_asks_for_it(
    recipe_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-raw-0123456789")
    echoes = lambda answer: answer.update(echo="sk-raw-0123456789")  # noqa: E731
    with OpenAIServer(rewrite=echoes) as server:
        generate(recipe_path, tmp_path / "run", overrides(server, teacher__keep_raw="true"))
    line = lines(tmp_path / "run" / "generate" / "dataset.jsonl")[0]
    with closing(Ledger(tmp_path / "run" / "generate" / "ledger.sqlite", "teacher")) as ledger:
        stored_reply = ledger.read(line["ledger_key"])
    assert stored_reply is not None
    assert stored_reply.raw is not None
    sent, received = map(json.loads, stored_reply.raw)
    assert sent["messages"][0]["content"] == stored_reply.prompt
    assert received["choices"][0]["message"]["content"] == stored_reply.text
    assert received["echo"] == "***"


def test_a_run_that_dries_up_can_be_finished_with_what_it_kept(recipe_path: Path, tmp_path: Path) -> None:
    few = lambda prompt, seed: teacher_text("4. Instruction:", (seed or 0) % 3)  # noqa: E731
    with OpenAIServer(text_of=few) as server:
        with pytest.raises(PacosError, match=r"the same command with generate\.num_examples=(\d+)") as caught:
            generate(recipe_path, tmp_path / "run", overrides(server, generate__num_examples=500))
        kept, asked = int(str(caught.value).split("num_examples=")[1].strip(".")), len(server.bodies)
        assert kept > 20
        report = generate(recipe_path, tmp_path / "run", overrides(server, generate__num_examples=kept))
        assert (report.kept, len(server.bodies)) == (kept, asked)
        with pytest.raises(PacosError, match="num_examples was"):
            generate(recipe_path, tmp_path / "run", overrides(server, generate__num_examples=kept + 1))
