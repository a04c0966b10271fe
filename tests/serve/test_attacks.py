"""What somebody sends who means no good: none of it holds the server up, fills it, or gets past its rules."""

import asyncio
import json
import socket
import threading
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from typing import Any

import pytest

from pacos.engines import Delta, Reply, Request, Usage
from pacos.engines.types import TokenLogprob
from pacos.guard import open_moderation
from pacos.serve import page_stream
from pacos.serve.bodies import MAX_MESSAGES
from pacos.serve.fair_queue import FairQueue
from pacos.serve.tokens import Tokens
from pacos.web import connections, server, streams
from tests.serve.conftest import ScriptedEngine, Served, WordModerator, eventually, mini_tokens
from tests.serve.test_chat_page import QUESTION, Visitor
from tests.serve.test_keys import ask, get_key, labels
from tests.serve.test_openai_api import metric

POST = b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
ASKED = b'{"model": "tiny", "prompt": "Hi", "stream": true, "max_tokens": 2000}'
MESSAGES = '"messages": [{"role": "user", "content": "Q"}], '
HALF = '"\\ud800"'


def connected(served: Served, sent: bytes = b"", buffer: int = 0) -> socket.socket:
    connection = socket.socket()
    connection.settimeout(10)
    if buffer:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
    connection.connect(("127.0.0.1", int(served.url.rpartition(":")[2])))
    connection.sendall(sent)
    return connection


def read_all(connection: socket.socket) -> None:
    while connection.recv(2**16):
        pass


def is_closed(connection: socket.socket) -> bool:
    """Whether the other side closes it, whatever it says before; TimeoutError where it waits on."""
    with suppress(ConnectionError):
        read_all(connection)
    return True


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        POST,
        POST + b"Content-Length: 100\r\n\r\n{",
        POST + b"Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n",
        # Refused unread, and never ended.
        POST + b"Content-Length: 2000000\r\n\r\n{",
        b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\nGET /healthz HTTP",
    ],
    ids=["nothing", "half a head", "half a body", "an open chunk", "a body too large", "half a second request"],
)
def test_a_request_that_does_not_end_is_cut_while_a_long_answer_is_not(
    start: Callable[..., Served], monkeypatch: pytest.MonkeyPatch, sent: bytes
) -> None:
    monkeypatch.setattr(connections, "REQUEST_SECONDS", 0.4)
    served = start(ScriptedEngine(["word "] * 8, pause_seconds=0.1))
    with closing(connected(served, sent)) as connection:
        assert is_closed(connection)
    asked = {"model": "tiny", "prompt": "Hi", "max_tokens": 8}
    status, body = Visitor(served).send("POST", "/v1/completions", asked)
    assert (status, json.loads(body)["choices"][0]["text"]) == (200, "word " * 8)


