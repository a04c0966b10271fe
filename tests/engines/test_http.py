"""The http engine against a real server on a loopback socket: one answer a request, through faults too."""

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest

from pacos.core.errors import PacosError
from pacos.engines import Delta, Failure, Message, Reply, Request, Sampling
from pacos.engines.http import HttpEngine
from tests.engines.conftest import Clock
from tests.engines.door import KEY, ask, complete_all, echo, requests, table
from tests.servers.openai_server import (
    RETRIED,
    OpenAIServer,
    always,
    scripted_faults,
    seeded_faults,
)


@pytest.mark.parametrize("api", ["chat", "completions"])
def test_answers_every_request_once_on_both_endpoints(api: str) -> None:
    with OpenAIServer(text_of=echo) as server:
        answers = ask(server, 20, api=api, input_usd_per_mtok=1000.0, output_usd_per_mtok=2000.0)
    assert {key: answer.text for key, answer in answers.items()} == {
        f"r{n}": f"You said: prompt {n}" for n in range(20)
    }
    reply = answers["r3"]
    assert isinstance(reply, Reply)
    assert reply.finish_reason == "stop"
    assert reply.usage.completion_tokens == len(reply.text) // 4
    expected = (reply.usage.prompt_tokens * 1000 + reply.usage.completion_tokens * 2000) / 1e6
    assert reply.usd == pytest.approx(expected)


def test_a_header_in_any_letters_costs_no_reply() -> None:
    with OpenAIServer(text_of=echo, reply_headers=lambda number: {"X-Server": "Überall"}) as server:
        assert isinstance(ask(server)["r0"], Reply)


