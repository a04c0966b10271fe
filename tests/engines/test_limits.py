"""A server's limits on requests, and its words about when to come back; by a clock of the tests' own."""

import threading
import time

import pytest

from pacos.engines import Failure, Reply
from pacos.engines.http import pace, waits
from tests.engines.conftest import Clock
from tests.engines.door import ask, echo
from tests.servers.openai_server import OpenAIServer, TokenBucket, always, scripted_faults

pytestmark = pytest.mark.usefixtures("quick")


@pytest.mark.parametrize("kind", ["429-bill", "429-bill-typed"])
def test_a_limit_that_speaks_of_bills_is_waited_for(kind: str) -> None:
    with OpenAIServer(scripted_faults(kind), echo, retry_after_seconds=0) as server:
        answers = ask(server)
    assert isinstance(answers["r0"], Reply)


def test_a_wait_that_the_server_asks_for_holds_for_all_requests(clock: Clock) -> None:
    # The third request is refused while others are on their way; nothing new may arrive before the second is over.
    # Those beside it are answered late, so that the refusal is back before another one takes their place.
    late = lambda n: 0.5 if n in (1, 3) else 0.0  # noqa: E731
    with OpenAIServer(lambda n: "429-seconds" if n == 2 else None, echo, latency_seconds=late) as server:
        answers = ask(server, 12, concurrency=2)
    assert all(isinstance(answer, Reply) for answer in answers.values())
    waits = [arrival - server.arrivals[2] for arrival in server.arrivals[3:]]
    assert all(wait == 0 or 1.0 <= wait < 1.5 for wait in waits)
    # The one beside it was sent before; of the twelve the refused one and at least eight more come after the wait.
    assert sum(wait >= 1.0 for wait in waits) >= 9


