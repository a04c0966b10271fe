"""Many requests at once, with transformers' generate as oracle: alone, in full batches and in any order of arrival."""

import asyncio
import math
import random
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from threading import Event

import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    Gemma2Config,
    Gemma3TextConfig,
    GemmaConfig,
    GPT2Config,
    GPTNeoXConfig,
    LlamaConfig,
    MistralConfig,
    PreTrainedConfig,
    PreTrainedModel,
    Qwen2Config,
    Qwen3Config,
)
from transformers.activations import ACT2FN

from pacos.core.known_models import KNOWN_MODELS
from pacos.core.models import cached_model
from pacos.engines import Delta, Failure, Reply, Request, RequestFailedError, Sampling
from pacos.engines.local.checkpoint import load_checkpoint
from pacos.engines.local.decode_kernels import DecodeKernels
from pacos.engines.local.engine import LocalEngine
from pacos.engines.local.lean_network import LeanNetwork
from pacos.engines.local.scheduler import MAX_ROWS, STEP_TOKENS
from pacos.engines.local.static_steps import StaticSteps
from tests.engines.door import complete_all

SHAPE = {
    "vocab_size": 400,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 4096,
    "bos_token_id": 0,
    "eos_token_id": 1,
    "pad_token_id": 2,
    "initializer_range": 0.2,
}
GEMMA = SHAPE | {"head_dim": 8, "sliding_window": 16, "query_pre_attn_scalar": 8}
SCALED = {"rope_type": "llama3", "rope_theta": 10000.0, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0}
FAMILIES: dict[str, PreTrainedConfig] = {
    "llama": LlamaConfig(**SHAPE),
    "llama, stretched": LlamaConfig(
        **SHAPE, rope_parameters=SCALED | {"original_max_position_embeddings": 64}, tie_word_embeddings=True
    ),
    "llama with biases": LlamaConfig(**SHAPE, attention_bias=True, mlp_bias=True, head_dim=16),
    "mistral, whose window is short": MistralConfig(**SHAPE, sliding_window=16),
    "qwen2": Qwen2Config(**SHAPE),
    "qwen3": Qwen3Config(**SHAPE, head_dim=16),
    "gemma": GemmaConfig(**SHAPE, head_dim=8),
    "gemma 2": Gemma2Config(**GEMMA, attn_logit_softcapping=5.0, final_logit_softcapping=3.0),
    "gemma 3": Gemma3TextConfig(**GEMMA, layer_types=["sliding_attention", "full_attention", "sliding_attention"]),
    # Heads of 32 are compiled where there is a compiler.
    "llama, compiled": LlamaConfig(**SHAPE, head_dim=32),
    "mistral, compiled": MistralConfig(**SHAPE, head_dim=32, sliding_window=16),
    "qwen3, compiled": Qwen3Config(**SHAPE, head_dim=32),
    "gemma 3, compiled": Gemma3TextConfig(
        **GEMMA | {"head_dim": 64}, layer_types=["sliding_attention", "full_attention", "sliding_attention"]
    ),
    "gpt-2, by its own module": GPT2Config(
        vocab_size=400, n_embd=32, n_layer=2, n_head=4, n_positions=512, bos_token_id=0, eos_token_id=1
    ),
    "gpt-neox, by its own module": GPTNeoXConfig(**{k: v for k, v in SHAPE.items() if k != "num_key_value_heads"}),
}


def made(config: PreTrainedConfig, folder: Path, tokenizer_of: Path) -> Path:
    AutoTokenizer.from_pretrained(tokenizer_of).save_pretrained(folder)
    torch.manual_seed(5)
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    return folder


def generated(model: PreTrainedModel, ids: Sequence[int], max_tokens: int, **options: object) -> list[int]:
    given = torch.tensor([ids])
    output = model.generate(
        given,
        attention_mask=torch.ones_like(given),
        max_new_tokens=max_tokens,
        do_sample=False,
        pad_token_id=2,
        **options,
    )
    return output[0, len(ids) :].tolist()  # type: ignore[no-any-return]