def test_a_chat_keeps_its_turns() -> None:
    turns = (Message("system", "Be brief."), Message("user", "Hello"))
    with OpenAIServer(text_of=echo) as server:
        complete_all(HttpEngine(table(server)), [Request("r", turns, Sampling(max_tokens=9, stop=("x",), seed=5))])
    body = server.bodies[0]
    assert body["messages"] == [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hello"}]
    assert (body["stop"], body["seed"], body["max_tokens"]) == (["x"], 5, 9)


@pytest.mark.parametrize("kind", RETRIED)
def test_outlives_one_fault_of_each_kind(kind: str, clock: Clock) -> None:
    with OpenAIServer(scripted_faults(kind), echo, stall_seconds=5) as server:
        answers = ask(server, 1, timeout_seconds=1.0)
        assert isinstance(answers["r0"], Reply)
        assert answers["r0"].attempts == 2
        assert server.faults_made == {kind: 1}
        waited = server.arrivals[1] - server.arrivals[0]
    if kind in ("429-seconds", "429-date"):
        assert 1.0 <= waited < 2.5


def test_every_request_is_answered_right_through_a_storm_of_faults() -> None:
    with OpenAIServer(seeded_faults(0.3, RETRIED), echo, stall_seconds=1, retry_after_seconds=0) as server:
        answers = ask(server, 60, timeout_seconds=0.7)
    assert {key: answer.text for key, answer in answers.items()} == {
        f"r{n}": f"You said: prompt {n}" for n in range(60)
    }
    assert len(server.faults_made) >= 5


def test_what_nobody_foresaw_costs_no_reply_beside_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten replies that come in one instant with an exception are handed over before it is raised."""
    started = 0
    together = asyncio.Event()
    attempt = HttpEngine._attempt

    async def all_at_once(engine: HttpEngine, job: Any, *more: Any) -> object:
        nonlocal started
        outcome = await attempt(engine, job, *more)
        started += 1
        if started == 11:
            together.set()
        await together.wait()
        if job.request.id == "r4":
            raise RuntimeError("unforeseen")
        return outcome

    monkeypatch.setattr(HttpEngine, "_attempt", all_at_once)
    answers: list[Reply | Failure] = []

    async def collect(engine: HttpEngine) -> None:
        async for answer in engine.complete(requests(11)):
            answers.append(answer)

    with OpenAIServer(text_of=echo) as server, pytest.raises(RuntimeError, match="unforeseen"):
        asyncio.run(collect(HttpEngine(table(server, concurrency=11))))
    assert {answer.id for answer in answers} == {f"r{n}" for n in range(11) if n != 4}


def test_requests_in_flight_stay_within_the_limit_and_are_taken_as_there_is_room() -> None:
    taken = 0

    def counted() -> Iterator[Request]:
        nonlocal taken
        for request in requests(30):
            taken += 1
            yield request

    async def first_answer(engine: HttpEngine) -> int:
        async for _ in engine.complete(counted()):
            return taken
        return 0

    with OpenAIServer(text_of=echo, latency_seconds=lambda n: 0.05) as server:
        ask(server, 20, concurrency=3)
        assert server.most_in_flight <= 3
        assert asyncio.run(first_answer(HttpEngine(table(server, concurrency=3)))) == 3


@pytest.mark.parametrize("usage", [{}, [], "none", {"cached_tokens": "9"}], ids=str)
def test_content_in_parts_and_strange_usage_are_read(usage: object) -> None:
    def rewrite(answer: dict) -> None:
        said = answer["choices"][0]["message"]["content"]
        parts = [{"type": "text", "text": said[:5]}, {"type": "image"}, {"type": "text", "text": said[5:]}]
        answer["choices"][0]["message"]["content"] = parts
        answer["usage"]["prompt_tokens_details"] = usage

    with OpenAIServer(text_of=echo, rewrite=rewrite) as server:
        answer = ask(server, input_usd_per_mtok=1.0)["r0"]
    assert isinstance(answer, Reply)
    assert answer.text == "You said: prompt 0"
    assert answer.usd == pytest.approx(answer.usage.prompt_tokens / 1e6)


@pytest.mark.parametrize("kind", ["length", "content_filter"])
def test_finish_reasons_come_through(kind: str) -> None:
    with OpenAIServer(scripted_faults(kind), echo) as server:
        answer = ask(server)["r0"]
    assert isinstance(answer, Reply)
    assert answer.finish_reason == kind


@pytest.mark.parametrize(
    "refused", [("temperature",), ("stop",), ("max_tokens",), ("temperature", "seed", "max_tokens")]
)
def test_models_that_refuse_a_parameter_are_asked_without_it(
    refused: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    sampling = {"stop": ("prompt",), "seed": 1}
    with OpenAIServer(text_of=echo, refused_parameters=refused) as server:
        answers = complete_all(HttpEngine(table(server, concurrency=1)), requests(3, **sampling))
    shaping = tuple(name for name in refused if name in ("temperature", "seed"))
    assert {answer.left_out for answer in answers.values() if isinstance(answer, Reply)} == {shaping}
    assert [answer.attempts for answer in answers.values()] == [1 + len(refused), 1, 1]
    said = capsys.readouterr().err.splitlines()
    assert [line.rpartition("does not take ")[2] for line in said] == [f"{name}; asking without it" for name in shaping]
    # The text ends at the stop string whether or not the server knows the parameter.
    assert {answer.text for answer in answers.values() if isinstance(answer, Reply)} == {"You said: "}
    assert len(answers) == 3
    assert len(server.bodies) == 3 + len(refused)
    with OpenAIServer(text_of=echo, refused_parameters=refused) as at_once:
        answers = complete_all(HttpEngine(table(at_once)), requests(8, **sampling))
    assert all(isinstance(answer, Reply) for answer in answers.values())
    if "max_tokens" in refused:
        assert server.bodies[-1]["max_completion_tokens"] == 100


@pytest.mark.parametrize("api", ["chat", "completions"])
def test_streams_the_same_text_piece_by_piece(api: str) -> None:
    async def collect(engine: HttpEngine) -> list[Delta]:
        request = Request("r", "a long question", Sampling(max_tokens=100))
        return [delta async for delta in engine.stream(request)]

    with OpenAIServer(text_of=echo) as server:
        deltas = asyncio.run(collect(HttpEngine(table(server, api=api))))
    assert len(deltas) > 3
    assert deltas[-1].reply is not None
    assert "".join(delta.text for delta in deltas) == deltas[-1].reply.text == "You said: a long question"
    assert deltas[-1].reply.usage.completion_tokens > 0


def test_what_is_not_the_default_is_sent_and_what_is_not_taken_is_told() -> None:
    asked = {"top_k": 40, "min_p": 0.05, "repetition_penalty": 1.1, "presence_penalty": 0.5, "frequency_penalty": -0.5}
    sampling = Sampling(20, **asked, logit_bias=((3, 1.5), (7, -100.0)))
    with OpenAIServer(text_of=echo, refused_parameters=("min_p", "logit_bias")) as server:
        http = HttpEngine(table(server))
        answers = complete_all(http, [Request("r", "x", sampling), Request("plain", "x", Sampling(20))])
    sent = next(body for body in server.bodies if "logit_bias" in body and "min_p" not in body)
    assert sent["logit_bias"] == {"3": 1.5, "7": -100.0}
    assert set(answers["r"].left_out) == {"min_p", "logit_bias"}
    assert answers["plain"].left_out == ()
    assert {frozenset(body) for body in server.bodies if "top_k" not in body} == {
        frozenset({"model", "messages", "max_tokens", "temperature", "top_p"})
    }
    taken = next(body for body in server.bodies if "top_k" in body and not body.keys() & {"min_p", "logit_bias"})
    assert taken.items() >= {name: value for name, value in asked.items() if name != "min_p"}.items()


def test_a_prompt_of_token_ids_goes_out_as_such() -> None:
    request = Request("r", "as text", Sampling(20), prompt_ids=(5, 6, 7))
    with OpenAIServer(text_of=lambda prompt, seed: str(prompt)) as server:
        assert complete_all(HttpEngine(table(server, api="completions")), [request])["r"].text == "[5, 6, 7]"
        assert complete_all(HttpEngine(table(server)), [request])["r"].text == "as text"


@pytest.mark.parametrize("asked", [{"echo": True}, {"logits_hook": lambda ids, logits: logits}])
def test_what_no_server_is_asked_for_is_refused_by_name(asked: dict) -> None:
    with OpenAIServer(text_of=echo) as server:
        answers = complete_all(
            HttpEngine(table(server)), [Request("r", "x", Sampling(20), **asked), Request("good", "x", Sampling(20))]
        )
    assert (answers["r"].kind, answers["r"].fatal) == ("bad_request", False)
    assert next(iter(asked)) in answers["r"].message
    assert answers["good"].text
    assert len(server.bodies) == 1


def test_a_failing_stream_is_one_line() -> None:
    async def collect(engine: HttpEngine) -> None:
        async for _ in engine.stream(Request("r", "x", Sampling(max_tokens=10))):
            pass

    with OpenAIServer(always("quota"), echo) as server, pytest.raises(PacosError, match="no quota"):
        asyncio.run(collect(HttpEngine(table(server))))


def test_leaving_early_cancels_what_is_in_flight() -> None:
    async def one(engine: HttpEngine) -> None:
        answers = engine.complete(requests(50))
        async for _ in answers:
            break
        await answers.aclose()  # type: ignore[attr-defined]

    with OpenAIServer(text_of=echo, latency_seconds=lambda n: 0.0 if n == 0 else 20.0) as server:
        asyncio.run(one(HttpEngine(table(server))))
        # It did not wait for those that the server is still at work on.
        assert server.in_flight > 0
        assert len(server.bodies) <= 16


@pytest.mark.parametrize(("key", "api"), [(KEY, "chat"), (KEY, "completions"), ("sk-12345sk-", "chat")])
def test_no_piece_of_a_stream_shows_a_key(key: str, api: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", key)

    async def collect(engine: HttpEngine) -> list[Delta]:
        return [delta async for delta in engine.stream(Request("r", "x", Sampling(max_tokens=100)))]

    # The server sends seven characters at a time, so that the key is cut everywhere.
    for pad in range(7):
        text = f"{'.' * pad} s sk-x {key} sk-. {key}{key}sk-1. A text goes on. {key} sk-"
        with OpenAIServer(text_of=lambda prompt, seed, text=text: text) as server:
            deltas = asyncio.run(collect(HttpEngine(table(server, api=api))))
        assert deltas[-1].reply is not None
        shown = "".join(delta.text for delta in deltas)
        assert shown == deltas[-1].reply.text == text.replace(key, "***")
        # What can be no key is not held back.
        assert len(deltas) > 6


@pytest.mark.parametrize("api", ["chat", "completions"])
def test_a_call_is_kept_as_it_was_sent_and_answered_where_the_table_asks(
    api: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    asked = [Request("r", f"prompt with {KEY}", Sampling(max_tokens=100, stop=(KEY,)))]
    with OpenAIServer(text_of=echo, rewrite=lambda answer: answer.update(note=[KEY])) as server:
        reply = complete_all(HttpEngine(table(server, api=api, keep_raw=True)), asked)["r"]
        assert isinstance(ask(server)["r0"], Reply)
        assert ask(server)["r0"].raw is None  # type: ignore[union-attr]
    assert isinstance(reply, Reply)
    assert reply.raw is not None
    assert KEY not in "".join(reply.raw)
    sent, answer = (json.loads(text) for text in reply.raw)
    assert sent == json.loads(json.dumps(server.bodies[0]).replace(KEY, "***"))
    assert answer["note"] == ["***"]
    assert answer["usage"]["completion_tokens"] == reply.usage.completion_tokens
