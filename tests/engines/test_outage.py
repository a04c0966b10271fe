"""A server's bad hours: outages, limits and lost answers, on a loopback socket; what they cost in time and money."""

import asyncio
import threading
import time
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pacos.core.errors import PacosError
from pacos.core.recipe import EngineTable
from pacos.engines import Engine, Failure, Reply, Request, Sampling, complete_all
from pacos.engines.budget import Budget
from pacos.engines.http import HttpEngine, breaker, engine, limits, pace
from pacos.engines.prices import Prices
from pacos.engines.taking import take_answers
from tests.servers.openai_server import Faults, OpenAIServer, TokenBucket, always, scripted_faults, seeded_faults

PRICED = {"input_usd_per_mtok": 1000.0, "output_usd_per_mtok": 2000.0}


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.setattr(breaker, "FIRST_PROBE_SECONDS", 0.2)
    monkeypatch.setattr(pace, "FIRST_WAIT_SECONDS", 0.05)


def echo(prompt: str, seed: int | None) -> str:
    return f"You said: {prompt}"


def table(server: OpenAIServer, **keys: object) -> EngineTable:
    return EngineTable(engine="http", base_url=server.base_url, model="small", **keys)  # type: ignore[arg-type]


def requests(count: int) -> Iterator[Request]:
    for number in range(count):
        yield Request(f"r{number}", f"prompt {number}", Sampling(max_tokens=100))


def ask(server: OpenAIServer, count: int, **keys: object) -> dict[str, Reply | Failure]:
    return complete_all(HttpEngine(table(server, **keys), timeout_seconds=2.0), requests(count))


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
    monkeypatch.setattr(engine, "ATTEMPTS", 4)
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
    monkeypatch.setattr(engine, "ATTEMPTS", 4)
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
    monkeypatch.setattr(engine, "ATTEMPTS", 4)
    monkeypatch.setattr(breaker, "PATIENCE_SECONDS", 1.5)
    monkeypatch.setattr(breaker, "LONGEST_PROBE_SECONDS", 0.1)
    taken: list[Reply | Failure] = []

    def take(answer: Reply | Failure) -> bool:
        taken.append(answer)
        return isinstance(answer, Reply) or not answer.fatal

    with OpenAIServer(lambda n: "503" if n >= 2 else None, echo) as server:
        asyncio.run(take_answers(HttpEngine(table(server, concurrency=1)), requests(50), take))
    failures = [answer for answer in taken if isinstance(answer, Failure)]
    assert failures[0].fatal
    # The rest is what was left waiting; nothing was given up before.
    assert [answer.id for answer in taken[:2]] == ["r0", "r1"]
    assert capsys.readouterr().err.count("out of service (") == 1


def test_two_that_cannot_be_digested_do_not_hold_up_one_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "ATTEMPTS", 4)
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

        asyncio.run(take_answers(http, all_of_them(), take))
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
        asyncio.run(take_answers(HttpEngine(table(server, concurrency=8, **keys)), requests(100), take))
        # What was on its way to the server at the stop may still have arrived.
        assert num_sent[0] <= len(server.bodies) <= num_sent[0] + 8
        prompts = {body["messages"][0]["content"].removeprefix("prompt ") for body in server.bodies}
    # Whatever was asked has come back, one way or the other.
    assert taken == {f"r{number}" for number in prompts}


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
def test_a_limit_on_requests_is_used_up(says: str) -> None:
    bucket = TokenBucket(per_second=100, capacity=60)
    with OpenAIServer(text_of=echo, latency_seconds=lambda n: 0.1, bucket=bucket, bucket_says=says) as server:
        start = time.monotonic()
        answers = ask(server, 300, concurrency=32)
        seconds = time.monotonic() - start
        refused = server.faults_made["bucket"]
    assert all(isinstance(answer, Reply) for answer in answers.values())
    # Generous: the machine is shared. benchmarks/fault_server.py measures what is really lost.
    assert 0.5 * (60 + 100 * seconds) < 300
    assert refused < 300


