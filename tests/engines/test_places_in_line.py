"""Who keeps what was read, who leaves, and who comes next: all of it seen in what is answered, and when."""

import asyncio
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, PreTrainedModel

from pacos.engines import Reply, Request, Sampling
from pacos.engines.local.engine import LocalEngine
from pacos.engines.local.prefix import TILE
from pacos.engines.local.scheduler import MAX_ROWS, STEP_TOKENS
from tests.engines.door import complete_all
from tests.engines.test_batching import FAMILIES, fixed, generated, made, prompts, request, written


@pytest.fixture(scope="module")
def llama(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made(FAMILIES["llama"], tmp_path_factory.mktemp("llama"), tiny_model)


@pytest.fixture(scope="module")
def model(llama: Path) -> PreTrainedModel:
    return AutoModelForCausalLM.from_pretrained(llama, dtype=torch.float32)


@pytest.fixture
def engine(llama: Path) -> LocalEngine:
    return LocalEngine(str(llama), precision="fp32")


@pytest.fixture
def small_engine(llama: Path, monkeypatch: pytest.MonkeyPatch) -> LocalEngine:
    """Its store has room for four tiles of 32 tokens of 384 bytes: an eighth of the memory."""
    monkeypatch.setattr("pacos.engines.local.worker.cache_budget", lambda device: 8 * 4 * 32 * 384)
    return LocalEngine(str(llama), precision="fp32")


def asked_of(engine: LocalEngine, model: PreTrainedModel) -> Callable[[Sequence[int]], int]:
    """Asks, expects generate's tokens, and returns how many of the prompt's were found."""

    def cached(ids: Sequence[int]) -> int:
        reply = complete_all(engine, [request("x", ids, max_tokens=6)])["x"]
        assert written(reply) == generated(model, ids, 6)
        assert isinstance(reply, Reply)
        return reply.usage.cached_tokens

    return cached


def test_a_tile_is_found_only_after_the_same_tiles(engine: LocalEngine, model: PreTrainedModel) -> None:
    one, two, shared = prompts(3, (TILE,), seed=7)
    cached = asked_of(engine, model)
    assert cached((*one, *shared, 5)) == 0
    assert cached((*two, *shared, 5)) == 0
    assert cached((*shared, *shared, 5)) == 0
    assert cached((*one, *shared, 9)) == 2 * TILE


def test_a_whole_prompt_that_was_read_is_read_from_its_last_tile_on(
    engine: LocalEngine, model: PreTrainedModel
) -> None:
    (ids,) = prompts(1, (2 * TILE,), seed=8)
    cached = asked_of(engine, model)
    assert cached(ids) == 0
    assert cached(ids) == TILE
    assert cached(ids[: TILE + 1]) == TILE


def test_the_longest_unused_tiles_make_room(small_engine: LocalEngine, model: PreTrainedModel) -> None:
    cached = asked_of(small_engine, model)
    one, two, three = ((*ids, 5) for ids in prompts(3, (2 * TILE,), seed=9))
    assert [cached(ids) for ids in (one, two, one, three)] == [0, 0, 2 * TILE, 0]
    assert cached(one) == 2 * TILE
    assert cached(two) == 0


def test_a_prompt_longer_than_the_store_keeps_its_beginning(small_engine: LocalEngine, model: PreTrainedModel) -> None:
    (long,) = prompts(1, (7 * TILE + 3,), seed=10)
    cached = asked_of(small_engine, model)
    assert cached(long) == 0
    assert cached(long) == 4 * TILE
    assert cached((*long[: 2 * TILE], 9)) == 2 * TILE


def test_those_who_came_first_are_answered_first(engine: LocalEngine) -> None:
    """Two fulls of the engine and some more, of one length: each full ends together, none before an earlier one."""
    count = 2 * MAX_ROWS + 5
    asked = [request(n, ids, max_tokens=4) for n, ids in enumerate(prompts(count, (3, 9), seed=11))]

    async def ends() -> list[str]:
        order: list[str] = []

        async def one(each: Request) -> None:
            async for _ in engine.stream(each):
                pass
            order.append(each.id)

        await asyncio.gather(*(one(each) for each in asked))
        return order

    turns = [int(name) // MAX_ROWS for name in asyncio.run(ends())]
    assert turns == sorted(turns)


@pytest.mark.parametrize("left_while", ["it is read", "it waits"])
def test_who_leaves_before_a_first_token_costs_no_more_steps(left_while: str, llama: Path) -> None:
    seen: list[int] = []

    def watch(ids_BT: torch.Tensor, logits_BV: torch.Tensor) -> torch.Tensor:
        seen.append(ids_BT.shape[0])
        return logits_BV

    engine = LocalEngine(str(llama), precision="fp32", logits_hook=watch)
    long = prompts(1, (3900,), seed=12)[0]
    full = [request(n, (5, n + 5), max_tokens=60) for n in range(MAX_ROWS if left_while == "it waits" else 1)]

    async def all_but_one() -> list[bool]:
        async def drained(each: Request) -> bool:
            return [delta async for delta in engine.stream(each)][-1].reply is not None

        writing = [asyncio.create_task(drained(each)) for each in full]
        while not engine.tokens_written:
            await asyncio.sleep(0.001)
        leaving = asyncio.create_task(drained(request("leaves", long, max_tokens=100)))
        await asyncio.sleep(0.02)
        leaving.cancel()
        return await asyncio.gather(*writing)

    assert all(asyncio.run(all_but_one()))
    asyncio.run(engine.close())
    assert max(seen) == len(full)
    # Sixty steps, and one for those who came a step later: nobody wrote after them.
    assert len(seen) <= 62


def test_many_long_prompts_share_what_a_step_may_read(engine: LocalEngine) -> None:
    steps = 0

    def count(ids_BT: torch.Tensor, logits_BV: torch.Tensor) -> torch.Tensor:
        nonlocal steps
        steps += 1
        # Never the end.
        return torch.zeros_like(logits_BV).index_fill(1, torch.tensor([7]), 9.0)

    writer = Request("w", "", Sampling(400, temperature=0.0), (5, 6), logits_hook=count)
    long = [request(n, ids, max_tokens=1) for n, ids in enumerate(prompts(8, (1000,), seed=13))]

    async def beside_a_writer() -> int:
        writing = engine.stream(writer)
        await anext(writing)
        before = steps
        async for _ in engine.complete(long):
            pass
        took = steps - before
        await writing.aclose()  # type: ignore[attr-defined]
        return took

    # Else who writes would wait for thousands of tokens at a time.
    took = asyncio.run(beside_a_writer())
    assert took >= 8 * 1000 // STEP_TOKENS - 2


def test_a_process_that_ends_in_the_middle_of_a_reply_ends_well(endless_model: Path) -> None:
    code = f"""
import asyncio, sys
from pacos.engines import Request, Sampling, open_engine

stream = open_engine("local:{endless_model}").stream(Request("x", "the", Sampling(100_000, temperature=0.0)))
asyncio.new_event_loop().run_until_complete(anext(stream))
sys.exit(7)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 7, done.stderr


def test_a_hooks_ids_end_with_what_was_written_last(llama: Path) -> None:
    ends: list[list[int]] = []

    def watch(ids_BT: torch.Tensor, logits_BV: torch.Tensor) -> torch.Tensor:
        ends.append(ids_BT[:, -1].tolist())
        return logits_BV

    engine = LocalEngine(str(llama), precision="fp32", logits_hook=watch)
    asked = [request(n, ids, max_tokens=5) for n, ids in enumerate([(7,), (8, 9, 10), (11, 12)])]
    answers = complete_all(engine, asked)
    tokens = [[each.prompt_ids[-1], *written(answers[each.id])[:-1]] for each in asked]
    assert ends == [list(column) for column in zip(*tokens, strict=True)]


def test_rows_of_one_hook_go_through_it_together_and_others_through_their_own(engine: LocalEngine) -> None:
    rows: list[int] = []

    def counts(ids_BT: torch.Tensor, logits_BV: torch.Tensor) -> torch.Tensor:
        rows.append(len(ids_BT))
        return logits_BV

    def always(token: int) -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor]:
        return lambda ids, logits: torch.zeros_like(logits).index_fill(1, torch.tensor([token]), 9.0)

    sampling = Sampling(3, temperature=0.0)
    hooks = {"a": counts, "b": always(21), "c": counts, "d": always(22), "e": None}
    asked = [Request(name, "", sampling, (5, 6), 0, logits_hook=hook) for name, hook in hooks.items()]
    answers = complete_all(engine, asked)
    assert rows == [2, 2, 2]
    assert [written(answers[name]) for name in "bd"] == [[21] * 3, [22] * 3]
    assert written(answers["a"]) == written(answers["c"]) == written(answers["e"])


def test_a_nucleus_wider_than_its_first_look_is_sampled_whole(tiny_model: Path, tmp_path: Path) -> None:
    """Of 800 equal tokens top_p leaves 720; where only the likeliest 512 were looked at, 208 would never come."""
    folder = made(type(FAMILIES["llama"])(**{**FAMILIES["llama"].to_dict(), "vocab_size": 1000}), tmp_path, tiny_model)
    hook = fixed([1 / 800] * 800)
    engine = LocalEngine(str(folder), precision="fp32", logits_hook=hook)  # type: ignore[arg-type]
    asked = [request(n, (5,), max_tokens=200, temperature=1.0, seed=n, top_p=0.9) for n in range(32)]
    came = {token for answer in complete_all(engine, asked).values() for token in written(answer)}
    # 6,400 draws miss one of 720 with a chance of e^-8.9, and so a tenth of one in all.
    assert 715 <= len(came) <= 721


def test_replies_without_a_seed_differ(llama: Path) -> None:
    engine = LocalEngine(str(llama), precision="fp32")
    asked = [request(n, (5, 6), temperature=1.0) for n in range(4)]
    assert len({tuple(written(answer)) for answer in complete_all(engine, asked).values()}) == 4


def test_a_presence_penalty_is_subtracted_once_and_a_frequency_penalty_each_time(
    llama: Path, model: PreTrainedModel
) -> None:
    seen: list[torch.Tensor] = []

    def always_ten(ids_BT: torch.Tensor, logits_BV: torch.Tensor) -> torch.Tensor:
        seen.append(logits_BV.clone())
        return torch.zeros_like(logits_BV).index_fill(1, torch.tensor([10]), 9.0)

    engine = LocalEngine(str(llama), precision="fp32", logits_hook=always_ten)
    with torch.inference_mode():
        plain = model(torch.tensor([[5, 6, 10, 10, 10]])).logits[0, -1]
    for name, times in (("presence_penalty", 1.0), ("frequency_penalty", 3.0)):
        seen.clear()
        complete_all(engine, [request("x", (5, 6), max_tokens=4, **{name: 2.0})])
        # A hook sees greedy rows over a temperature of 0.2.
        taken_off = plain - seen[3][0] * 0.2
        assert float(taken_off[10]) == pytest.approx(2.0 * times, abs=1e-3)
        assert float(taken_off[[6, 11]].abs().max()) == pytest.approx(0.0, abs=1e-3)


def test_rows_are_taken_in_only_as_memory_lasts(llama: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pacos.engines.local.worker.cache_budget", lambda device: 384 * 1000)
    rows: list[int] = []

    def watch(ids_BT: torch.Tensor, logits_BV: torch.Tensor) -> torch.Tensor:
        rows.append(len(logits_BV))
        return torch.zeros_like(logits_BV).index_fill(1, torch.tensor([7]), 9.0)

    engine = LocalEngine(str(llama), precision="fp32", logits_hook=watch)
    # 200 tokens each at their end, of 1,000.
    answers = complete_all(engine, [request(n, (5,) * 100, max_tokens=100) for n in range(12)])
    assert all(len(written(answer)) == 100 for answer in answers.values())
    assert max(rows) == 5


def test_log_probabilities_are_the_models_whatever_the_sampling(engine: LocalEngine, model: PreTrainedModel) -> None:
    asked = request("x", (5, 6), max_tokens=6, temperature=0.5, seed=1, top_k=20, presence_penalty=1.0)
    reply = complete_all(engine, [asked])["x"]
    assert isinstance(reply, Reply)
    with torch.inference_mode():
        expected = torch.log_softmax(model(torch.tensor([[5, 6, *written(reply)]])).logits[0], -1)
    for place, token in enumerate(reply.logprobs, 1):
        assert token.logprob == pytest.approx(float(expected[place, token.id]), abs=1e-4)


def test_top_p_holds_of_what_top_k_left(llama: Path) -> None:
    engine = LocalEngine(str(llama), precision="fp32", logits_hook=fixed([0.5, 0.3, 0.15, 0.05]))  # type: ignore[arg-type]
    # Of two the first has 0.625, which is enough; of all it would have half.
    answers = complete_all(engine, [request("x", (5,), max_tokens=100, temperature=1.0, seed=1, top_k=2, top_p=0.6)])
    assert set(written(answers["x"])) == {10}