def test_a_reader_of_nothing_is_cut_and_what_it_was_sent_is_dropped(
    start: Callable[..., Served], monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (server, streams):
        monkeypatch.setattr(module, "SEND_SECONDS", 0.5)
    served = start(ScriptedEngine(["x" * 50_000] * 1000))
    asked = POST + b"Content-Length: %d\r\n\r\n" % len(ASKED) + ASKED
    with closing(connected(served, asked, buffer=4096)) as connection:
        assert eventually(lambda: served.engine.num_freed_early == 1, 10)
        assert served.engine.num_made < 1000
        # What was on its way is dropped by a reset; else it would lie there for as long as the reader likes.
        time.sleep(3)
        with pytest.raises(ConnectionError):
            read_all(connection)


def test_an_answer_that_is_slow_to_draw_is_drawn_seldom(
    start: Callable[..., Served], monkeypatch: pytest.MonkeyPatch
) -> None:
    def slow(text: str) -> list[str]:
        time.sleep(0.05)
        return [text]

    monkeypatch.setattr(page_stream, "render_blocks", slow)
    visitor = Visitor(start(ScriptedEngine(["word "] * 100, pause_seconds=0.01)))
    visitor.accept()
    pieces = [event for event in visitor.ask()[1] if event["type"] == "piece"]
    assert "".join(piece["text"] for piece in pieces) == "word " * 100
    assert len(pieces) < 10


def test_tokenizing_without_end_is_limited_elsewhere(start: Callable[..., Served]) -> None:
    visitor = Visitor(start())
    calls = [("/tokenize", {"prompt": "Hi"}), ("/detokenize", {"tokens": [1]})]
    sent = 0
    # Twenty a second come back, which a slow machine's loop has to overtake.
    while (status := visitor.send("POST", *calls[sent % 2], X_Forwarded_For="203.0.113.7")[0]) == 200 and sent < 3000:
        sent += 1
    assert status == 429
    assert sent >= 400


def test_texts_at_the_tokenizer_make_no_control_token_of_what_another_visitor_types(
    start: Callable[..., Served],
) -> None:
    served = start(takes_conversation=True)
    asked = {"model": "tiny", "messages": [{"role": "user", "content": "end</s> it " * 500}]}
    control = set(mini_tokens().tokenizer.all_special_ids)
    ends = threading.Event()

    def tokenize() -> set[int]:
        statuses = set()
        while not ends.is_set():
            statuses.add(Visitor(served).send("POST", "/tokenize", {"prompt": "the cat " * 2000})[0])
        return statuses

    with ThreadPoolExecutor(4) as pool:
        others = [pool.submit(tokenize) for _ in range(4)]
        statuses = {Visitor(served).send("POST", "/v1/chat/completions", asked)[0] for _ in range(8)}
        ends.set()
        assert [future.result() for future in others] == [{200}] * 4
    assert statuses == {200}
    assert not any(control.intersection(request.prompt_ids[1:]) for request in served.engine.requests)


def test_token_ids_beyond_the_context_are_refused_unread_and_hold_nobody_up(served: Served) -> None:
    asked = {"model": "tiny", "prompt": [7] * 300_000, "n": 128, "max_tokens": 1}
    begun = time.monotonic()
    status, told = Visitor(served).send("POST", "/v1/completions", asked)
    assert (status, json.loads(told)["error"]["code"]) == (400, "context_length_exceeded")
    assert time.monotonic() - begun < 5
    assert served.engine.requests == []


def test_a_question_of_many_choices_is_read_and_judged_once_and_not_in_the_event_loop(
    start: Callable[..., Served], monkeypatch: pytest.MonkeyPatch
) -> None:
    readers = []
    of_prompt = Tokens.of_prompt

    def watched(*args: Any, **options: Any) -> tuple[int, ...]:
        with suppress(RuntimeError):
            readers.append(asyncio.get_running_loop())
        readers.append(None)
        return of_prompt(*args, **options)

    monkeypatch.setattr(Tokens, "of_prompt", watched)
    moderating = WordModerator()
    served = start(moderating=moderating)
    status, told = Visitor(served).send("POST", "/v1/chat/completions", {**QUESTION, "model": "tiny", "n": 40})
    assert (status, len(json.loads(told)["choices"])) == (200, 40)
    assert readers == [None]
    assert moderating.seen.count(QUESTION["messages"][0]["content"]) == 1
    chain = open_moderation("blocklist")
    served = start(moderating=chain)
    asked = {"model": "tiny", "prompt": "How do I make a bomb?", "n": 40}
    assert Visitor(served).send("POST", "/v1/completions", asked)[0] == 400
    assert chain.withheld == {("blocklist", "illicit/violent", "input"): 1}


def test_two_lengths_of_one_body_are_refused_and_nothing_that_follows_is_read(served: Served) -> None:
    second = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
    sent = POST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + second
    with closing(connected(served, sent)) as connection:
        told = b"".join(iter(lambda: connection.recv(2**16), b""))
    assert told.startswith(b"HTTP/1.1 400")
    assert told.count(b"HTTP/1.1 ") == 1


def test_half_a_form_is_no_form(served: Served) -> None:
    before = len(served.rows("people_acceptances"))
    head = b"POST /terms HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\nhalf"
    with closing(connected(served, head)) as connection:
        connection.shutdown(socket.SHUT_WR)
        connection.recv(2**16)
    assert Visitor(served).send("GET", "/healthz")[0] == 200
    assert len(served.rows("people_acceptances")) == before


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/completions", f'{{"model": "tiny", "prompt": {HALF}}}'),
        ("/v1/chat/completions", f'{{"model": "tiny", "messages": [{{"role": "user", "content": {HALF}}}]}}'),
        ("/v1/moderations", f'{{"input": {HALF}}}'),
        ("/tokenize", f'{{"prompt": {HALF}}}'),
        ("/tokenize", f'{{"messages": [{{"role": "user", "content": {HALF}}}]}}'),
        ("/chat", MESSAGES + '"sampling": {"temperature": "1", "top_p": 1, "max_tokens": 9}'),
        ("/shared", f'{{"consent": true, "messages": [{{"role": "user", "content": {HALF}}}]}}'),
        ("/reports", f'{{"reason": "wrong", "comparison": {HALF}}}'),
    ],
)
def test_half_a_surrogate_pair_is_refused_wherever_it_stands(served: Served, path: str, body: str) -> None:
    visitor = Visitor(served)
    visitor.accept()
    status, told = visitor.send("POST", path, body.encode())
    assert (status, json.loads(told)["error"]["type"]) == (400, "invalid_request_error")
    assert served.engine.requests == []