@pytest.mark.parametrize("what", ["requests", "tokens"])
def test_nothing_is_sent_while_nothing_remains(what: str) -> None:
    def headers(number: int) -> dict[str, str]:
        remaining = {"x-ratelimit-remaining-requests": "9", "x-ratelimit-remaining-tokens": "-1"}
        reset = {"x-ratelimit-reset-requests": "8m0s", "x-ratelimit-reset-tokens": "-1"}
        if number == 2:
            return remaining | reset | {f"x-ratelimit-remaining-{what}": "0", f"x-ratelimit-reset-{what}": "1s20ms"}
        return remaining | reset

    with OpenAIServer(text_of=echo, reply_headers=headers) as server:
        ask(server, 6, concurrency=1)
        waits = [later - earlier for earlier, later in zip(server.arrivals, server.arrivals[1:], strict=False)]
    assert 1.0 <= waits[2] < 4
    assert max(waits[:2] + waits[3:]) < 1


def test_a_server_that_always_says_nothing_remains_is_not_asked_at_a_crawl() -> None:
    """Close to the limit every reply says so; each request then waits for its own share, not for all of the reset."""
    headers = {f"x-ratelimit-{what}-requests": value for what, value in [("limit", "500"), ("remaining", "0")]}
    with OpenAIServer(text_of=echo, reply_headers=lambda n: headers | {"x-ratelimit-reset-requests": "10s"}) as server:
        answers = ask(server, 40, concurrency=4)
        seconds = server.arrivals[-1] - server.arrivals[0]
    assert all(isinstance(answer, Reply) for answer in answers.values())
    # 40 shares are 0.8 s; 40 resets would be 400 s.
    assert seconds < 10


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("1s", 1.0), ("6m0s", 360.0), ("20ms", 0.02), ("1h2m3.5s", 3723.5), ("7", 7.0), ("7.66s", 7.66)]
    + [(text, None) for text in ("", "-1", "soon", "1x", "2026-11-24T00:00:00Z")],
)
def test_reset_times_are_read(text: str, seconds: float | None) -> None:
    assert limits.duration_seconds(text) == pytest.approx(seconds)


def test_a_date_to_wait_for_is_read_by_the_servers_clock_and_not_by_ours() -> None:
    date = "Tue, 24 Nov 2026 10:00:07 GMT"
    assert limits.retry_after_seconds({"retry-after": date, "date": "Tue, 24 Nov 2026 10:00:00 GMT"}) == 7
    assert limits.retry_after_seconds({"retry-after": "Fri, 01 Jan 2100 00:00:00 GMT"}) == 60
    assert limits.retry_after_seconds({"retry-after": "Thu, 01 Jan 1970 00:00:00 GMT"}) == 0


def test_a_clock_that_jumps_changes_no_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    real = time.time
    jumps = iter([0, 7200, -7200, 86400, -86400] * 1000)
    monkeypatch.setattr(time, "time", lambda: real() + next(jumps))
    with OpenAIServer(scripted_faults("429-seconds", "429-seconds", "500"), echo) as server:
        start = time.monotonic()
        answers = ask(server, 5, concurrency=1)
        assert 2.0 <= time.monotonic() - start < 6
    assert all(isinstance(answer, Reply) and 0 <= answer.seconds < 2 for answer in answers.values())


def test_a_wait_beyond_patience_is_said_at_once() -> None:
    with OpenAIServer(always("429-seconds"), echo, retry_after_seconds=7200) as server:
        failure = ask(server, 1)["r0"]
    assert isinstance(failure, Failure)
    assert (failure.kind, failure.fatal) == ("rate_limit", True)
    assert "7200 s" in failure.message


LOST = ["stall", "reset", "truncated"]


@pytest.mark.parametrize("kind", LOST)
def test_what_a_lost_answer_may_have_cost_is_counted(kind: str) -> None:
    request = next(requests(1))
    with OpenAIServer(scripted_faults(None, kind), echo, stall_seconds=5) as server:
        keys = table(server, concurrency=1, **PRICED)
        worst = Prices(keys).worst_case_usd(request)
        answers = complete_all(HttpEngine(keys, timeout_seconds=0.5), requests(2))
    # Without a limit it is asked again at once.
    reply = answers["r1"]
    assert isinstance(reply, Reply)
    assert (reply.unseen_usd, answers["r0"].unseen_usd) == (pytest.approx(worst), 0)
    with OpenAIServer(scripted_faults(None, kind), echo, stall_seconds=5) as server:
        keys = table(server, concurrency=1, max_usd=5.0, **PRICED)
        answers = complete_all(HttpEngine(keys, timeout_seconds=0.5), requests(2))
        # With one it comes back, to be reserved anew.
        assert len(server.bodies) == 2
    failure = answers["r1"]
    assert isinstance(failure, Failure)
    assert (failure.fatal, failure.unseen_usd) == (False, pytest.approx(worst))


