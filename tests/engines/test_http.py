"""The http engine against a real server on a loopback socket, which fails as real ones do."""

import asyncio
import base64
import contextlib
import logging
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from pacos.core.errors import PacosError
from pacos.core.recipe import EngineTable
from pacos.engines import Delta, Failure, Message, Reply, Request, Sampling, complete_all
from pacos.engines.http import HttpEngine
from pacos.engines.prices import Prices
from tests.servers.openai_server import RETRIED, OpenAIServer, always, scripted_faults, seeded_faults

KEY = "sk-secret-0123456789"


@pytest.fixture(autouse=True)
def no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)


def echo(prompt: str, seed: int | None) -> str:
    return f"You said: {prompt}"


def table(server: OpenAIServer, **keys: object) -> EngineTable:
    return EngineTable(engine="http", base_url=server.base_url, model="small", **keys)  # type: ignore[arg-type]


def requests(count: int, **sampling: object) -> Iterator[Request]:
    for number in range(count):
        yield Request(f"r{number}", f"prompt {number}", Sampling(max_tokens=100, **sampling))  # type: ignore[arg-type]


def ask(
    server: OpenAIServer, count: int = 1, timeout_seconds: float = 5.0, **keys: object
) -> dict[str, Reply | Failure]:
    return complete_all(HttpEngine(table(server, **keys), timeout_seconds), requests(count))


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