def prompts(count: int, lengths: Sequence[int], seed: int = 1) -> list[tuple[int, ...]]:
    draw = random.Random(seed)
    return [tuple(draw.randrange(3, 400) for _ in range(draw.choice(lengths))) for _ in range(count)]


def request(name: object, ids: Sequence[int], max_tokens: int = 20, **sampling: object) -> Request:
    drawn = {"temperature": 0.0} | sampling
    return Request(str(name), "", Sampling(max_tokens, **drawn), prompt_ids=tuple(ids), logprobs=0)  # type: ignore[arg-type]


def written(answer: Reply | Failure) -> list[int]:
    assert isinstance(answer, Reply), answer
    return [token.id for token in answer.logprobs]


async def arriving(engine: LocalEngine, requests: Sequence[Request], seed: int) -> dict[str, list[int]]:
    """Streams that begin at any time, in any order."""
    draw = random.Random(seed)

    async def one(asked: Request) -> tuple[str, list[int]]:
        await asyncio.sleep(draw.random() * 0.1)
        deltas = [delta async for delta in engine.stream(asked)]
        assert deltas[-1].reply is not None
        return asked.id, written(deltas[-1].reply)

    return dict(await asyncio.gather(*(one(asked) for asked in draw.sample(list(requests), len(requests)))))


@pytest.mark.parametrize("family", FAMILIES)
def test_greedy_is_generates_alone_in_a_full_batch_and_in_any_order(
    family: str, tiny_model: Path, tmp_path: Path
) -> None:
    folder = made(FAMILIES[family], tmp_path, tiny_model)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    asked = [request(n, ids) for n, ids in enumerate(prompts(MAX_ROWS + 5, (1, 2, 7, 31, 32, 33, 64, 65, 100, 300)))]
    expected = {each.id: generated(model, each.prompt_ids, 20) for each in asked}
    engine = LocalEngine(str(folder), precision="fp32")
    together = complete_all(engine, asked)
    assert {name: written(answer) for name, answer in together.items()} == expected
    for each in asked[:3]:
        assert written(complete_all(engine, [each])[each.id]) == expected[each.id]
    assert asyncio.run(arriving(engine, asked, seed=3)) == expected