def test_too_many_at_once_lowers_what_is_in_flight(monkeypatch: pytest.MonkeyPatch) -> None:
    # Neither spacing out nor long waits help here, so that nothing else thins out what is in flight.
    monkeypatch.setattr(pace, "FEW_REFUSALS", 1.0)
    monkeypatch.setattr(pace, "LONGEST_WAIT_SECONDS", 0.05)
    seen: list[int] = []

    def fault(number: int) -> str | None:
        seen.append(server.in_flight)
        # An end for a client that never learns.
        return "429-bare" if server.in_flight > 3 and number < 500 else None

    with OpenAIServer(fault, echo, latency_seconds=lambda n: 0.1) as server:
        answers = ask(server, 30, concurrency=8)
    assert all(isinstance(answer, Reply) for answer in answers.values())
    assert max(seen[:30]) == 8
    late = sorted(seen[len(seen) // 2 :])
    assert late[len(late) // 2] <= 5
    assert len(seen) < 500


@pytest.mark.parametrize("says", ["seconds", "nothing"])
def test_a_limit_on_requests_is_used_up(says: str, clock: Clock) -> None:
    bucket = TokenBucket(per_second=100, capacity=60)
    start = clock.now
    with OpenAIServer(text_of=echo, latency_seconds=lambda n: 0.01, bucket=bucket, bucket_says=says) as server:
        answers = ask(server, 300, concurrency=32)
        refused = server.faults_made["bucket"]
    assert all(isinstance(answer, Reply) for answer in answers.values())
    # Generous: benchmarks/fault_server.py measures what is really lost.
    assert 0.5 * (60 + 100 * (clock.now - start)) < 300
    assert refused < 300


def test_a_limit_without_a_burst_is_learnt_though_every_refusal_costs_a_second() -> None:
    bucket = TokenBucket(per_second=20, capacity=1)
    with OpenAIServer(text_of=echo, latency_seconds=lambda n: 0.3, bucket=bucket, bucket_says="seconds") as server:
        answers = ask(server, 120, concurrency=16)
        refused = server.faults_made["bucket"]
    assert all(isinstance(answer, Reply) for answer in answers.values())
    # A client that does not learn is refused once for each request that is let through.
    assert refused < 60


def test_a_server_that_takes_its_time_to_refuse_is_learnt() -> None:
    admitted = threading.Semaphore(2)
    refused: set[int] = set()

    def fault(number: int) -> str | None:
        if not admitted.acquire(blocking=False):
            refused.add(number)
        return "429-bare" if number in refused else None

    def latency(number: int) -> float:
        if number not in refused:
            threading.Timer(1.2, admitted.release).start()
        return 1.2

    with OpenAIServer(fault, echo, latency_seconds=latency) as server:
        answers = ask(server, 12, concurrency=16)
        assert len(refused) >= 8
    assert all(isinstance(answer, Reply) for answer in answers.values())


@pytest.mark.parametrize("what", ["requests", "tokens"])
def test_nothing_is_sent_while_nothing_remains(what: str, clock: Clock) -> None:
    def headers(number: int) -> dict[str, str]:
        remaining = {"x-ratelimit-remaining-requests": "9", "x-ratelimit-remaining-tokens": "-1"}
        reset = {"x-ratelimit-reset-requests": "8m0s", "x-ratelimit-reset-tokens": "-1"}
        if number == 2:
            return remaining | reset | {f"x-ratelimit-remaining-{what}": "0", f"x-ratelimit-reset-{what}": "1s20ms"}
        return remaining | reset

    with OpenAIServer(text_of=echo, reply_headers=headers) as server:
        ask(server, 6, concurrency=1)
        waits = [later - earlier for earlier, later in zip(server.arrivals, server.arrivals[1:], strict=False)]
    assert waits == [0, 0, pytest.approx(1.02), 0, 0]


def test_a_server_that_always_says_nothing_remains_is_not_asked_at_a_crawl(clock: Clock) -> None:
    """Close to the limit every reply says so; each request then waits for its own share, not for all of the reset."""
    headers = {f"x-ratelimit-{what}-requests": value for what, value in [("limit", "500"), ("remaining", "0")]}
    with OpenAIServer(text_of=echo, reply_headers=lambda n: headers | {"x-ratelimit-reset-requests": "10s"}) as server:
        answers = ask(server, 40, concurrency=4)
        seconds = server.arrivals[-1] - server.arrivals[0]
    assert all(isinstance(answer, Reply) for answer in answers.values())
    # 40 shares are 0.8 s, and those in flight together wait for one; 40 resets would be 400 s.
    assert 0.1 < seconds < 1


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("1s", 1.0), ("6m0s", 360.0), ("20ms", 0.02), ("1h2m3.5s", 3723.5), ("7", 7.0), ("7.66s", 7.66)]
    + [(text, None) for text in ("", "-1", "soon", "1x", "2026-11-24T00:00:00Z")],
)
def test_reset_times_are_read(text: str, seconds: float | None) -> None:
    assert waits.duration_seconds(text) == pytest.approx(seconds)


def test_a_date_to_wait_for_is_read_by_the_servers_clock_and_not_by_ours() -> None:
    date = "Tue, 24 Nov 2026 10:00:07 GMT"
    assert waits.retry_after_seconds({"retry-after": date, "date": "Tue, 24 Nov 2026 10:00:00 GMT"}) == 7
    assert waits.retry_after_seconds({"retry-after": "Fri, 01 Jan 2100 00:00:00 GMT"}) == 60
    assert waits.retry_after_seconds({"retry-after": "Thu, 01 Jan 1970 00:00:00 GMT"}) == 0


def test_a_clock_that_jumps_changes_no_wait(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    real, start = time.time, clock.now
    jumps = iter([0, 7200, -7200, 86400, -86400] * 1000)
    monkeypatch.setattr(time, "time", lambda: real() + next(jumps))
    with OpenAIServer(scripted_faults("429-seconds", "429-seconds", "500"), echo) as server:
        answers = ask(server, 5, concurrency=1)
    assert 2.0 <= clock.now - start < 2.5
    assert all(isinstance(answer, Reply) and answer.seconds == 0 for answer in answers.values())


def test_a_wait_beyond_patience_is_said_at_once() -> None:
    with OpenAIServer(always("429-seconds"), echo, retry_after_seconds=7200) as server:
        failure = ask(server, 1)["r0"]
    assert isinstance(failure, Failure)
    assert (failure.kind, failure.fatal) == ("rate_limit", True)
    assert "7200 s. Come back when it allows more" in failure.message