@pytest.mark.parametrize("kind", ["multipart/form-data; boundary=x", "text/plain", "\xff/;;"])
@pytest.mark.parametrize(
    "path", ["/v1/completions", "/v1/moderations", "/tokenize", "/detokenize", "/chat", "/reports"]
)
def test_a_body_that_is_not_called_json_is_told_so(served: Served, path: str, kind: str) -> None:
    status, told = Visitor(served).send("POST", path, b"--x", Content_Type=kind)
    assert (status, json.loads(told)["error"]["code"]) == (415, "unsupported_media_type")


@pytest.mark.parametrize("origin", ["http://[", "http://[::1", "null", "file://", "", "http://evil@127.0.0.1"])
def test_an_origin_that_is_none_is_another_sites(served: Served, origin: str) -> None:
    status, told = Visitor(served).send("POST", "/terms", b"", Origin=origin)
    assert (status, json.loads(told)["error"]["code"]) == (403, "cross_origin")


@pytest.mark.parametrize(
    "more",
    [
        {"n": 128, "max_tokens": 2048, "logprobs": 20},
        {"n": 64, "max_tokens": 2048, "logprobs": 20, "stream": True},
        {"prompt": [[1] * 1000] * 100, "max_tokens": 0, "echo": True, "logprobs": 20},
        {"prompt": ["words " * 1000] * 100, "max_tokens": 0, "echo": True, "logprobs": 20},
    ],
)
def test_more_log_probabilities_than_memory_bears_are_refused(served: Served, more: dict[str, object]) -> None:
    status, told = Visitor(served).send("POST", "/v1/completions", {"model": "tiny", "prompt": "Hi", **more})
    assert (status, json.loads(told)["error"]["code"]) == (400, "too_many_logprobs")
    assert served.engine.requests == []


def test_a_question_of_thousands_of_messages_is_refused(served: Served) -> None:
    messages = QUESTION["messages"] * (MAX_MESSAGES + 1)
    status, told = Visitor(served).send("POST", "/v1/chat/completions", {"model": "tiny", "messages": messages})
    assert (status, json.loads(told)["error"]["code"]) == (400, "array_above_max_length")


class NamingEngine(ScriptedEngine):
    """Names each piece as one token, and says the forbidden word in every answer but the first."""

    async def stream(self, request: Request) -> AsyncIterator[Delta]:
        pieces = ["Fine. ", "Well, ", "secret ", "end."]
        pieces[2] = "harmless " if not self.requests else "forbidden secret "
        self.requests.append(request)
        for number, piece in enumerate(pieces):
            yield Delta(piece, logprobs=(TokenLogprob(number + 10, piece, -1.0, ((5, piece, -1.0),)),))
        yield Delta("", Reply(request.id, "".join(pieces), "stop", Usage(7, 4)))


