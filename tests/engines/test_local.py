"""The local engine against transformers' own generate, and the promises of its streams."""

import asyncio
import time
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    PreTrainedTokenizerBase,
)

from pacos.core.errors import PacosError
from pacos.core.prompts import render_prompt
from pacos.engines import Delta, Failure, Message, Reply, Request, Sampling, open_engine
from pacos.engines.local.engine import LocalEngine
from pacos.engines.local.text import ReplyText
from tests.engines.door import complete_all

PROMPTS = [
    "the quick",
    "a",
    "dogs and foxes read a response over the lazy fox " * 3,
    "brown fox jumps",
    "x y z the the the dog",
    "the quick brown",
    "it reads",
]


@pytest.fixture(scope="module")
def engine(tiny_model: Path) -> LocalEngine:
    return LocalEngine(str(tiny_model), precision="fp32")


def ask(engine: LocalEngine, prompts: list[str], **sampling: object) -> list[Reply]:
    requests = [
        Request(str(i), prompt, Sampling(**{"max_tokens": 24, "temperature": 0.0, **sampling}))
        for i, prompt in enumerate(prompts)
    ]
    answers = complete_all(engine, requests)
    replies = [answers[request.id] for request in requests]
    assert all(isinstance(reply, Reply) for reply in replies), replies
    return replies


async def streamed(engine: LocalEngine, request: Request) -> list[Delta]:
    return [delta async for delta in engine.stream(request)]


