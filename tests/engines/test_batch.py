"""The Batch API against a loopback server that has one: whole, cut short, refused, cancelled and killed."""

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from threading import Event

import pytest

from pacos.core.errors import PacosError
from pacos.core.recipe import EngineTable
from pacos.engines import Failure, Reply, Request, Sampling, open_engine
from pacos.engines.http import BatchEngine, batch, batch_api
from tests.engines.door import KEY, complete_all, echo
from tests.servers.batch_server import BatchServer
from tests.servers.openai_server import OpenAIServer, scripted_faults

POLL = (0.02, 0.1)


def table(server: OpenAIServer, **keys: object) -> EngineTable:
    return EngineTable(engine="http", base_url=server.base_url, model="small", batch=True, **keys)  # type: ignore[arg-type]


def requests(count: int, first: int = 0, **sampling: object) -> Iterator[Request]:
    for number in range(first, first + count):
        yield Request(f"r{number}", f"prompt {number}", Sampling(max_tokens=100, **sampling))  # type: ignore[arg-type]


def ask(server: OpenAIServer, count: int, folder: Path | None = None, **keys: object) -> dict[str, Reply | Failure]:
    return complete_all(BatchEngine(table(server, **keys), folder, POLL), requests(count))


def right(answers: dict[str, Reply | Failure]) -> int:
    """How many are replies; each is checked to be its own request's."""
    replies = {key: answer for key, answer in answers.items() if isinstance(answer, Reply)}
    assert all(reply.text == f"You said: prompt {key[1:]}" for key, reply in replies.items())
    return len(replies)


