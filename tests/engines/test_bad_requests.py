"""What no reply can be made of is one line for its own request, and its neighbours do not notice."""

import asyncio
import contextlib
import json
import math
import shutil
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoTokenizer

from pacos.core.errors import PacosError
from pacos.engines import Failure, Message, Reply, Request, Sampling, open_engine
from pacos.engines.local.engine import LocalEngine
from tests.engines.door import complete_all

NEIGHBOURS = [
    Request("greedy", "the quick", Sampling(20, temperature=0.0)),
    Request("sampled", "the fox", Sampling(20, seed=3)),
    Request("cut", "the fox", Sampling(20, seed=3, top_p=0.9)),
]


@pytest.fixture(scope="module")
def engine(tiny_model: Path) -> LocalEngine:
    return LocalEngine(str(tiny_model), precision="fp32")


def failure_of(engine: LocalEngine, asked: Request) -> Failure:
    """What is said to a request whose neighbours must answer as they do without it."""
    expected = complete_all(engine, NEIGHBOURS)
    answers = complete_all(engine, [NEIGHBOURS[0], asked, *NEIGHBOURS[1:]])
    for neighbour in NEIGHBOURS:
        assert answers[neighbour.id].text == expected[neighbour.id].text  # type: ignore[union-attr]
    failure = answers[asked.id]
    assert isinstance(failure, Failure), failure
    assert len(failure.message.splitlines()) == 1
    assert len(failure.message) < 400
    return failure


@pytest.mark.parametrize(
    ("name", "value"),
    [(name, value) for name in ("temperature", "top_p", "min_p") for value in (math.nan, math.inf, -0.5)]
    + [(name, value) for name in ("presence_penalty", "frequency_penalty") for value in (math.nan, -math.inf, 1e30)]
    + [("repetition_penalty", value) for value in (math.nan, 0.0, -1.0)]
    + [("top_p", 1.5), ("min_p", 2.0), ("top_k", -1), ("max_tokens", -1), ("max_tokens", -(10**9)), ("stop", (5,))],
)
def test_a_number_that_means_nothing(engine: LocalEngine, name: str, value: float) -> None:
    sampling = Sampling(**{"max_tokens": 20, name: value})  # type: ignore[arg-type]
    failure = failure_of(engine, Request("x", "the", sampling))
    assert failure.kind == "bad_request"
    assert f"{name} is {value}; expected" in failure.message


@pytest.mark.parametrize("count", [-1, 101, 10**6])
@pytest.mark.parametrize("echo", [False, True])
def test_more_likeliest_tokens_than_are_told(engine: LocalEngine, count: int, echo: bool) -> None:
    asked = Request("x", "the", Sampling(20), logprobs=count, echo=echo)
    assert f"logprobs is {count}; expected 0 to 100" in failure_of(engine, asked).message


@pytest.mark.parametrize(
    "sampling",
    [
        Sampling(20, top_k=2**70),
        Sampling(20, top_k=2**70, top_p=0.5),
        Sampling(20, temperature=1e-320),
        Sampling(20, top_p=0.0),
        Sampling(20, seed=2**70),
        Sampling(20, seed=-(2**70)),
        Sampling(2**70, temperature=0.0),
    ],
    ids=repr,
)
def test_a_large_or_small_number_that_still_means_something(engine: LocalEngine, sampling: Sampling) -> None:
    assert isinstance(complete_all(engine, [*NEIGHBOURS, Request("x", "the", sampling)])["x"], Reply)


def exits(ids_BT: torch.Tensor, logits_BV: torch.Tensor) -> torch.Tensor:
    raise SystemExit(3)


def speaks_in_lines(ids_BT: torch.Tensor, logits_BV: torch.Tensor) -> torch.Tensor:
    raise RuntimeError("one\ntwo\n" * 300)


HOOKS: dict[str, tuple[Callable[[torch.Tensor, torch.Tensor], torch.Tensor], str]] = {
    "exits": (exits, "raised SystemExit: 3"),
    "speaks in lines": (speaks_in_lines, "raised RuntimeError: one two one two"),
    "sparse": (lambda ids, logits: logits.to_sparse(), "raised"),
    "without data": (lambda ids, logits: torch.empty_like(logits, device="meta"), "raised"),
    "complex": (lambda ids, logits: logits.to(torch.complex64), "returned torch.complex64"),
    "what it was given, resized": (lambda ids, logits: logits.resize_(1, 1), "returned [1, 1], not logits"),
    "no tensor": (lambda ids, logits: logits.numpy(), "returned ndarray"),
}


@pytest.mark.parametrize("name", HOOKS)
def test_a_hook_that_gives_what_no_logits_are(engine: LocalEngine, name: str) -> None:
    hook, said = HOOKS[name]
    assert said in failure_of(engine, Request("x", "the", Sampling(20), logits_hook=hook)).message


@pytest.mark.parametrize("dtype", [torch.float16, torch.float64, torch.int64])
def test_a_hooks_numbers_may_be_of_any_real_kind(engine: LocalEngine, dtype: torch.dtype) -> None:
    def only_seven(ids_BT: torch.Tensor, logits_BV: torch.Tensor) -> torch.Tensor:
        one = torch.zeros(1, 1, dtype=dtype).expand(len(logits_BV), logits_BV.shape[1]).clone()
        one[:, 7] = 100
        return one

    asked = Request("x", "the", Sampling(5, temperature=0.0), logprobs=0, logits_hook=only_seven)
    reply = complete_all(engine, [*NEIGHBOURS, asked])["x"]
    assert isinstance(reply, Reply)
    assert [token.id for token in reply.logprobs] == [7] * 5