def test_what_is_compiled_is_used_and_the_same_in_bf16_alone_and_among_others(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = made(LlamaConfig(**SHAPE | {"initializer_range": 0.5}, head_dim=32), tmp_path / "model", tiny_model)
    asked = [request(n, ids, 300) for n, ids in enumerate(prompts(MAX_ROWS, (3, 40, 200)))]
    network = load_checkpoint(str(folder), "bf16").network
    assert isinstance(network, LeanNetwork)
    assert network.kernels is not None
    engine = LocalEngine(str(folder), precision="bf16")
    together = complete_all(engine, asked)
    for each in asked[:3]:
        alone = complete_all(engine, [each])[each.id]
        assert isinstance(alone, Reply)
        assert together[each.id].logprobs == alone.logprobs  # type: ignore[union-attr]
    # Without a compiler the same model still answers.
    monkeypatch.setenv("PATH", str(tmp_path))
    network = load_checkpoint(str(folder), "bf16").network
    assert isinstance(network, LeanNetwork)
    assert network.kernels is None


@pytest.mark.parametrize("activation", ["silu", "gelu_pytorch_tanh"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_compiled_operations_are_torchs(activation: str, dtype: torch.dtype) -> None:
    """Norm and gate over every size of number, and attention over one token, a block's, and several blocks'."""
    heads, kv_heads, dim, tokens = 6, 2, 64, 700
    act = ACT2FN[activation]
    kernels = DecodeKernels.compiled(heads, kv_heads, dim, (64, 128), dtype, act)
    assert kernels is not None
    draw = torch.Generator().manual_seed(2)
    step = 2e-6 if dtype == torch.float32 else 2**-7

    def random(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=draw).to(dtype)

    spread = random(40, 128) * torch.logspace(-3, 2, 40)[:, None].to(dtype)
    weight = random(128)
    expected = torch.nn.functional.rms_norm(spread.float(), (128,), weight.float(), 1e-5)
    torch.testing.assert_close(kernels.norm(weight, 1e-5)(spread).float(), expected, rtol=step, atol=step)
    gated = act(spread[:, :64].float()) * spread[:, 64:].float()
    torch.testing.assert_close(kernels.gate(spread).float(), gated, rtol=step * 2, atol=step * 2)
    for window in (0, 100):
        positions = torch.tensor([0, 1, 99, 255, 256, 257, 512, 699])
        rows = len(positions)
        plane, qkv = random(rows, 2 * kv_heads, tokens, dim), random(rows, heads + 2 * kv_heads, dim)
        angles = torch.rand(rows, dim // 2, generator=draw).repeat(1, 2) * 6
        cos, sin = angles.cos(), angles.sin()
        norm = torch.rand(heads + kv_heads, dim, generator=draw) + 0.5, 1e-6
        seen = torch.empty(rows, heads * dim, dtype=dtype)
        kernels.attend(qkv, plane, positions, (cos, sin), norm, window, 0.2, seen)

        turned = torch.nn.functional.rms_norm(qkv[:, : heads + kv_heads].float(), (dim,), eps=1e-6) * norm[0]
        turned = turned.to(dtype).float()
        swapped = torch.cat((-turned[..., dim // 2 :], turned[..., : dim // 2]), -1)
        turned = turned * cos[:, None] + swapped * sin[:, None]
        for row, position in enumerate(positions.tolist()):
            stored = plane[row, :kv_heads, position].float()
            torch.testing.assert_close(stored, turned[row, heads:], rtol=step, atol=step)
            assert torch.equal(plane[row, kv_heads:, position], qkv[row, heads + kv_heads :])
            first = max(0, position - window + 1) if window else 0
            held = plane[row, :, first : position + 1].float()
            keys, values = held[:kv_heads].repeat_interleave(3, 0), held[kv_heads:].repeat_interleave(3, 0)
            shares = torch.softmax((keys @ turned[row, :heads, :, None])[..., 0] * 0.2, -1)
            expected = (shares[:, None] @ values)[:, 0].flatten()
            torch.testing.assert_close(seen[row].float(), expected, rtol=step * 4, atol=step * 4)


def test_steps_of_a_few_recorded_shapes_say_the_same(llama: Path, model: PreTrainedModel) -> None:
    """As on a GPU, but for the recording: here a replay computes anew, on the same memory."""
    shapes = []

    def record(step: Callable[[], torch.Tensor]) -> tuple[Callable[[], object], torch.Tensor]:
        logits_BV = step().clone()
        shapes.append(len(logits_BV))
        return lambda: logits_BV.copy_(step()), logits_BV

    asked = [request(n, ids, 5 + 9 * (n % 4)) for n, ids in enumerate(prompts(11, (1, 31, 64, 65, 250, 300)))]
    engine = LocalEngine(str(llama), precision="fp32")
    written(complete_all(engine, [asked[0]])["0"])
    network = engine._worker._scheduler._network  # type: ignore[union-attr]
    network.static_steps = StaticSteps(network.step, record)  # type: ignore[attr-defined]
    answers = complete_all(engine, asked)
    for each in asked:
        assert written(answers[each.id]) == generated(model, each.prompt_ids, each.sampling.max_tokens)
    # Eleven rows that become one: few shapes, each recorded once for every place of the cache.
    assert set(shapes) <= {1, 2, 4, 8, 16}
    assert len(shapes) <= 15


def test_adapters_are_heard_beside_their_base(llama: Path, tmp_path: Path) -> None:
    peft = pytest.importorskip("peft")
    tuned = peft.get_peft_model(
        AutoModelForCausalLM.from_pretrained(llama, dtype=torch.float32),
        peft.LoraConfig(r=4, target_modules=["q_proj", "v_proj", "down_proj"], init_lora_weights=False),
    )
    tuned.save_pretrained(tmp_path)
    AutoTokenizer.from_pretrained(llama).save_pretrained(tmp_path)
    asked = [request(n, ids) for n, ids in enumerate(prompts(6, (3, 70)))]
    answers = complete_all(LocalEngine(str(tmp_path), precision="fp32"), asked)
    for each in asked:
        assert written(answers[each.id]) == generated(tuned, each.prompt_ids, 20)
    assert written(answers["0"]) != written(complete_all(LocalEngine(str(llama), precision="fp32"), asked[:1])["0"])


@pytest.fixture(scope="module")
def llama(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made(FAMILIES["llama"], tmp_path_factory.mktemp("llama"), tiny_model)


@pytest.fixture(scope="module")
def model(llama: Path) -> PreTrainedModel:
    return AutoModelForCausalLM.from_pretrained(llama, dtype=torch.float32)


@pytest.fixture
def engine(llama: Path) -> LocalEngine:
    return LocalEngine(str(llama), precision="fp32")


def test_a_prompt_read_before_is_not_read_again_and_changes_nothing(llama: Path, model: PreTrainedModel) -> None:
    engine = LocalEngine(str(llama), precision="fp32")
    head = prompts(1, (200,))[0]
    asked = [request(n, head + tail) for n, tail in enumerate(prompts(40, (5, 40, 90), seed=2))]
    answers = complete_all(engine, asked)
    assert {name: written(answer) for name, answer in answers.items()} == {
        each.id: generated(model, each.prompt_ids, 20) for each in asked
    }
    # All but the first find its beginning, although they came at the same time.
    cached = [answer.usage.cached_tokens for answer in answers.values() if isinstance(answer, Reply)]
    assert sorted(cached)[0] == 0
    assert all(192 <= tokens < 300 for tokens in sorted(cached)[1:])


def test_samples_of_one_prompt_share_its_reading_and_differ(engine: LocalEngine) -> None:
    (ids,) = prompts(1, (130,))
    answers = complete_all(engine, [request(n, ids, temperature=1.0, seed=n) for n in range(8)])
    assert sorted(answer.usage.cached_tokens for answer in answers.values()) == [0] + [128] * 7  # type: ignore[union-attr]
    assert len({tuple(written(answer)) for answer in answers.values()}) == 8


def test_a_long_prompt_holds_up_nobody(llama: Path) -> None:
    steps = 0

    def count(ids_BT: torch.Tensor, logits_BV: torch.Tensor) -> torch.Tensor:
        nonlocal steps
        steps += 1
        return logits_BV

    engine = LocalEngine(str(llama), precision="fp32", logits_hook=count)
    long, short = prompts(2, (3900,))[0], prompts(1, (40,))[0]

    async def both() -> tuple[int, bool]:
        def reading() -> Iterator[Request]:
            yield request("long", long, max_tokens=2)

        answers = engine.complete(reading())
        pending = asyncio.ensure_future(anext(answers))
        await asyncio.sleep(0)
        async for _ in engine.stream(request("short", short, max_tokens=6)):
            pass
        was_still_reading = not pending.done()
        await pending
        return steps, was_still_reading

    most, was_still_reading = asyncio.run(both())
    # 3,900 tokens take 16 steps at the least, and the six tokens of the short reply came beside them.
    assert 3900 / STEP_TOKENS > 15
    assert was_still_reading
    assert most <= 8


@pytest.mark.parametrize("sampling", [Sampling(0, 0.0), Sampling(0, 1.0), Sampling(5, 0.0)], ids=repr)
def test_log_probabilities_of_prompt_and_reply_are_the_models_own(
    sampling: Sampling, engine: LocalEngine, model: PreTrainedModel
) -> None:
    (ids,) = prompts(1, (150,), seed=4)
    asked = Request("e", "", sampling, prompt_ids=ids, logprobs=3, echo=True)
    # Found beginnings must not cost an echo its logits.
    complete_all(engine, [request("before", ids)])
    reply = complete_all(engine, [asked])["e"]
    assert isinstance(reply, Reply)
    whole = [*ids, *(token.id for token in reply.logprobs)]
    assert len(whole) == len(ids) + sampling.max_tokens
    with torch.inference_mode():
        expected = torch.log_softmax(model(torch.tensor([whole])).logits[0].float(), -1)
    told = [*reply.prompt_logprobs, *reply.logprobs]
    assert told[0].logprob is None
    for place, token in enumerate(told[1:]):
        assert token.id == whole[place + 1]
        assert token.logprob == pytest.approx(float(expected[place, token.id]), abs=1e-4)
        assert [other for other, _, _ in token.top] == expected[place].topk(3).indices.tolist()
    for token in reply.logprobs:
        # Greedy: its own value is the greatest, to the bit.
        assert token.logprob == token.top[0][2]


@pytest.mark.parametrize("penalty", [1.3, 0.8])
def test_a_repetition_penalty_is_transformers(penalty: float, engine: LocalEngine, model: PreTrainedModel) -> None:
    asked = [request(n, ids, repetition_penalty=penalty) for n, ids in enumerate(prompts(6, (3, 40)))]
    answers = complete_all(engine, asked)
    for each in asked:
        expected = generated(model, each.prompt_ids, 20, repetition_penalty=penalty)
        assert written(answers[each.id]) == expected


def fixed(probabilities: Sequence[float]) -> object:
    """A hook under which the first tokens have these probabilities, whatever was read."""

    def hook(ids_BT: torch.Tensor, logits_BV: torch.Tensor) -> torch.Tensor:
        row_V = torch.full(logits_BV.shape[1:], -1e9)
        row_V[10 : 10 + len(probabilities)] = torch.tensor(probabilities).log()
        return row_V.expand_as(logits_BV).clone()

    return hook


@pytest.mark.parametrize(
    ("cut", "left"),
    [
        ({"top_k": 2}, [0.625, 0.375]),
        ({"min_p": 0.25}, [0.526, 0.316, 0.158]),
        ({"min_p": 0.25, "top_p": 0.6}, [0.625, 0.375]),
        ({"top_k": 3, "top_p": 0.5}, [1.0]),
        ({"top_k": 1}, [1.0]),
        ({}, [0.5, 0.3, 0.15, 0.05]),
    ],
)
def test_what_top_k_and_min_p_leave_is_sampled_in_its_own_shares(
    cut: dict[str, float], left: list[float], llama: Path
) -> None:
    engine = LocalEngine(str(llama), precision="fp32", logits_hook=fixed([0.5, 0.3, 0.15, 0.05]))  # type: ignore[arg-type]
    asked = [request(n, (5,), max_tokens=100, temperature=1.0, seed=n, **cut) for n in range(20)]
    tokens = [token for answer in complete_all(engine, asked).values() for token in written(answer)]
    shares = [tokens.count(10 + place) / len(tokens) for place in range(4)]
    assert shares == pytest.approx([*left, *[0.0] * (4 - len(left))], abs=0.05)


def test_openais_penalties_count_what_was_written_and_not_the_prompt(llama: Path) -> None:
    engine = LocalEngine(str(llama), precision="fp32")
    ids = (10, 11, 12)
    # Greedy loops soon in so small a model; a token that was written once is then never the likeliest again.
    (free,) = complete_all(engine, [request("free", ids, max_tokens=60)]).values()
    (present,) = complete_all(engine, [request("p", ids, max_tokens=60, presence_penalty=1e6)]).values()
    (frequent,) = complete_all(engine, [request("f", ids, max_tokens=60, frequency_penalty=1e6)]).values()
    assert len(set(written(free))) < len(written(free))
    assert len(set(written(present))) == len(written(present))
    assert written(present)[0] == written(free)[0]
    assert written(frequent)[:30] == written(present)[:30]


def test_one_rows_hook_is_its_own_and_a_bad_one_harms_nobody(engine: LocalEngine, model: PreTrainedModel) -> None:
    def not_numbers(ids_BT: torch.Tensor, logits_BV: torch.Tensor) -> torch.Tensor:
        return torch.full_like(logits_BV, math.nan)

    def too_narrow(ids_BT: torch.Tensor, logits_BV: torch.Tensor) -> torch.Tensor:
        return logits_BV[:, :-1]

    def raises(ids_BT: torch.Tensor, logits_BV: torch.Tensor) -> torch.Tensor:
        raise RuntimeError("no mark today")

    def always_seven(ids_BT: torch.Tensor, logits_BV: torch.Tensor) -> torch.Tensor:
        assert ids_BT.shape[0] == logits_BV.shape[0]
        return torch.nn.functional.one_hot(torch.full((len(logits_BV),), 7), logits_BV.shape[1]).float()

    hooks = {"nan": not_numbers, "narrow": too_narrow, "raises": raises, "seven": always_seven}
    good = [request(n, ids) for n, ids in enumerate(prompts(5, (3, 70)))]
    sampling = Sampling(20, temperature=0.0)
    bad = [Request(name, "", sampling, prompt_ids=(9, 8), logprobs=0, logits_hook=hook) for name, hook in hooks.items()]
    answers = complete_all(engine, [*good[:2], *bad, *good[2:]])
    for each in good:
        assert written(answers[each.id]) == generated(model, each.prompt_ids, 20)
    assert written(answers["seven"]) == [7] * 20
    said = {name: answers[name].message for name in ("nan", "narrow", "raises")}  # type: ignore[union-attr]
    assert "not finite" in said["nan"]
    assert "[1, 399], not logits [1, 400]" in said["narrow"]
    assert "RuntimeError: no mark today" in said["raises"]


@pytest.mark.parametrize(
    ("asked", "kind", "said"),
    [
        (Request("x", "", Sampling(5), prompt_ids=(3, 400)), "bad_request", "token id 400 at place 1 of the prompt"),
        (Request("x", "", Sampling(5), prompt_ids=(-1,)), "bad_request", "token id -1"),
        (Request("x", "", Sampling(5)), "bad_request", "the prompt is empty"),
        (Request("x", "", Sampling(5), prompt_ids=(5,) * 4096), "context_length", "the checkpoint holds 4,096"),
    ],
)
def test_a_request_that_cannot_be_answered_is_said_on_both_doors(
    asked: Request, kind: str, said: str, engine: LocalEngine, model: PreTrainedModel
) -> None:
    good = request("good", (5, 6, 7))
    answers = complete_all(engine, [asked, good])
    refused = answers["x"]
    assert isinstance(refused, Failure)
    assert refused.kind == kind
    assert said in refused.message
    assert written(answers["good"]) == generated(model, (5, 6, 7), 20)

    async def streamed() -> list[Delta]:
        return [delta async for delta in engine.stream(asked)]

    with pytest.raises(RequestFailedError, match="local:") as raised:
        asyncio.run(streamed())
    assert raised.value.failure.kind == kind


def test_closing_tells_those_who_wait_and_lets_the_weights_go(llama: Path) -> None:
    engine = LocalEngine(str(llama), precision="fp32")

    async def wait(name: str) -> None:
        async for _ in engine.stream(request(name, (5,), max_tokens=3000)):
            pass

    async def close_early() -> list[object]:
        waiting = [asyncio.create_task(wait(str(n))) for n in range(MAX_ROWS + 3)]
        while not engine.tokens_written:
            await asyncio.sleep(0.01)
        await engine.close()
        return await asyncio.wait_for(asyncio.gather(*waiting, return_exceptions=True), 20)

    ends = asyncio.run(close_early())
    assert all("was closed" in str(end) for end in ends)
    written_before = engine.tokens_written
    assert written_before > 0
    # It opens again for the next request.
    assert len(written(complete_all(engine, [request("again", (5,))])["again"])) == 20
    assert engine.tokens_written == written_before + 20


def test_a_thread_that_ends_late_takes_nothing_from_the_next(llama: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pacos.engines.local.engine.CLOSING_SECONDS", 0.1)
    reached, go_on = Event(), Event()

    def hook(ids_BT: torch.Tensor, logits_BV: torch.Tensor) -> torch.Tensor:
        if not go_on.is_set() and not reached.is_set():
            reached.set()
            go_on.wait(20)
        return logits_BV

    engine = LocalEngine(str(llama), precision="fp32", logits_hook=hook)

    async def close_in_a_step() -> object:
        late = asyncio.create_task(anext(engine.complete([request("late", (5,))])))
        await asyncio.to_thread(reached.wait, 20)
        await engine.close()
        (answer,) = [answer async for answer in engine.complete([request("next", (5,))])]
        assert len(written(answer)) == 20
        go_on.set()
        return (await asyncio.wait_for(asyncio.gather(late, return_exceptions=True), 20))[0]

    assert "was closed" in str(asyncio.run(close_in_a_step()))
    assert engine.tokens_written >= 20


def test_a_stop_string_of_ten_thousand_characters_is_only_a_stop_string(
    engine: LocalEngine, model: PreTrainedModel
) -> None:
    answers = complete_all(engine, [request("s", (5, 6, 7), stop=("x" * 10_000,))])
    assert written(answers["s"]) == generated(model, (5, 6, 7), 20)


def test_a_reply_longer_than_the_memory_is_refused_with_the_arithmetic(
    llama: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pacos.engines.local.worker.cache_budget", lambda device: 400_000)
    engine = LocalEngine(str(llama), precision="fp32")
    # Three layers of two key heads, keys and values, 8 numbers of 4 bytes: 384 bytes a token.
    answers = complete_all(engine, [request("long", (5,), max_tokens=2000), request("short", (5,), max_tokens=30)])
    refused = answers["long"]
    assert isinstance(refused, Failure)
    assert "2,001 x 384 bytes" in refused.message
    assert len(written(answers["short"])) == 30
    # Many that fit one by one wait for each other.
    many = complete_all(engine, [request(n, (5,), max_tokens=300) for n in range(10)])
    assert all(isinstance(answer, Reply) for answer in many.values())


REAL = [name for name in KNOWN_MODELS if cached_model(name).is_dir()]


@pytest.mark.parametrize("name", REAL)
def test_a_real_model_says_in_a_batch_what_it_says_alone(name: str) -> None:
    engine = LocalEngine(name)
    texts = ["The capital of France is", "Once upon a time", "One, two, three, four,", "Water boils at"] * 5
    asked = [Request(str(n), text, Sampling(12, temperature=0.0), logprobs=0) for n, text in enumerate(texts)]
    together = complete_all(engine, asked)
    for each in asked[:4]:
        alone = complete_all(engine, [each])[each.id]
        assert isinstance(alone, Reply)
        # To the bit: what a row is summed to does not depend on who shares its batch, in bf16 as well.
        for number in range(int(each.id), len(asked), 4):
            assert together[str(number)].logprobs == alone.logprobs  # type: ignore[union-attr]
    asyncio.run(engine.close())
    assert all("five, six, seven" in together[str(n)].text for n in range(2, 20, 4))  # type: ignore[union-attr]
