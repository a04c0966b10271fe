"""A server's bad hours, on a loopback socket: outages, lost answers and stops, and what they cost in time."""

import asyncio
import threading
import time
from collections import deque
from collections.abc import Iterator

import pytest

from pacos.engines import Failure, Reply, Request, Sampling
from pacos.engines.http import HttpEngine, breaker, http_engine
from tests.engines.door import PRICED, ask, complete_all, echo, requests, table, take_until
from tests.servers.openai_server import (
    Faults,
    OpenAIServer,
)

pytestmark = pytest.mark.usefixtures("quick")


def during(first: float, last: float, kind: str) -> Faults:
    """The fault between these seconds after the first request."""
    start: list[float] = []

    def fault(number: int) -> str | None:
        start.append(time.monotonic())
        return kind if first <= time.monotonic() - start[0] < last else None

    return fault


@pytest.mark.parametrize("kind", ["503", "reset", "html-404", "text"])
def test_an_outage_costs_its_own_time_and_no_request(kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    with OpenAIServer(during(0.2, 1.3, kind), echo, latency_seconds=lambda n: 0.02) as server:
        answers = ask(server, 200, concurrency=8)
        arrivals = [arrival - server.arrivals[0] for arrival in server.arrivals]
    assert all(isinstance(answer, Reply) for answer in answers.values())
    # One probe at a time, ever further apart; without a breaker hundreds would have come.
    assert sum(0.5 < arrival < 1.2 for arrival in arrivals) <= 3
    lines = capsys.readouterr().err.splitlines()
    assert [line.split(": ")[1].split(" (")[0].split(" after")[0] for line in lines] == [
        "out of service",
        "in service again",
    ]


def test_a_server_that_becomes_slow_is_waited_for() -> None:
    """Far slower than the time-out that its quick replies have taught, and yet in service."""
    slow = lambda number: 0.9 if number >= 20 else 0.01  # noqa: E731
    with OpenAIServer(text_of=echo, latency_seconds=slow) as server:
        http = HttpEngine(table(server, concurrency=2), 10.0, shortest_timeout_seconds=0.2)
        answers = complete_all(http, requests(26))
    assert all(isinstance(answer, Reply) for answer in answers.values())


def test_many_time_outs_of_one_moment_are_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that hangs for a while is asked again soon, and not waited for as if it had been slow eight times."""
    with OpenAIServer(during(0.3, 1.2, "stall"), echo, latency_seconds=lambda n: 0.01, stall_seconds=30) as server:
        began = time.monotonic()
        http = HttpEngine(table(server, concurrency=8), 60.0, shortest_timeout_seconds=0.3)
        answers = complete_all(http, requests(300))
        took = time.monotonic() - began
    assert all(isinstance(answer, Reply) for answer in answers.values())
    assert server.faults_made["stall"] >= 8
    assert took < 15


def test_an_outage_gives_up_no_request_under_a_limit_either(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each lost attempt goes back to whoever holds the money, and none of them says anything about its request."""
    with OpenAIServer(during(0.2, 2.5, "reset"), echo, latency_seconds=lambda n: 0.02) as server:
        http, waiting, given_up = (
            HttpEngine(table(server, concurrency=1, max_usd=1e6, **PRICED)),
            deque(requests(40)),
            [],
        )

        async def go() -> None:
            while waiting:
                asked = {request.id: request for request in waiting}
                waiting.clear()
                async for answer in http.complete(asked.values()):
                    if isinstance(answer, Failure):
                        (waiting.append if answer.retry else given_up.append)(asked[answer.id])

        asyncio.run(go())
    assert server.faults_made["reset"] > 5
    assert given_up == []


def test_a_server_that_goes_away_and_comes_back_is_found_again(capsys: pytest.CaptureFixture[str]) -> None:
    first = OpenAIServer(text_of=echo, latency_seconds=lambda n: 0.02)
    second: list[OpenAIServer] = []

    def restart() -> None:
        time.sleep(0.4)
        first.__exit__()
        time.sleep(1.0)
        second.append(OpenAIServer(text_of=echo, port=first.port))
        second[0].__enter__()

    with first:
        thread = threading.Thread(target=restart)
        thread.start()
        answers = ask(first, 200, concurrency=4)
        thread.join()
    second[0].__exit__()
    assert {key: answer.text for key, answer in answers.items() if isinstance(answer, Reply)} == {
        f"r{n}": f"You said: prompt {n}" for n in range(200)
    }
    assert "out of service" in capsys.readouterr().err


def test_an_outage_without_end_is_one_fatal_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(breaker, "PATIENCE_SECONDS", 1.0)
    with OpenAIServer(lambda n: "503" if n >= 3 else None, echo) as server:
        answers = ask(server, 12, concurrency=4)
    assert len(answers) == 12
    failures = [answer for answer in answers.values() if isinstance(answer, Failure)]
    assert len(failures) == 9
    assert all(failure.fatal and "\n" not in failure.message for failure in failures)


def test_requests_that_the_server_cannot_digest_are_given_up_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_engine, "ATTEMPTS", 4)
    monkeypatch.setattr(breaker, "LONGEST_PROBE_SECONDS", 0.2)

    def fault(number: int) -> str | None:
        poison = ("prompt 7'", "prompt 8'")
        return "500" if any(text in str(server.bodies[number]) for text in poison) else None

    # The others go on being answered for as long as it takes: a server that answers no one any more is out of service.
    with OpenAIServer(fault, echo, latency_seconds=lambda n: 0.1) as server:
        answers = ask(server, 60, concurrency=4)
    failed = {key: answer.fatal for key, answer in answers.items() if isinstance(answer, Failure)}
    assert failed == {"r7": False, "r8": False}