@pytest.mark.parametrize("kind", ["500", "503", "429-bare", "400"])
def test_what_the_server_refused_costs_nothing(kind: str) -> None:
    with OpenAIServer(scripted_faults(kind), echo) as server:
        answers = ask(server, 2, concurrency=1, max_usd=5.0, **PRICED)
    assert [answer.unseen_usd for answer in answers.values()] == [0, 0]


def test_where_no_price_is_known_nothing_is_unseen() -> None:
    with OpenAIServer(scripted_faults("reset"), echo) as server:
        answer = ask(server, 1, max_usd=5.0)["r0"]
    assert isinstance(answer, Reply)
    assert answer.unseen_usd == 0


def spend(engine_: Engine, budget: Budget, count: int) -> tuple[int, PacosError | None]:
    """Asks as a stage does: reserves, takes, settles, asks again what failed; ends where the budget does."""
    again, num_replies, stop = list(requests(count)), 0, None

    def affordable() -> Iterator[Request]:
        while again and budget.reserve(again[0]):
            yield again.pop(0)

    def take(answer: Reply | Failure) -> bool:
        nonlocal num_replies
        budget.settle(answer)
        if isinstance(answer, Failure):
            assert not answer.fatal, answer
            again.append(Request(answer.id, f"prompt {answer.id[1:]}", Sampling(max_tokens=100)))
        num_replies += isinstance(answer, Reply)
        return True

    async def go() -> None:
        nonlocal stop
        while again and stop is None:
            before = len(again)
            await take_answers(engine_, affordable(), take)
            if again and len(again) == before and not budget.reserve(again[0]):
                stop = budget.exhausted(again[0])

    asyncio.run(go())
    return num_replies, stop


def test_no_storm_of_lost_answers_makes_a_budget_overshoot() -> None:
    with OpenAIServer(seeded_faults(0.4, ("reset", "truncated", "500")), echo) as server:
        keys = table(server, concurrency=4, max_usd=3.0, **PRICED)
        budget = Budget("teacher", keys, 0.0)
        num_replies, stop = spend(HttpEngine(keys, timeout_seconds=2.0), budget, 60)
        lost = [body for n, body in enumerate(server.bodies) if server.faults(n) in ("reset", "truncated")]
    assert 0 < num_replies < 60
    assert budget.spent_usd + budget.unseen_usd <= 3.0
    prompts = [Request("", body["messages"][0]["content"], Sampling(body["max_tokens"])) for body in lost]
    assert budget.unseen_usd == pytest.approx(sum(Prices(keys).worst_case_usd(prompt) for prompt in prompts))
    assert stop is not None
    assert "may have been billed" in str(stop)


@given(st.lists(st.tuples(st.integers(1, 400), st.sampled_from(["reply", "lost", "later"])), max_size=40))
def test_spent_unseen_and_reserved_never_exceed_the_limit(steps: list[tuple[int, str]]) -> None:
    keys = EngineTable(engine="http", base_url="http://127.0.0.1:1/v1", max_usd=1.0, **PRICED)
    prices, budget = Prices(keys), Budget("teacher", keys, 0.1, 0.1)
    reserved: dict[str, float] = {}
    for number, (max_tokens, end) in enumerate(steps):
        request = Request(f"{number}", "x" * max_tokens, Sampling(max_tokens=max_tokens))
        worst = prices.worst_case_usd(request)
        if budget.reserve(request):
            reserved[request.id] = worst
            if end != "later":
                reserved.pop(request.id)
                lost = Failure(request.id, "timeout", "", unseen_usd=worst)
                budget.settle(Reply(request.id, "", "stop", usd=worst / 2) if end == "reply" else lost)
        else:
            assert budget.spent_usd + budget.unseen_usd + sum(reserved.values()) + worst > 1.0
        assert budget.spent_usd + budget.unseen_usd + sum(reserved.values()) <= 1.0 + 1e-9