@pytest.mark.parametrize(
    ("prompt", "ids", "said"),
    [
        ("a\ud800b", (), "character 1 of the prompt, '\\ud800', is half a surrogate pair"),
        ("", (1.5,), "'float' object cannot be interpreted as an integer"),
        ("", ("a",), "'str' object cannot be interpreted as an integer"),
        (None, (), "the request cannot be read"),
    ],
)
def test_a_prompt_that_cannot_be_read(engine: LocalEngine, prompt: str, ids: tuple[int, ...], said: str) -> None:
    assert said in failure_of(engine, Request("x", prompt, Sampling(5), prompt_ids=ids)).message


def copy_of(tiny_model: Path, folder: Path) -> Path:
    shutil.copytree(tiny_model, folder / "model")
    return folder / "model"


def test_a_template_that_refuses_a_chat_refuses_that_one_alone(tiny_model: Path, tmp_path: Path) -> None:
    folder = copy_of(tiny_model, tmp_path)
    template = "{% if messages|length > 1 %}{{ raise_exception('one turn\nonly') }}{% endif %}{{ messages[0].content }}"
    (folder / "chat_template.jinja").write_text(template)
    turns = (Message("user", "the"), Message("assistant", "fox"))
    failure = failure_of(LocalEngine(str(folder), precision="fp32"), Request("x", turns, Sampling(5)))
    assert "one turn only" in failure.message


def test_a_token_that_the_tokenizer_knows_and_the_model_does_not(tiny_model: Path, tmp_path: Path) -> None:
    folder = copy_of(tiny_model, tmp_path)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.add_tokens(["unheard"])
    tokenizer.save_pretrained(folder)
    failure = failure_of(LocalEngine(str(folder), precision="fp32"), Request("x", "so unheard", Sampling(5)))
    assert f"token id {len(tokenizer) - 1}" in failure.message


def without(name: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        tensors = load_file(folder / "model.safetensors")
        del tensors[name]
        save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})

    return change


def with_config(**values: object) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps(config | values))

    return change


def with_file(name: str, content: str, instead_of: str | None = None) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        (folder / (instead_of or name)).unlink()
        (folder / name).write_text(content)

    return change


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (without("model.layers.1.mlp.up_proj.weight"), "lack model.layers.1.mlp.up_proj.weight"),
        (with_config(num_hidden_layers=3), "lack model.layers.2"),
        (with_config(num_attention_heads=0), "zero"),
        (with_config(num_attention_heads=3), "not a multiple"),
        (with_config(num_hidden_layers="two"), "expected int"),
        (with_config(quantization_config={"quant_method": "gptq", "bits": 4}), "optimum"),
        (with_file("pytorch_model.bin", "x" * 50, instead_of="model.safetensors"), "Weights only load failed"),
        (with_file("tokenizer_config.json", "null"), "NoneType"),
        (with_file("tokenizer.json", "null"), "NoneType"),
    ],
)
def test_a_damaged_checkpoint_is_one_line(
    tiny_model: Path, tmp_path: Path, change: Callable[[Path], None], said: str
) -> None:
    folder = copy_of(tiny_model, tmp_path)
    change(folder)
    with pytest.raises(PacosError, match="not a checkpoint that can be loaded") as raised:
        complete_all(open_engine(f"local:{folder}"), NEIGHBOURS)
    assert said in str(raised.value)
    assert len(str(raised.value).splitlines()) == 1


def test_checkpoints_that_are_loaded_at_the_same_time_are_whole(engine: LocalEngine, tiny_model: Path) -> None:
    """Its head is its embedding, which the library ties after it has read both."""
    expected = complete_all(engine, NEIGHBOURS)["greedy"]
    answers: list[Reply | Failure] = []

    def load_and_ask() -> None:
        answers.append(complete_all(LocalEngine(str(tiny_model), precision="fp32"), NEIGHBOURS)["greedy"])

    for _ in range(3):
        threads = [threading.Thread(target=load_and_ask) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
    assert [answer.text for answer in answers] == [expected.text] * 9  # type: ignore[union-attr]


def test_a_damaged_checkpoint_is_read_once_for_all_in_line(
    tiny_model: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = copy_of(tiny_model, tmp_path)
    without("model.norm.weight")(folder)
    engine = LocalEngine(str(folder))

    async def ask_all() -> None:
        try:
            async for _ in engine.complete(NEIGHBOURS * 10):
                pass
        finally:
            await engine.close()

    with pytest.raises(PacosError, match=r"lack model\.norm\.weight"):
        asyncio.run(ask_all())
    # The library says it once for every time that it loads.
    assert sum("LOAD REPORT" in record.getMessage() for record in caplog.records) == 1


def test_callers_of_many_loops_who_open_and_close_are_all_told(tiny_model: Path) -> None:
    engine = LocalEngine(str(tiny_model), precision="fp32")
    ends: list[str] = []
    begin = threading.Barrier(6)

    async def ask(number: int) -> None:
        for turn in range(6):
            with contextlib.suppress(PacosError):
                answers = engine.complete([Request(f"{number}-{turn}", "the", Sampling(5))])
                ends.extend([answer.id async for answer in answers])
            if number < 2:
                await engine.close()

    def caller(number: int) -> None:
        begin.wait()
        asyncio.run(asyncio.wait_for(ask(number), 60))
        ends.append(f"{number} is done")

    threads = [threading.Thread(target=caller, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(90)
    assert {f"{number} is done" for number in range(6)} <= set(ends)