@pytest.mark.parametrize("path", ["/v1/completions", "/v1/chat/completions"])
@pytest.mark.parametrize("stream", [False, True])
def test_no_log_probability_names_what_was_withheld_and_other_choices_stay(
    start: Callable[..., Served], path: str, stream: bool
) -> None:
    served = start(NamingEngine(), moderating=WordModerator())
    asked = {"model": "tiny", "n": 2, "stream": stream}
    if "chat" in path:
        asked |= {"messages": QUESTION["messages"], "logprobs": True, "top_logprobs": 1}
    else:
        asked |= {"prompt": "Hi", "logprobs": 1, "echo": not stream}
    status, told = Visitor(served).send("POST", path, asked)
    assert status == 200
    assert "secret" not in told
    assert "forbidden" not in told
    for reason, word in (("content_filter", "Fine."), ("stop", "harmless")):
        assert f'"finish_reason": "{reason}"'.replace(" ", "") in told.replace(" ", "")
        assert word in told


@pytest.mark.parametrize("name", ["%00", "%c3%a9", "%0d%0aX:%20y", "a" * 5000])
def test_names_that_cannot_be_are_not_found_in_either_database(
    start: Callable[..., Served], database_url: str, name: str
) -> None:
    served = start(rival=ScriptedEngine(), database_url=database_url)
    visitor = Visitor(served)
    visitor.accept()
    for method, path, body in (
        ("GET", f"/shared/{name}", None),
        ("POST", f"/shared/{name}/delete", b""),
        ("POST", f"/comparisons/{name}/vote", b'{"choice": "a"}'),
    ):
        status, told = visitor.send(method, path, body)
        assert (status, json.loads(told)["error"]["code"]) == (404, "not_found")
    assert visitor.send("POST", "/reports", {"reason": "wrong", "comparison": "\0"})[0] == 201


def test_a_key_that_is_revoked_in_the_middle_of_an_answer_is_no_key_for_the_next(start: Callable[..., Served]) -> None:
    served = start(ScriptedEngine(["word "] * 20, pause_seconds=0.05), requires_key=True)
    visitor = Visitor(served)
    visitor.accept()
    key = get_key(visitor)
    asked = {**QUESTION, "model": "tiny", "stream": True}
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(Visitor(served).send, "POST", "/v1/chat/completions", asked, Authorization=f"Bearer {key}")
        assert eventually(lambda: served.engine.num_made > 2)
        visitor.send("POST", "/keys/revoke", {"label": labels(visitor)[0]})
        assert served.engine.num_made < 20
        assert ask(served, key) == (401, "invalid_api_key")
        status, told = answer.result(10)
    assert (status, told.count("word ")) == (200, 20)
    assert told.endswith("data: [DONE]\n\n")


@pytest.mark.parametrize("disguise", ["made-up sessions", "one key at many addresses", "many keys at one address"])
def test_nobody_gets_more_turns_by_looking_like_many(start: Callable[..., Served], disguise: str) -> None:
    engine = ScriptedEngine(["word"], pause_seconds=0.2)
    served = start(engine, queue=FairQueue(at_once=1))
    visitor = Visitor(served)
    visitor.accept()
    key, *others = (get_key(visitor) for _ in range(6 if "many keys" in disguise else 1))

    def ask(prompt: str, address: str, cookie: str = "", **headers: str) -> None:
        sender = Visitor(served, cookie)
        asked = {"model": "tiny", "prompt": prompt}
        assert sender.send("POST", "/v1/completions", asked, X_Forwarded_For=address, **headers)[0] == 200

    def ask_as_many(number: int) -> None:
        if disguise == "made-up sessions":
            ask(f"many {number}", "203.0.113.1", f"pacos_session={number}")
        elif "many keys" in disguise:
            ask(f"many {number}", "203.0.113.1", Authorization=f"Bearer {[key, *others][number]}")
        else:
            ask(f"many {number}", f"203.0.113.{number + 10}", Authorization=f"Bearer {key}")

    with ThreadPoolExecutor(8) as pool:
        many = [pool.submit(ask_as_many, number) for number in range(6)]
        assert eventually(lambda: metric(served, "pacos_answers_waiting") == 5)
        for future in (pool.submit(ask, "one", "203.0.113.2"), *many):
            future.result()
    assert [request.prompt for request in engine.requests].index("one") < 4