def test_a_chat_keeps_its_turns() -> None:
    turns = (Message("system", "Be brief."), Message("user", "Hello"))
    with OpenAIServer(text_of=echo) as server:
        complete_all(HttpEngine(table(server)), [Request("r", turns, Sampling(max_tokens=9, stop=("x",), seed=5))])
    body = server.bodies[0]
    assert body["messages"] == [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hello"}]
    assert (body["stop"], body["seed"], body["max_tokens"]) == (["x"], 5, 9)


@pytest.mark.parametrize("kind", RETRIED)
def test_outlives_one_fault_of_each_kind(kind: str) -> None:
    with OpenAIServer(scripted_faults(kind), echo, stall_seconds=5) as server:
        answers = ask(server, 1, timeout_seconds=1.0)
        assert isinstance(answers["r0"], Reply)
        assert server.faults_made == {kind: 1}
        waited = server.arrivals[1] - server.arrivals[0]
    if kind in ("429-seconds", "429-date"):
        assert 1.0 <= waited < 4.0


@pytest.mark.parametrize("kind", ["429-bill", "429-bill-typed"])
def test_a_limit_that_speaks_of_bills_is_waited_for(kind: str) -> None:
    with OpenAIServer(scripted_faults(kind), echo, retry_after_seconds=0) as server:
        answers = ask(server)
    assert isinstance(answers["r0"], Reply)


def test_what_nobody_foresaw_costs_no_reply_beside_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten replies that come in one instant with an exception are handed over before it is raised."""
    started = 0
    together = asyncio.Event()
    attempt = HttpEngine._attempt

    async def all_at_once(engine: HttpEngine, request: Request, stopped: Callable[[], bool]) -> object:
        nonlocal started
        outcome = await attempt(engine, request, stopped)
        started += 1
        if started == 11:
            together.set()
        await together.wait()
        if request.id == "r4":
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


def test_a_wait_that_the_server_asks_for_holds_for_all_requests() -> None:
    # The third request is refused while others are on their way; nothing new may arrive before the second is over.
    with OpenAIServer(lambda n: "429-seconds" if n == 2 else None, echo) as server:
        answers = ask(server, 12, concurrency=2)
    assert all(isinstance(answer, Reply) for answer in answers.values())
    refused = server.arrivals[2]
    assert all(arrival - refused < 0.5 or arrival - refused >= 1.0 for arrival in server.arrivals[3:])


def test_every_request_is_answered_right_through_a_storm_of_faults() -> None:
    with OpenAIServer(seeded_faults(0.3, RETRIED), echo, stall_seconds=1, retry_after_seconds=0) as server:
        answers = ask(server, 60, timeout_seconds=0.7)
    assert {key: answer.text for key, answer in answers.items()} == {
        f"r{n}": f"You said: prompt {n}" for n in range(60)
    }
    assert len(server.faults_made) >= 5


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


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        ("quota", "quota"),
        ("402", "quota"),
        ("404", "bad_request"),
        ("html-404", "bad_request"),
        ("html", "server"),
        ("no-choices", "server"),
        ("json-list", "server"),
        ("json-text", "server"),
        ("text", "server"),
        ("empty", "server"),
    ],
)
def test_hopeless_answers_are_fatal_and_said_in_one_line(fault: str, kind: str) -> None:
    with OpenAIServer(always(fault), echo) as server:
        failure = ask(server)["r0"]
    assert isinstance(failure, Failure)
    assert (failure.kind, failure.fatal) == (kind, True)
    assert "\n" not in failure.message
    assert server.base_url in failure.message


def test_one_bad_request_is_no_reason_to_stop() -> None:
    with OpenAIServer(scripted_faults("400"), echo) as server:
        answers = ask(server, 3, concurrency=1)
    assert isinstance(answers["r0"], Failure)
    assert (answers["r0"].kind, answers["r0"].fatal) == ("bad_request", False)
    assert isinstance(answers["r1"], Reply)
    assert len(server.bodies) == 3


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


@pytest.mark.parametrize("content", [[{"type": "image"}], {"text": "x"}, 7], ids=str)
def test_content_without_text_is_a_failure(content: object) -> None:
    def rewrite(answer: dict) -> None:
        answer["choices"][0]["message"]["content"] = content

    with OpenAIServer(text_of=echo, rewrite=rewrite) as server:
        failure = ask(server)["r0"]
    assert isinstance(failure, Failure)
    assert (failure.kind, failure.fatal) == ("server", True)
    assert "no text in its content" in failure.message


def test_a_server_that_is_not_there_is_given_up_soon() -> None:
    with OpenAIServer() as server:
        gone = table(server)
    failure = complete_all(HttpEngine(gone), requests(1))["r0"]
    assert isinstance(failure, Failure)
    assert (failure.kind, failure.fatal) == ("connection", True)


def test_a_wrong_key_is_fatal_and_never_shown(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    with OpenAIServer(key="another", text_of=echo) as server, caplog.at_level(logging.DEBUG):
        failure = ask(server)["r0"]
        # The server did get it, and repeats it in its error as some do.
        assert server.headers[0]["authorization"] == f"Bearer {KEY}"
    assert isinstance(failure, Failure)
    assert (failure.kind, failure.fatal) == ("auth", True)
    assert KEY not in repr(failure) + caplog.text
    assert "OPENAI_API_KEY" in failure.message


@pytest.mark.parametrize(
    "address",
    [
        "http://user:{key}@127.0.0.1:{port}/v1",
        "http://127.0.0.1:{port}/v1?api-key={key}",
        "http://127.0.0.1:{port}/{key}/v1",
    ],
)
@pytest.mark.parametrize("fault", ["echo-key", "html-404", "503", "text"])
def test_no_answer_of_a_server_shows_a_key(address: str, fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    with OpenAIServer(always(fault), echo) as server:
        base_url = address.format(key=KEY, port=server.port)
        engine = HttpEngine(EngineTable(engine="http", base_url=base_url, model="small"), 5.0)
        failure = complete_all(engine, requests(1))["r0"]
    assert isinstance(failure, Failure)
    for form in (KEY, KEY[:12], base64.b64encode(f"user:{KEY}".encode()).decode()):
        assert form not in failure.message + engine.name
    assert "\n" not in failure.message


def test_no_key_where_one_is_wanted_is_said_so() -> None:
    with OpenAIServer(key="another", text_of=echo) as server:
        failure = ask(server)["r0"]
    assert isinstance(failure, Failure)
    assert (failure.kind, failure.fatal) == ("auth", True)
    assert "OPENAI_API_KEY" in failure.message


def test_a_placeholder_for_a_key_is_left_in_replies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "prompt")
    with OpenAIServer(text_of=echo) as server:
        answer = ask(server)["r0"]
    assert isinstance(answer, Reply)
    assert answer.text == "You said: prompt 0"


def test_a_port_that_speaks_no_http_is_one_fatal_line() -> None:
    def greet(listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listener.accept()
                connection.sendall(b"SSH-2.0-OpenSSH_9.6\r\n")
                connection.close()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=greet, args=(listener,), daemon=True).start()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
        for keys in ({}, {"max_usd": 1.0, "input_usd_per_mtok": 1.0, "concurrency": 2}):
            table = EngineTable(engine="http", base_url=url, model="small", **keys)  # type: ignore[arg-type]
            answers = complete_all(HttpEngine(table), requests(5))
            failures = [answer for answer in answers.values() if isinstance(answer, Failure)]
            assert len(failures) == 5
            assert any(failure.fatal for failure in failures)
            assert {failure.kind for failure in failures} == {"connection"}
            assert all("\n" not in failure.message for failure in failures)
        listener.shutdown(socket.SHUT_RDWR)


def test_a_right_key_from_the_named_variable_is_accepted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_KEY", KEY)
    with OpenAIServer(key=KEY, text_of=echo) as server:
        assert isinstance(ask(server, api_key_env="MY_KEY")["r0"], Reply)


@pytest.mark.parametrize(
    "base_url", ["", "localhost:8000", "https://teacher.example/v1", "http://[::1/v1", "http://host:port/v1", "http://"]
)
def test_no_address_or_no_key_is_one_line(base_url: str) -> None:
    with pytest.raises(PacosError) as caught:
        HttpEngine(EngineTable(engine="http", base_url=base_url))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", ["length", "content_filter"])
def test_finish_reasons_come_through(kind: str) -> None:
    with OpenAIServer(scripted_faults(kind), echo) as server:
        answer = ask(server)["r0"]
    assert isinstance(answer, Reply)
    assert answer.finish_reason == kind


@pytest.mark.parametrize(
    "refused", [("temperature",), ("stop",), ("max_tokens",), ("temperature", "seed", "max_tokens")]
)
def test_models_that_refuse_a_parameter_are_asked_without_it(refused: tuple[str, ...]) -> None:
    sampling = {"stop": ("prompt",), "seed": 1}
    with OpenAIServer(text_of=echo, refused_parameters=refused) as server:
        answers = complete_all(HttpEngine(table(server, concurrency=1)), requests(3, **sampling))
    # The text ends at the stop string whether or not the server knows the parameter.
    assert {answer.text for answer in answers.values() if isinstance(answer, Reply)} == {"You said: "}
    assert len(answers) == 3
    assert len(server.bodies) == 3 + len(refused)
    with OpenAIServer(text_of=echo, refused_parameters=refused) as at_once:
        answers = complete_all(HttpEngine(table(at_once)), requests(8, **sampling))
    assert all(isinstance(answer, Reply) for answer in answers.values())
    if "max_tokens" in refused:
        assert server.bodies[-1]["max_completion_tokens"] == 100


@pytest.mark.parametrize("key", ["sk-a b", "sk-a\nb", "sk-\u00e4"])
def test_a_key_that_can_be_none_is_refused_without_showing_it(key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", key)
    with pytest.raises(PacosError) as caught:
        HttpEngine(EngineTable(engine="http", base_url="http://127.0.0.1:1/v1"))
    assert "sk-" not in str(caught.value)


@pytest.mark.parametrize(("cached", "usd"), [(None, 100e-6), (0.25, (40 + 60 * 0.25) * 1e-6)])
def test_tokens_read_before_have_their_own_price(cached: float | None, usd: float) -> None:
    def rewrite(answer: dict) -> None:
        details = {"cached_tokens": 60}
        answer["usage"] = {"prompt_tokens": 100, "completion_tokens": 0, "prompt_tokens_details": details}

    with OpenAIServer(text_of=echo, rewrite=rewrite) as server:
        answer = ask(server, input_usd_per_mtok=1.0, cached_input_usd_per_mtok=cached)["r0"]
    assert isinstance(answer, Reply)
    assert answer.usd == pytest.approx(usd)


def test_published_prices_know_tokens_read_before_and_batches() -> None:
    table = EngineTable(engine="http", base_url="https://api.openai.com/v1", model="gpt-4o-mini")
    full, cached = Prices(table).usd(10_000, 0), Prices(table).usd(10_000, 0, 10_000)
    assert 0 < cached < full
    assert Prices(table).usd(10_000, 0, 20_000) == cached
    assert Prices(replace(table, batch=True)).usd(10_000, 0) == pytest.approx(full / 2)


def test_a_price_for_some_tokens_only_is_refused() -> None:
    with pytest.raises(PacosError, match="input_usd_per_mtok is unset"):
        Prices(EngineTable(engine="http", base_url="http://127.0.0.1:1/v1", cached_input_usd_per_mtok=1.0))


def test_money_is_counted_without_usage_too() -> None:
    with OpenAIServer(text_of=echo, usage=False) as server:
        answer = ask(server, input_usd_per_mtok=1.0, output_usd_per_mtok=1.0)["r0"]
    assert isinstance(answer, Reply)
    assert answer.usd > 0


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
        start = time.monotonic()
        asyncio.run(one(HttpEngine(table(server))))
        assert time.monotonic() - start < 10
        assert len(server.bodies) <= 16
