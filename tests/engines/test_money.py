"""What replies cost, what lost ones may have cost, and a budget that neither overshoots."""

import asyncio
from collections.abc import Iterator
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pacos.asking.budget import Budget
from pacos.core.errors import PacosError
from pacos.core.recipe import EngineTable
from pacos.engines import Engine, Failure, Reply, Request, Sampling
from pacos.engines.http import HttpEngine
from pacos.engines.prices import Prices
from tests.engines.door import PRICED, ask, complete_all, echo, requests, table, take_until
from tests.servers.openai_server import (
    OpenAIServer,
    scripted_faults,
    seeded_faults,
)

pytestmark = pytest.mark.usefixtures("quick")


LOST = ["stall", "reset", "truncated"]


@pytest.mark.parametrize(("cached", "usd"), [(None, 100e-6), (0.25, (40 + 60 * 0.25) * 1e-6)])
def test_tokens_read_before_have_their_own_price(cached: float | None, usd: float) -> None:
    def rewrite(answer: dict) -> None:
        details = {"cached_tokens": 60}
        answer["usage"] = {"prompt_tokens": 100, "completion_tokens": 0, "prompt_tokens_details": details}

    with OpenAIServer(text_of=echo, rewrite=rewrite) as server:
        answer = ask(server, input_usd_per_mtok=1.0, cached_input_usd_per_mtok=cached)["r0"]
    assert isinstance(answer, Reply)
    assert answer.usd == pytest.approx(usd)


@pytest.mark.parametrize(
    "count", [float("nan"), float("-inf"), -5, 10**300, 2**40, 12.5, "12", True, None, []], ids=str
)
def test_a_count_that_no_server_can_have_counted_is_estimated(count: object) -> None:
    def rewrite(answer: dict) -> None:
        answer["usage"] = {"prompt_tokens": count, "completion_tokens": count}

    with OpenAIServer(text_of=echo, rewrite=rewrite) as server:
        answer = ask(server, output_usd_per_mtok=1.0)["r0"]
    assert isinstance(answer, Reply)
    assert 0 < answer.usd < 1e-3


def test_published_prices_know_tokens_read_before_and_batches() -> None:
    table = EngineTable(engine="http", base_url="https://api.openai.com/v1", model="gpt-4o-mini")
    full, cached = Prices(table).usd(10_000, 0), Prices(table).usd(10_000, 0, 10_000)
    assert 0 < cached < full
    assert Prices(table).usd(10_000, 0, 20_000) == cached
    assert Prices(replace(table, batch=True)).usd(10_000, 0) == pytest.approx(full / 2)


def test_a_price_for_some_tokens_only_is_refused() -> None:
    with pytest.raises(PacosError, match="input_usd_per_mtok is unset"):
        Prices(EngineTable(engine="http", base_url="http://127.0.0.1:1/v1", cached_input_usd_per_mtok=1.0))


def test_one_price_of_a_known_model_is_refused() -> None:
    table = EngineTable(engine="http", base_url="https://api.openai.com/v1", model="gpt-4o-mini")
    with pytest.raises(PacosError, match="set both, or neither"):
        Prices(replace(table, output_usd_per_mtok=1.0))


def test_a_reply_that_says_nothing_is_a_reply_and_is_paid_for() -> None:
    def rewrite(answer: dict) -> None:
        answer["choices"] = [{"message": {"role": "assistant"}, "finish_reason": "length"}]

    with OpenAIServer(text_of=echo, rewrite=rewrite) as server:
        answer = ask(server, **PRICED)["r0"]
    assert isinstance(answer, Reply)
    assert (answer.text, answer.finish_reason) == ("", "length")
    assert answer.usd > 0


def test_an_answer_without_a_choice_may_have_cost_something_and_an_error_has_not() -> None:
    unseen = {}
    for name, body in (("nothing", {"choices": []}), ("error", {"error": {"message": "overloaded"}})):

        def rewrite(answer: dict, body: dict = body) -> None:
            answer.clear()
            answer |= body

        with OpenAIServer(text_of=echo, rewrite=rewrite) as server:
            failure = ask(server, **PRICED)["r0"]
        assert isinstance(failure, Failure)
        unseen[name] = failure.unseen_usd
    assert unseen["error"] == 0 < unseen["nothing"]


def test_money_is_counted_without_usage_too() -> None:
    with OpenAIServer(text_of=echo, usage=False) as server:
        answer = ask(server, input_usd_per_mtok=1.0, output_usd_per_mtok=1.0)["r0"]
    assert isinstance(answer, Reply)
    assert answer.usd > 0


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
            await take_until(engine_, affordable(), take)
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
