"""Servers that cannot be what the recipe says: wrong key, model or address; each is one line, without the key."""

import asyncio
import base64
import contextlib
import html
import json
import logging
import socket
import threading
from collections.abc import Callable
from urllib.parse import quote

import pytest

from pacos.core.errors import PacosError
from pacos.core.recipe import EngineTable
from pacos.engines import Failure, Reply, Request, Sampling
from pacos.engines.http import HttpEngine, http_engine
from tests.engines.door import KEY, PRICED, ask, complete_all, echo, requests, table
from tests.servers.openai_server import OpenAIServer, always, scripted_faults


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
    assert failure.attempts == len(server.bodies) == (3 if kind == "server" or fault == "html-404" else 1)
    assert "\n" not in failure.message
    assert server.base_url in failure.message


@pytest.mark.parametrize("fault", ["endless", "endless-500", "bomb"])
@pytest.mark.parametrize("num_good", [0, 3], ids=["from the start", "later"])
def test_an_answer_without_end_is_not_read_to_the_end(
    fault: str, num_good: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_engine, "ATTEMPTS", 3)
    with OpenAIServer(lambda n: None if n < num_good else fault, echo) as server:
        keys = table(server, concurrency=1, max_usd=900.0, **PRICED)
        answers = complete_all(HttpEngine(keys), requests(num_good + 1))
    failure = answers.pop(f"r{num_good}")
    assert isinstance(failure, Failure)
    assert failure.kind == "server"
    assert "its answer is longer than 16 MiB" in failure.message
    assert "\n" not in failure.message
    # It was written all the same.
    assert failure.unseen_usd > 0
    assert all(isinstance(answer, Reply) for answer in answers.values())


def test_an_answer_that_comes_in_drops_is_not_waited_for_without_end() -> None:
    with OpenAIServer(scripted_faults("drip", "drip"), echo) as server:
        answers = ask(server, 3, timeout_seconds=0.5, concurrency=1)
        assert server.faults_made == {"drip": 2}
    assert all(isinstance(answer, Reply) for answer in answers.values())


@pytest.mark.parametrize("fault", ["endless", "endless-500", "bomb"])
def test_a_stream_without_end_is_one_line(fault: str) -> None:
    async def collect(http: HttpEngine) -> None:
        async for _ in http.stream(Request("r", "x", Sampling(max_tokens=10))):
            pass

    with OpenAIServer(always(fault), echo) as server, pytest.raises(PacosError, match="longer than 16 MiB"):
        asyncio.run(collect(HttpEngine(table(server))))


def test_one_bad_request_is_no_reason_to_stop() -> None:
    with OpenAIServer(scripted_faults("400"), echo) as server:
        answers = ask(server, 3, concurrency=1)
    assert isinstance(answers["r0"], Failure)
    assert (answers["r0"].kind, answers["r0"].fatal) == ("context_length", False)
    assert isinstance(answers["r1"], Reply)
    assert len(server.bodies) == 3


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


@pytest.mark.parametrize(
    "base_url",
    [
        *("", "localhost:8000", "https://teacher.example/v1", "http://[::1/v1", "http://host:port/v1", "http://"),
        *("http://127.0.0.1:1/v1\n", "http://127.0.0.1:1/\x07"),
    ],
)
def test_no_address_or_no_key_is_one_line(base_url: str) -> None:
    with pytest.raises(PacosError) as caught:
        HttpEngine(EngineTable(engine="http", base_url=base_url))
    assert "\n" not in str(caught.value)


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


# Each of its characters that some way of writing changes.
ODD_KEY = "sk-o\"d\\d/k'e&y%+0123456789"
WRITTEN: dict[str, Callable[[str], str]] = {
    "plain": str,
    "JSON": lambda key: json.dumps(key)[1:-1],
    "JSON with slashes": lambda key: json.dumps(key)[1:-1].replace("/", "\\/"),
    "query": lambda key: quote(key, safe=""),
    "path": quote,
    "repr": lambda key: repr(key)[1:-1],
    "HTML": html.escape,
    "basic": lambda key: base64.b64encode(f"user:{KEY}".encode()).decode(),
}


@pytest.mark.parametrize("form", WRITTEN)
def test_no_limit_on_length_leaves_half_a_key(form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error's line is cut, and the key stands wherever the cut may be: whole, it would be known; half, no more."""
    monkeypatch.setenv("OPENAI_API_KEY", ODD_KEY)
    written = WRITTEN[form](ODD_KEY)
    with OpenAIServer(lambda n: f"400 {'x' * (120 + n)}{written}", echo) as server:
        keys = EngineTable(engine="http", base_url=server.base_url.replace("//", f"//user:{KEY}@"), model="small")
        failures = complete_all(HttpEngine(keys), requests(100)).values()
    assert len(failures) == 100
    assert any("***" in failure.message for failure in failures if isinstance(failure, Failure))
    # The longest line was cut before the key.
    assert any(failure.message.count("x") > 190 for failure in failures if isinstance(failure, Failure))
    assert [failure for failure in failures if written[:4] in repr(failure)] == []


@pytest.mark.parametrize("form", WRITTEN)
def test_no_reply_shows_a_key(form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", ODD_KEY)
    written = WRITTEN[form](ODD_KEY)

    def rewrite(answer: dict) -> None:
        said = answer["choices"][0]["message"]["content"]
        answer["choices"][0]["message"]["content"] = [{"text": said[:15]}, {"text": said[15:]}]

    # A stop string must not cut the key either.
    asked = [Request("r", f"{written} and on", Sampling(max_tokens=100, stop=(written[5:8],)))]
    for more in ({}, {"rewrite": rewrite}):
        with OpenAIServer(text_of=echo, refused_parameters=("stop",), **more) as server:  # type: ignore[arg-type]
            keys = EngineTable(engine="http", base_url=server.base_url.replace("//", f"//user:{KEY}@"), model="small")
            reply = complete_all(HttpEngine(keys), asked)["r"]
        assert isinstance(reply, Reply)
        assert reply.text == "You said: *** and on"


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


def test_a_right_key_from_the_named_variable_is_accepted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_KEY", KEY)
    with OpenAIServer(key=KEY, text_of=echo) as server:
        assert isinstance(ask(server, api_key_env="MY_KEY")["r0"], Reply)


@pytest.mark.parametrize("key", ["sk-a b", "sk-a\nb", "sk-\u00e4"])
def test_a_key_that_can_be_none_is_refused_without_showing_it(key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", key)
    with pytest.raises(PacosError) as caught:
        HttpEngine(EngineTable(engine="http", base_url="http://127.0.0.1:1/v1"))
    assert "sk-" not in str(caught.value)