@pytest.mark.parametrize("api", ["chat", "completions"])
def test_a_batch_answers_every_request_at_half_the_price(
    api: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    prices = {"input_usd_per_mtok": 1000.0, "output_usd_per_mtok": 2000.0}
    with BatchServer(0.01, text_of=echo) as server:
        answers = ask(server, 30, tmp_path, api=api, **prices)
        assert server.calls.count("POST files") == server.calls.count("POST batches") == 1
        # A file just uploaded is in no batch yet, so an account's long history is not read.
        assert server.calls.count("GET batches") == 0
    assert right(answers) == 30
    reply = answers["r3"]
    assert isinstance(reply, Reply)
    assert reply.usd == pytest.approx((reply.usage.prompt_tokens * 1000 + reply.usage.completion_tokens * 2000) / 2e6)
    assert "of 30 requests done" in capsys.readouterr().err
    # Nothing is left of a batch that is over.
    assert list(tmp_path.iterdir()) == []


def test_requests_alike_are_answered_each() -> None:
    twice = [Request("a", "prompt 1", Sampling(9)), Request("b", "prompt 1", Sampling(9))]
    with BatchServer(text_of=echo) as server:
        answers = complete_all(BatchEngine(table(server), None, POLL), twice)
        assert server.billed["prompt 1"] == 2
    assert set(answers) == {"a", "b"}


@pytest.mark.parametrize(("name", "most"), [("MOST_REQUESTS", 8), ("MOST_BYTES", 2000)])
def test_more_than_a_batch_holds_goes_into_several(name: str, most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch, name, most)
    with BatchServer(text_of=echo) as server:
        answers = ask(server, 20)
        files = [server.files[one.input_file_id] for one in server.batches.values()]
    assert right(answers) == 20
    assert len(files) >= 3
    assert all(len(file) <= most if name == "MOST_BYTES" else file.count("\n") <= most for file in files)


def test_an_expired_batch_hands_over_what_it_has() -> None:
    with BatchServer(expire_after=7, text_of=echo) as server:
        answers = ask(server, 10, max_usd=9.0, input_usd_per_mtok=1.0)
    assert right(answers) == 7
    failures = [answer for answer in answers.values() if isinstance(answer, Failure)]
    assert [(failure.fatal, failure.unseen_usd) for failure in failures] == [(False, 0)] * 3
    assert all("expired" in failure.message for failure in failures)


def test_a_batch_that_is_refused_is_fatal_in_the_servers_own_words(tmp_path: Path) -> None:
    with BatchServer(fail_with=("token_limit_exceeded", "Enqueued token\nlimit reached."), text_of=echo) as server:
        answers = ask(server, 3, tmp_path)
    for failure in answers.values():
        assert isinstance(failure, Failure)
        assert failure.fatal
        assert "Enqueued token limit reached." in failure.message
    assert len(answers) == 3
    assert list(tmp_path.iterdir()) == []


def test_requests_in_a_batch_fail_alone() -> None:
    with BatchServer(line_faults=scripted_faults("400", "500", "filtered", "lost"), text_of=echo) as server:
        answers = ask(server, 8, input_usd_per_mtok=1.0)
    assert [answers[f"r{n}"].kind for n in (0, 1, 3)] == ["bad_request", "server", "server"]  # type: ignore[union-attr]
    assert not any(answers[f"r{n}"].fatal for n in (0, 1, 3))  # type: ignore[union-attr]
    filtered = answers.pop("r2")
    assert isinstance(filtered, Reply)
    assert filtered.finish_reason == "content_filter"
    # What was answered and is not in the files has been billed.
    assert answers["r3"].unseen_usd > 0
    assert right(answers) == 4


def test_parameters_that_a_model_refuses_are_left_out_of_the_next_batch() -> None:
    with BatchServer(text_of=echo, refused_parameters=("temperature", "seed")) as server:
        answers = complete_all(BatchEngine(table(server), None, POLL), requests(5, seed=1))
        assert set(server.billed.values()) == {1}
    assert right(answers) == 5


@pytest.mark.parametrize("kind", ["reset", "503", "429-bare"])
def test_every_call_is_tried_again(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch_api, "LONGEST_WAIT_SECONDS", 0.02)
    # Each second call fails; the one that creates the batch does so after the batch has begun.
    with BatchServer(0.01, call_faults=lambda n: kind if n % 2 else None, text_of=echo) as server:
        answers = ask(server, 10)
        assert len(server.batches) == 1
        assert set(server.billed.values()) == {1}
    assert right(answers) == 10


@pytest.mark.parametrize(("server", "word"), [(OpenAIServer, "batch=false"), (BatchServer, "OPENAI_API_KEY")])
def test_no_batch_api_and_no_key_are_fatal_lines(server: type[OpenAIServer], word: str) -> None:
    with server(key="" if server is OpenAIServer else "another", text_of=echo) as running:
        failure = ask(running, 2)["r1"]
    assert isinstance(failure, Failure)
    assert failure.fatal
    assert word in failure.message


def test_a_parameter_that_cannot_be_left_out_is_not_asked_for_ever() -> None:
    with BatchServer(text_of=echo, refused_parameters=("max_tokens",)) as server:
        answers = ask(server, 2, api="completions")
        assert len(server.batches) == 1
    assert all(isinstance(answer, Failure) and answer.kind == "bad_request" for answer in answers.values())


def test_a_batch_under_way_is_not_asked_for_again_outside_of_it(tmp_path: Path) -> None:
    with BatchServer(0.03, text_of=echo) as server:
        stop_when_begun(server, tmp_path, 40)
        [path] = tmp_path.iterdir()
        with pytest.raises(PacosError, match=path.name) as caught:
            open_engine(replace(table(server), batch=False), folder=tmp_path)
    assert "batch=true" in str(caught.value)


def test_a_batch_is_not_forgotten_for_an_address_that_is_another(tmp_path: Path) -> None:
    with BatchServer(0.03, text_of=echo) as server, OpenAIServer(text_of=echo) as other:
        stop_when_begun(server, tmp_path, 40)
        with pytest.raises(PacosError, match="set it back"):
            open_engine(table(other), folder=tmp_path)
        [path] = tmp_path.iterdir()
        assert json.loads(path.read_text())["server"] == server.base_url


def test_only_servers_have_a_batch_api() -> None:
    with pytest.raises(PacosError, match="batch=false"):
        open_engine(EngineTable(batch=True))


def test_a_stop_cancels_the_batch_and_takes_what_is_there(tmp_path: Path) -> None:
    with BatchServer(0.03, text_of=echo) as server:
        taken = stop_when_begun(server, tmp_path, 40)
        assert "POST batches/batch_0/cancel" in server.calls
        there = right(taken)
        assert 2 < there < 40 == len(taken)
        assert sum(server.billed.values()) == there
        # The next run asks for the rest only, whoever cancelled the batch.
        rest = complete_all(BatchEngine(table(server), tmp_path, POLL), requests(40 - there, there))
        assert set(server.billed.values()) == {1}
    assert right(rest) == 40 - there
    assert list(tmp_path.iterdir()) == []


def stop_when_begun(server: BatchServer, folder: Path, count: int, **sampling: object) -> dict[str, Reply | Failure]:
    async def go() -> dict[str, Reply | Failure]:
        engine, stop = BatchEngine(table(server), folder, POLL), Event()

        async def take() -> dict[str, Reply | Failure]:
            return {answer.id: answer async for answer in engine.complete(requests(count, **sampling), stop)}

        taking = asyncio.create_task(take())
        while not any(stored.done > 2 for stored in server.batches.values()):
            await asyncio.sleep(0.02)
        stop.set()
        taken = await taking
        await engine.close()
        return taken

    return asyncio.run(go())


def test_a_batch_that_is_still_being_cancelled_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(batch, "CANCEL_SECONDS", 0.1)
    with BatchServer(0.03, cancel_seconds=1.5, text_of=echo) as server:
        assert right(stop_when_begun(server, tmp_path, 40)) == 0
        assert "not over yet" in capsys.readouterr().err
        answers = ask(server, 40, tmp_path)
        assert server.billed == {f"prompt {n}": 1 for n in range(40)}
        assert 2 < server.batches["batch_0"].done < 40
    assert right(answers) == 40
    assert list(tmp_path.iterdir()) == []


def test_no_batch_is_begun_after_a_stop(tmp_path: Path) -> None:
    # What the first batch refused would be asked again.
    with BatchServer(0.05, text_of=echo, refused_parameters=("seed",)) as server:
        taken = stop_when_begun(server, tmp_path, 10, seed=1)
        assert server.calls.count("POST files") == server.calls.count("POST batches") == 1
    assert len(taken) == 10
    assert all(isinstance(answer, Failure) and not answer.fatal for answer in taken.values())


JOB = """
import asyncio, sys, pathlib, time
from pacos.core.recipe import EngineTable
from pacos.engines import Request, Sampling
from pacos.engines.http import BatchEngine
url, folder, pause = sys.argv[1:]
table = EngineTable(engine="http", base_url=url, model="small", batch=True)
requests = [Request(f"r{n}", f"prompt {n}", Sampling(max_tokens=100)) for n in range(12)]
engine = BatchEngine(table, pathlib.Path(folder), (0.05, 0.05))
async def count():
    replies = 0
    async for answer in engine.complete(requests):
        replies += hasattr(answer, "text")
        time.sleep(float(pause))
    return replies
print("all", asyncio.run(count()), flush=True)
"""


@pytest.mark.parametrize(
    "moment", ["POST files", "POST batches", "GET batches/batch_0", "GET files/batch_0-output/content"]
)
def test_a_killed_process_finds_its_batch_again_and_pays_once(moment: str, tmp_path: Path) -> None:
    command = [sys.executable, "-c", JOB]
    env = {key: value for key, value in os.environ.items() if key != "OPENAI_API_KEY"} | {"OMP_NUM_THREADS": "1"}
    with BatchServer(0.03, text_of=echo) as server:
        # It takes its answers slowly, so that the kill comes before it has them all, however busy the machine is.
        begun = [*command, server.base_url, str(tmp_path), "1.0"]
        process = subprocess.Popen(begun, env=env, stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + 30
        while moment not in server.calls and time.monotonic() < deadline:
            time.sleep(0.001)
        process.kill()
        process.wait()
        assert moment in server.calls
        repeated = [*command, server.base_url, str(tmp_path), "0.0"]
        again = subprocess.run(repeated, env=env, capture_output=True, text=True, timeout=60, check=True)
        assert again.stdout.splitlines()[-1] == "all 12"
        assert server.billed == {f"prompt {n}": 1 for n in range(12)}
    # A kill in the middle of a write may leave the unfinished file beside.
    assert list(tmp_path.glob("batch-*.json")) == []


def test_answers_not_yet_taken_are_there_for_the_next_run(tmp_path: Path) -> None:
    """A batch is struck off only as far as its answers have been taken."""

    async def first_four(engine: BatchEngine) -> None:
        answers = engine.complete(requests(10))
        for _ in range(4):
            await anext(answers)
        await answers.aclose()  # type: ignore[attr-defined]

    with BatchServer(text_of=echo) as server:
        asyncio.run(first_four(BatchEngine(table(server), tmp_path, POLL)))
        [path] = tmp_path.iterdir()
        assert len(json.loads(path.read_text())["custom_ids"]) == 7
        answers = complete_all(BatchEngine(table(server), tmp_path, POLL), requests(7, first=3))
        assert set(server.billed.values()) == {1}
    assert right(answers) == 7


def test_no_record_is_left_of_a_batch_read_to_its_end(tmp_path: Path) -> None:
    """What a killed process had stored is not asked for again, and yet is dealt with."""

    async def first(engine: BatchEngine) -> None:
        answers = engine.complete(requests(10))
        await anext(answers)
        await answers.aclose()  # type: ignore[attr-defined]

    async def rest(engine: BatchEngine) -> dict[str, Reply | Failure]:
        # In two rounds: what the second asks for must still be found.
        answers = {answer.id: answer async for answer in engine.complete(requests(3, first=4))}
        answers |= {answer.id: answer async for answer in engine.complete(requests(3, first=7))}
        await engine.close()
        return answers

    with BatchServer(text_of=echo) as server:
        asyncio.run(first(BatchEngine(table(server), tmp_path, POLL)))
        answers = asyncio.run(rest(BatchEngine(table(server), tmp_path, POLL)))
        assert set(server.billed.values()) == {1}
    assert right(answers) == 6
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_record_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "batch-0123456789abcdef.json").write_text('{"input_file_id": 7}')
    with BatchServer() as server, pytest.raises(PacosError, match="batch-0123456789abcdef"):
        BatchEngine(table(server), tmp_path)


def test_line_breaks_that_json_allows_do_not_break_a_record(tmp_path: Path) -> None:
    text = "one\u2028two\u0085three\x0cfour"
    with BatchServer(text_of=lambda prompt, seed: text) as server:
        answers = ask(server, 3, tmp_path)
    assert [answer.text for answer in answers.values() if isinstance(answer, Reply)] == [text] * 3


def test_a_call_of_a_batch_is_kept_without_the_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    asked = [Request("r", f"prompt with {KEY}", Sampling(max_tokens=100))]
    with BatchServer(text_of=echo) as server:
        reply = complete_all(BatchEngine(table(server, keep_raw=True), tmp_path, POLL), asked)["r"]
    assert isinstance(reply, Reply)
    assert reply.text == "You said: prompt with ***"
    assert reply.raw is not None
    sent, answer = (json.loads(text) for text in reply.raw)
    assert sent["messages"] == [{"role": "user", "content": "prompt with ***"}]
    assert answer["choices"][0]["message"]["content"] == reply.text


def test_a_file_whose_name_shows_the_key_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "file-123")
    with BatchServer(text_of=echo) as server:
        server.files = {f"file-{n}": "" for n in range(123)}
        assert right(ask(server, 2, tmp_path)) == 2
        assert [stored.input_file_id for stored in server.batches.values()] == ["file-124"]


@pytest.mark.parametrize("kind", ["builtin", "http", "batch"])
def test_after_a_stop_no_engine_takes_a_request(kind: str) -> None:
    stop, taken = Event(), []

    def counted() -> Iterator[Request]:
        for request in requests(5):
            taken.append(request.id)
            yield request

    async def go(server: BatchServer) -> list[Reply | Failure]:
        keys = EngineTable() if kind == "builtin" else replace(table(server), batch=kind == "batch")
        return [answer async for answer in open_engine(keys).complete(counted(), stop)]

    stop.set()
    with BatchServer(text_of=echo) as server:
        assert asyncio.run(go(server)) == taken == server.bodies == server.calls == []