@pytest.mark.parametrize(("kind", "keys"), [("503", {}), ("html-404", {}), ("503", {"max_usd": 9.0, **PRICED})])
def test_one_request_at_a_time_outlives_an_outage(
    kind: str, keys: dict[str, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_engine, "ATTEMPTS", 4)
    monkeypatch.setattr(breaker, "LONGEST_PROBE_SECONDS", 0.1)
    with OpenAIServer(during(0.1, 2.5, kind), echo, latency_seconds=lambda n: 0.02) as server:
        answers = ask(server, 20, concurrency=1, **keys)
        # Far more attempts than one request has; none of them was counted.
        assert server.faults_made[kind] > 10
    assert len(answers) == 20
    assert all(isinstance(answer, Reply) for answer in answers.values())


def test_one_request_at_a_time_does_not_wait_for_ever(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(http_engine, "ATTEMPTS", 4)
    monkeypatch.setattr(breaker, "PATIENCE_SECONDS", 1.5)
    monkeypatch.setattr(breaker, "LONGEST_PROBE_SECONDS", 0.1)
    taken: list[Reply | Failure] = []

    def take(answer: Reply | Failure) -> bool:
        taken.append(answer)
        return isinstance(answer, Reply) or not answer.fatal

    with OpenAIServer(lambda n: "503" if n >= 2 else None, echo) as server:
        asyncio.run(take_until(HttpEngine(table(server, concurrency=1)), requests(50), take))
    failures = [answer for answer in taken if isinstance(answer, Failure)]
    assert failures[0].fatal
    # The rest is what was left waiting; nothing was given up before.
    assert [answer.id for answer in taken[:2]] == ["r0", "r1"]
    assert capsys.readouterr().err.count("out of service (") == 1


def test_two_that_cannot_be_digested_do_not_hold_up_one_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_engine, "ATTEMPTS", 4)
    monkeypatch.setattr(breaker, "LONGEST_PROBE_SECONDS", 0.2)

    def fault(number: int) -> str | None:
        return "500" if any(text in str(server.bodies[number]) for text in ("prompt 1'", "prompt 2'")) else None

    with OpenAIServer(fault, echo) as server:
        answers = ask(server, 30, concurrency=1)
    failed = {key: answer.fatal for key, answer in answers.items() if isinstance(answer, Failure)}
    assert failed == {"r1": False, "r2": False}


def test_what_was_lost_comes_back_no_sooner_than_it_may_be_asked_again() -> None:
    """Under a limit on money the caller asks again; five losses of one request are not over in an instant."""

    def fault(number: int) -> str | None:
        return "reset" if "prompt 3'" in str(server.bodies[number]) else None

    with OpenAIServer(fault, echo, latency_seconds=lambda n: 0.05) as server:
        http = HttpEngine(table(server, concurrency=2, max_usd=900.0, **PRICED))
        again: list[Request] = []
        lost_at: list[float] = []
        replies_between: list[int] = [0]

        def all_of_them() -> Iterator[Request]:
            for request in requests(100):
                while again:
                    yield again.pop()
                yield request

        def take(answer: Reply | Failure) -> bool:
            if isinstance(answer, Failure):
                assert not answer.fatal
                lost_at.append(time.monotonic())
                again.append(Request(answer.id, "prompt 3", Sampling(max_tokens=100)))
                replies_between.append(0)
            replies_between[-1] += isinstance(answer, Reply)
            return len(lost_at) < 5

        asyncio.run(take_until(http, all_of_them(), take))
        sent_at = [at for at, body in zip(server.arrivals, server.bodies, strict=True) if "prompt 3'" in str(body)]
    shortest = [0.5 * 0.05 * 2**n for n in range(5)]
    assert len(lost_at) == 5
    assert lost_at[-1] - sent_at[0] >= sum(shortest)
    assert sum(replies_between[1:5]) >= 4


@pytest.mark.parametrize("kind", ["503", "429-bare", "reset"])
@pytest.mark.parametrize("keys", [{}, {"max_usd": 900.0, **PRICED}], ids=["unlimited", "limited"])
def test_nothing_is_sent_after_a_stop(kind: str, keys: dict[str, float]) -> None:
    taken: set[str] = set()
    num_sent: list[int] = []

    def take(answer: Reply | Failure) -> bool:
        taken.add(answer.id)
        if isinstance(answer, Reply) and answer.id != "r0" and not num_sent:
            num_sent.append(len(server.bodies))
        return not num_sent

    # Three of four fail at first, so that many wait for another attempt when the stop comes.
    with OpenAIServer(lambda n: kind if n % 4 else None, echo, latency_seconds=lambda n: 0.05) as server:
        asyncio.run(take_until(HttpEngine(table(server, concurrency=8, **keys)), requests(100), take))
        # What was on its way to the server at the stop may still have arrived.
        assert num_sent[0] <= len(server.bodies) <= num_sent[0] + 8
        prompts = {body["messages"][0]["content"].removeprefix("prompt ") for body in server.bodies}
    # Whatever was asked has come back, one way or the other.
    assert taken == {f"r{number}" for number in prompts}