def generated(folder: Path, prompt: str, max_tokens: int) -> list[int]:
    """transformers' own greedy reply, alone and without padding."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    ids = torch.tensor([tokenizer(prompt)["input_ids"]])
    output = model.generate(ids, max_new_tokens=max_tokens, do_sample=False, pad_token_id=tokenizer.pad_token_id)
    return output[0, ids.shape[1] :].tolist()


class Recorder:
    """A logits hook that keeps the longest ids it saw, and lets a chosen token win when asked."""

    def __init__(self) -> None:
        self.shapes: list[tuple[int, int]] = []

    def __call__(self, input_ids_BT: torch.Tensor, logits_BV: torch.Tensor) -> torch.Tensor:
        self.shapes.append((len(input_ids_BT), len(logits_BV)))
        return logits_BV


def test_greedy_batch_is_generates_greedy_token_for_token(tiny_model: Path, engine: LocalEngine) -> None:
    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    for prompt, reply in zip(PROMPTS, ask(engine, PROMPTS), strict=True):
        expected = generated(tiny_model, prompt, 24)
        whole = tokenizer.decode(tokenizer(prompt)["input_ids"] + expected, skip_special_tokens=True)
        assert reply.usage.completion_tokens == len(expected)
        assert prompt + reply.text == whole


def test_rows_that_end_early_leave_the_batch_and_disturb_none(tiny_model: Path) -> None:
    recorder = Recorder()
    engine = LocalEngine(str(tiny_model), logits_hook=recorder, precision="fp32")
    requests = [
        Request(str(i), prompt, Sampling(max_tokens=3 + 5 * (i % 4), temperature=0.0))
        for i, prompt in enumerate(PROMPTS)
    ]
    answers = complete_all(engine, requests)
    for request in requests:
        reply = answers[request.id]
        assert isinstance(reply, Reply)
        alone = complete_all(engine, [request])[request.id]
        assert isinstance(alone, Reply)
        assert (reply.text, reply.finish_reason) == (alone.text, "length")
        assert reply.usage.completion_tokens == request.sampling.max_tokens
    rows = [rows for rows, _ in recorder.shapes]
    assert rows[0] == len(PROMPTS)
    assert rows[17] == 1
    assert all(ids == logits for ids, logits in recorder.shapes)


@pytest.mark.parametrize("top_p", [1.0, 0.8])
def test_a_seeded_reply_does_not_depend_on_its_batch_mates(engine: LocalEngine, top_p: float) -> None:
    def sampled(prompts: list[str], seed: int) -> list[str]:
        requests = [
            Request(p, p, Sampling(max_tokens=20, temperature=0.9, top_p=top_p, seed=seed + len(p))) for p in prompts
        ]
        answers = complete_all(engine, requests)
        return [answers[p].text for p in prompts]  # type: ignore[union-attr]

    together = sampled(PROMPTS, 7)
    assert together == [sampled([prompt], 7)[0] for prompt in PROMPTS]
    assert together != sampled(PROMPTS, 8)


def test_sampling_follows_the_models_probabilities_within_the_nucleus(tiny_model: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    wanted = torch.full((len(tokenizer),), -1e9)
    wanted[torch.tensor([70, 71, 72, 73])] = torch.tensor([0.5, 0.3, 0.15, 0.05]).log()
    engine = LocalEngine(str(tiny_model), logits_hook=lambda ids, logits: wanted.expand_as(logits), precision="fp32")
    letters = [tokenizer.decode([i]) for i in (70, 71, 72, 73)]

    def shares(**sampling: float) -> list[float]:
        requests = [Request(str(i), "a", Sampling(max_tokens=100, seed=i, **sampling)) for i in range(20)]
        text = "".join(reply.text for reply in complete_all(engine, requests).values())  # type: ignore[union-attr]
        assert len(text) == 2000
        return [text.count(letter) / len(text) for letter in letters]

    assert shares(temperature=1.0) == pytest.approx([0.5, 0.3, 0.15, 0.05], abs=0.05)
    assert shares(temperature=1.0, top_p=0.7) == pytest.approx([0.625, 0.375, 0, 0], abs=0.05)


def test_temperature_divides_the_logits_before_the_hook_sees_them(tiny_model: Path) -> None:
    seen: list[torch.Tensor] = []

    def watch(ids_BT: torch.Tensor, logits_BV: torch.Tensor) -> torch.Tensor:
        seen.append(logits_BV.clone())
        return logits_BV

    engine = LocalEngine(str(tiny_model), logits_hook=watch, precision="fp32")
    for temperature in (1.0, 0.5):
        complete_all(engine, [Request("a", "the quick", Sampling(max_tokens=1, temperature=temperature))])
    torch.testing.assert_close(seen[1], seen[0] * 2)


def test_end_of_text_ends_a_reply_and_is_not_in_it(tiny_model: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(tiny_model)

    def end_after_three(ids: torch.Tensor, logits: torch.Tensor) -> torch.Tensor:
        if (ids[0, -3:] == 70).all():
            logits = logits.clone()
            logits[:, tokenizer.eos_token_id] = 1e9
            return logits
        return torch.nn.functional.one_hot(torch.full((len(logits),), 70), logits.shape[1]).float()

    engine = LocalEngine(str(tiny_model), logits_hook=end_after_three, precision="fp32")
    (reply,) = ask(engine, ["the"])
    assert reply.finish_reason == "stop"
    assert reply.text == tokenizer.decode([70]) * 3
    assert reply.usage.completion_tokens == 4


def test_stop_strings_cut_the_reply_and_a_stream_never_shows_their_beginning(engine: LocalEngine) -> None:
    (full,) = ask(engine, ["the quick"])
    stop = full.text[4:7]
    expected = full.text[: full.text.index(stop)]
    (cut,) = ask(engine, ["the quick"], stop=(stop, "never there"))
    assert (cut.text, cut.finish_reason) == (expected, "stop")
    sampling = Sampling(max_tokens=24, temperature=0.0, stop=(stop, "never there"))
    deltas = asyncio.run(streamed(engine, Request("s", "the quick", sampling)))
    assert "".join(delta.text for delta in deltas) == expected
    assert deltas[-1].reply is not None
    assert (deltas[-1].reply.text, deltas[-1].reply.finish_reason) == (expected, "stop")


@pytest.fixture(scope="module")
def tokenizer(tiny_model: Path) -> PreTrainedTokenizerBase:
    return AutoTokenizer.from_pretrained(tiny_model)


@settings(max_examples=60, deadline=None)
@given(text=st.text(max_size=30), stop=st.lists(st.text(min_size=1, max_size=3), max_size=3))
def test_pieces_hold_whole_characters_and_end_before_the_first_stop(
    tokenizer: PreTrainedTokenizerBase, text: str, stop: list[str]
) -> None:
    prompt_ids = tokenizer("Ünïcode 🦙 prompt:")["input_ids"]
    reply = ReplyText(tokenizer, prompt_ids, tuple(stop))
    pieces = []
    for token in tokenizer(text, split_special_tokens=True)["input_ids"]:
        pieces.append(reply.add([token]))
        if reply.stopped:
            break
    pieces.append(reply.end())
    first = min((place for s in stop if (place := text.find(s)) >= 0), default=len(text))
    if "\N{REPLACEMENT CHARACTER}" not in text:
        assert not any("\N{REPLACEMENT CHARACTER}" in piece for piece in pieces)
    assert "".join(pieces) == reply.text == text[:first]


@settings(max_examples=60, deadline=None)
@given(text=st.text(min_size=1, max_size=12, alphabet="aé漢字🦙 👩\u200d🚀"), cut=st.integers(0, 40))
def test_a_reply_cut_inside_a_character_ends_before_it(tokenizer: PreTrainedTokenizerBase, text: str, cut: int) -> None:
    ids = tokenizer(text)["input_ids"][: cut + 1]
    reply = ReplyText(tokenizer, tokenizer("prompt")["input_ids"])
    reply.add(ids)
    reply.end()
    assert text.startswith(reply.text)
    assert len(tokenizer(reply.text)["input_ids"]) >= len(ids) - 3


def test_closing_a_stream_frees_the_engine_within_a_token(tiny_model: Path) -> None:
    steps = 0

    def slow(ids: torch.Tensor, logits: torch.Tensor) -> torch.Tensor:
        nonlocal steps
        steps += 1
        time.sleep(0.02)
        return torch.nn.functional.one_hot(torch.full((len(logits),), 70), logits.shape[1]).float()

    engine = LocalEngine(str(tiny_model), logits_hook=slow, precision="fp32")

    async def take_two() -> tuple[int, Delta]:
        stream = engine.stream(Request("a", "the", Sampling(max_tokens=400, temperature=0.0)))
        await anext(stream)
        await anext(stream)
        await stream.aclose()  # type: ignore[attr-defined]
        seen = steps
        short = Request("b", "the", Sampling(max_tokens=2, temperature=0.0))
        last = [delta async for delta in engine.stream(short)][-1]
        return steps - seen - 2, last

    more_steps, last = asyncio.run(take_two())
    assert more_steps <= 1
    assert last.reply is not None


def test_streams_and_batches_at_once_do_not_disturb_each_other(engine: LocalEngine) -> None:
    expected = [reply.text for reply in ask(engine, PROMPTS)]
    requests = [Request(str(i), p, Sampling(max_tokens=24, temperature=0.0)) for i, p in enumerate(PROMPTS)]

    async def both() -> tuple[list[list[Delta]], dict[str, str]]:
        async def batch() -> dict[str, str]:
            return {reply.id: reply.text async for reply in engine.complete(requests)}  # type: ignore[union-attr]

        streams = [asyncio.create_task(streamed(engine, request)) for request in requests]
        together = await batch()
        return [await stream for stream in streams], together

    streams, together = asyncio.run(both())
    assert ["".join(delta.text for delta in deltas) for deltas in streams] == expected
    assert [together[str(i)] for i in range(len(PROMPTS))] == expected


def test_a_chat_goes_through_the_tokenizers_template(tiny_model: Path, tmp_path: Path, engine: LocalEngine) -> None:
    chat = (Message("user", "the dog"),)
    request = Request("c", chat, Sampling(max_tokens=8, temperature=0.0))
    refused = complete_all(engine, [request])["c"]
    assert isinstance(refused, Failure)
    assert refused.kind == "bad_request"

    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    tokenizer.chat_template = "{% for m in messages %}[{{ m.content }}]{% endfor %}:"
    tokenizer.save_pretrained(tmp_path)
    AutoConfig.from_pretrained(tiny_model).save_pretrained(tmp_path)
    AutoModelForCausalLM.from_pretrained(tiny_model).save_pretrained(tmp_path)
    templated = LocalEngine(str(tmp_path), precision="fp32")
    (raw,) = ask(templated, ["[the dog]:"], max_tokens=8)
    reply = complete_all(templated, [request])["c"]
    assert isinstance(reply, Reply)
    assert reply.text == raw.text


def test_what_cannot_be_answered_is_said_and_the_rest_is_answered(engine: LocalEngine) -> None:
    sampling = Sampling(max_tokens=1000, temperature=0.0)
    requests = [Request("long", "the quick brown fox " * 400, sampling), Request("fits", render_prompt("x"), sampling)]
    answers = complete_all(engine, requests)
    assert isinstance(answers["long"], Failure)
    assert "shorten the prompt" in answers["long"].message
    fits = answers["fits"]
    assert isinstance(fits, Reply)
    assert fits.usage.prompt_tokens + fits.usage.completion_tokens <= 512


def test_a_missing_checkpoint_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(PacosError, match="no such model folder"):
        open_engine(f"local:{tmp_path / 'nothing'}")
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(PacosError, match="not a checkpoint that can be loaded"):
        complete_all(open_engine(f"local:{tmp_path}"), [Request("a", "b", Sampling(max_tokens=1))])