def test_who_has_fewer_answers_under_way_is_before_who_waits_longer() -> None:
    order: list[str] = []

    async def visits() -> None:
        queue, long, short = FairQueue(at_once=2), asyncio.Event(), asyncio.Event()

        async def visit(visitor: str, name: str, end: asyncio.Event) -> None:
            async with queue.slot((visitor,)):
                order.append(name)
                await end.wait()

        names = (("a", "a1", long), ("b", "b1", short), ("a", "a2", long), ("b", "b2", long))
        tasks = []
        for each in names:
            tasks.append(asyncio.create_task(visit(*each)))
            await asyncio.sleep(0)
        short.set()
        await tasks[1]
        long.set()
        await asyncio.gather(*tasks)

    asyncio.run(visits())
    assert order == ["a1", "b1", "b2", "a2"]


def test_wrong_password_is_told_to_programs_in_openais_shape(start: Callable[..., Served]) -> None:
    visitor = Visitor(start(review_password="a long password"))
    status, told = visitor.send("POST", "/review/login", b"password=x")
    assert (status, json.loads(told)["error"]["code"]) == (401, "wrong_password")
    status, told = visitor.send("POST", "/review/login", b"password=x", Accept="text/html")
    assert (status, "not the password" in told) == (401, True)


@pytest.mark.parametrize(
    "entries",
    [
        '["a"' + ',1,"a"' * 20_000 + "]",
        "[" + "0.5," * 200_000 + "1]",
        "[" + "null," * 190_000 + "1]",
        '["a"' + ",1" * 400_000 + "]",
    ],
)
def test_a_body_full_of_wrong_entries_holds_nobody_up(served: Served, entries: str) -> None:

    def seconds(prompt: str) -> float:
        start = time.perf_counter()
        body = f'{{"model": "tiny", "prompt": {prompt}, "max_tokens": 1}}'
        assert Visitor(served).send("POST", "/v1/completions", body.encode())[0] == 400
        return time.perf_counter() - start

    # As long, and wrong in one place alone.
    once = seconds('"' + "x" * len(entries) + '"')
    assert seconds(entries) < 20 * once + 1.0


@pytest.mark.parametrize(
    ("path", "wrong"),
    [
        *(("/v1/completions", f'"prompt": "Hi", {field}') for field in (
            '"temperature": true', '"temperature": "1"', '"n": true', '"n": 1.0', '"max_tokens": "1"', '"seed": true',
            '"logprobs": true', '"stream": "1"', '"stream": 1', '"top_p": "1"', '"logit_bias": {"1": true}',
            '"logit_bias": {"1": "1"}', '"stream_options": {"include_usage": 1}',
        )),
        *(("/v1/completions", f'"prompt": {ids}') for ids in ("[true]", "[[true]]", "[1.0]", '["1", 1]')),
        ("/chat", MESSAGES + '"sampling": {"temperature": "1", "top_p": 1, "max_tokens": 9}'),
        ("/reports", '"reason": "other", "consent": "yes"'),
        *(("/detokenize", f'"tokens": [{token}]') for token in ("true", "4096", f"{10**30}")),
        ("/tokenize", '"prompt": null'), ("/tokenize", '"messages": []'), ("/tokenize", ""),
    ],
)  # fmt: skip
def test_a_value_of_another_type_is_not_taken_for_what_it_looks_like(served: Served, path: str, wrong: str) -> None:
    visitor = Visitor(served)
    visitor.accept()
    body = f'{{"model": "tiny", {wrong}}}' if path.startswith("/v1") else f"{{{wrong}}}"
    status, told = visitor.send("POST", path, body.encode())
    assert (status, json.loads(told)["error"]["type"]) == (400, "invalid_request_error"), told
