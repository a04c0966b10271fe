"""Log-likelihoods: those of transformers' own forward pass, the same through a server, and said where none are."""

import json
import math
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from pacos.core.prompts import render_prompt
from pacos.core.recipe import EngineTable, Recipe
from pacos.evaluate.candidates import Candidate
from pacos.evaluate.likelihood import Passage, likelihoods, passage_ids
from pacos.evaluate.perplexity import pieces_of
from pacos.evaluate.report import EvaluateReport
from tests.servers.openai_server import OpenAIServer

MakeRecipe = Callable[..., Recipe]
EvaluateIn = Callable[[Recipe], EvaluateReport]
TEXT = "the quick brown fox jumps over the lazy dog\nand reads a response, 12 times; naïve as it is. " * 30
QUESTIONS = [
    {"question": "What reads a response?", "choices": ["the dog", "the quick brown fox", "a", "no"], "answer": 1},
    {"question": "How often?", "choices": ["12 times", "never"], "answer": 0, "topic": "counts"},
]


@pytest.fixture
def in_fp32(monkeypatch: pytest.MonkeyPatch) -> None:
    """Checkpoints are computed as `by_forward` does, on a CPU that would do it in bf16, too."""
    monkeypatch.setattr("pacos.engines.local.device.cpu_multiplies_bf16", lambda: False)


@contextmanager
def serving(folder: Path, model: Path) -> Iterator[str]:
    """A pacos server of the model, and its /v1."""
    command = [sys.executable, "-m", "pacos", "serve", "--model", str(model), "serve.port=0"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=folder, env=environment) as process:
        try:
            assert process.stdout
            lines = iter(process.stdout.readline, "")
            address = next(line.partition(" at ")[2].split()[0] for line in lines if " at http" in line)
            yield f"{address}/v1"
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(timeout=30)


def local(path: Path, label: str = "base") -> Candidate:
    return Candidate(label, EngineTable("local", path=str(path)), label)


def by_forward(path: Path, before: Sequence[int], own: Sequence[int]) -> float:
    """The sum of log-probabilities of `own` after `before`, by transformers alone."""
    model = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32)
    with torch.inference_mode():
        logprobs = model(torch.tensor([[*before, *own]])).logits[0].log_softmax(-1)
    return sum(float(logprobs[len(before) + place - 1, token]) for place, token in enumerate(own))


def test_they_are_those_of_transformers_whatever_prompts_share(tiny_model: Path, tmp_path: Path, in_fp32: None) -> None:
    prompts = [
        "",
        render_prompt("Say it again."),
        "Question: Who reads?\nAnswer:",
        render_prompt("Say it again.", "A fox."),
    ]
    passages = [
        Passage(f"{number} {text[:9]}", prompt, text, is_joined)
        for number, (prompt, is_joined) in enumerate((prompt, is_joined) for prompt in prompts for is_joined in (0, 1))
        for text in (" the fox", "a", " quick brown dogs " * 40)
    ]
    found = likelihoods(local(tiny_model), passages, tmp_path).of
    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    assert len(found) == len(passages)
    for passage in passages:
        before, own = passage_ids(tokenizer, passage)
        assert found[passage.id].tokens == len(own)
        assert found[passage.id].logprob == pytest.approx(by_forward(tiny_model, before, own), rel=2e-5)


def test_a_joined_text_has_lm_evals_tokens(tiny_model: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    before, own = passage_ids(tokenizer, Passage("x", "Answer:", " the dog", is_joined=True))
    assert before == tokenizer("Answer:")["input_ids"]
    assert [*before, *own] == tokenizer("Answer: the dog")["input_ids"]
    # A prompt whose end is no token of the whole keeps what begins there, and the text has a token at least.
    before, own = passage_ids(tokenizer, Passage("x", "the qui", "ck", is_joined=True))
    assert [*before, *own] == tokenizer("the quick")["input_ids"]
    assert own


def test_bits_per_byte_and_perplexity_are_what_a_hand_counts(
    recipe_for: MakeRecipe, evaluate_in: EvaluateIn, tiny_model: Path, tmp_path: Path, in_fp32: None
) -> None:
    (tmp_path / "text.txt").write_text(TEXT)
    report = evaluate_in(recipe_for("evaluate.items_per_skill=1", f'evaluate.perplexity=["{tmp_path}/text.txt"]'))
    (measured,) = report.perplexity
    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    pieces = pieces_of(TEXT)
    assert "".join(pieces) == TEXT
    ids = [tokenizer(piece, add_special_tokens=False)["input_ids"] for piece in pieces]
    nats = -sum(by_forward(tiny_model, [tokenizer.bos_token_id], own) for own in ids)
    assert measured.bytes == len(TEXT.encode()) > len(TEXT)
    assert measured.tokens == dict.fromkeys(("base", "student"), sum(map(len, ids)))
    assert measured.bits_per_byte.values["base"] == pytest.approx(nats / math.log(2) / measured.bytes, rel=1e-5)
    assert measured.perplexity["base"] == pytest.approx(math.exp(nats / sum(map(len, ids))), rel=1e-4)
    low, high = measured.bits_per_byte.intervals["base"]
    assert low <= measured.bits_per_byte.values["base"] <= high
    # One model twice: no gain at all.
    assert measured.bits_per_byte.gains == {"student": pytest.approx(0)}
    assert measured.bits_per_byte.items == len(pieces)


def test_a_server_that_echoes_is_measured_as_the_checkpoint_and_one_that_cannot_is_said(
    recipe_for: MakeRecipe,
    evaluate_in: EvaluateIn,
    tiny_model: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    model = tmp_path / "model"
    shutil.copytree(tiny_model, model)
    (tmp_path / "questions.jsonl").write_text("\n".join(map(json.dumps, QUESTIONS)))
    with serving(tmp_path, model) as url, OpenAIServer(text_of=lambda prompt, seed: "x") as plain:
        # A server that knows no echo ignores it, and one of chats has none.
        servers = {"echoing": (url, "completions"), "plain": (plain.base_url, "completions"), "chat": (url, "chat")}
        keys = [
            f"engines.{name}.{key}={value}"
            for name, (base_url, api) in servers.items()
            for key, value in (
                ("engine", "http"),
                ("base_url", base_url),
                ("model", "other" if name == "plain" else "model"),
                ("api", api),
            )
        ]
        report = evaluate_in(
            recipe_for(
                *keys, *(f"engines.{name}.max_tokens=4" for name in servers), "evaluate.items_per_skill=1",
                "evaluate.max_tokens=4", f"evaluate.multiple_choice={tmp_path}/questions.jsonl",
                'evaluate.candidates=["student", "echoing", "plain", "chat"]',
            )
        )  # fmt: skip
    choices = report.multiple_choice
    assert choices is not None
    assert choices.prompts == {"base": "raw", "student": "alpaca", "echoing": "alpaca"}
    assert choices.acc.values["echoing"] == choices.acc.values["student"]
    assert choices.acc_norm.values["echoing"] == choices.acc_norm.values["student"]
    assert set(choices.absent) == {"plain", "chat"}
    assert "no log-probabilities" in choices.absent["plain"]
    assert choices.chance == pytest.approx((1 / 4 + 1 / 2) / 2)
    assert choices.topic_items == {"": 1, "counts": 1}
    told = capsys.readouterr().out
    assert "base by plain text" in told
    assert "student by Alpaca's prompt" in told


def test_a_choice_counts_by_its_characters_the_first_of_equals_wins_and_repeats_count_once(
    recipe_for: MakeRecipe, evaluate_in: EvaluateIn, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told = {"éééé": -4.0, "abcdef": -5.4, "one": -2.0, "two": -2.0}
    accents = {"question": "Accents?", "choices": ["éééé", "abcdef"], "answer": 1}
    again = {"question": "Accents? ", "choices": ["abcdef", "éééé"], "answer": 0}
    equals = [{"question": f"Equal {n}?", "choices": ["one", "two"], "answer": n // 2} for n in range(3)]
    (tmp_path / "questions.jsonl").write_text("\n".join(map(json.dumps, [accents, *equals, again])))

    def tell(answer: dict[str, Any]) -> None:
        (choice,) = answer["choices"]
        for end, logprob in told.items():
            if choice["text"].endswith(end):
                tokens = [choice["text"].removesuffix(end), end]
                choice["logprobs"] = {"tokens": tokens, "token_logprobs": [None, logprob]}

    with OpenAIServer(text_of=lambda prompt, seed: prompt, rewrite=tell) as server:
        table = {"engine": "http", "base_url": server.base_url, "model": "m", "api": "completions"}
        report = evaluate_in(
            recipe_for(
                *(f"engines.rival.{key}={value}" for key, value in table.items()), "evaluate.items_per_skill=1",
                "evaluate.max_tokens=4", 'evaluate.candidates=["rival"]',
                f"evaluate.multiple_choice={tmp_path}/questions.jsonl",
            )
        )  # fmt: skip
    choices = report.multiple_choice
    assert choices is not None
    assert (choices.acc.items, choices.acc.values["rival"], choices.acc_norm.values["rival"]) == (4, 2 / 4, 3 / 4)
    assert "questions.jsonl: 1 repeated questions count once" in capsys.readouterr().err


def test_through_a_server_the_numbers_are_the_same(tiny_model: Path, tmp_path: Path) -> None:
    passages = [
        Passage(f"{n}", render_prompt(f"Say {n}."), text) for n in range(5) for text in ("the fox", "naïve dogs")
    ]
    passages = [Passage(f"{n}", each.prompt, each.text) for n, each in enumerate(passages)]
    model = tmp_path / "model"
    shutil.copytree(tiny_model, model)
    here = likelihoods(local(tiny_model), passages, tmp_path / "here").of
    with serving(tmp_path, model) as url:
        table = EngineTable("http", base_url=url, model="model", api="completions")
        there = likelihoods(Candidate("rival", table, "engines.rival"), passages, tmp_path / "there").of
    assert {name: each.tokens for name, each in there.items()} == {name: each.tokens for name, each in here.items()}
    for name, each in there.items():
        assert each.logprob == pytest.approx(here[name].logprob, rel=1e-4)


def test_a_server_is_not_asked_where_nothing_is_to_be_measured(tmp_path: Path) -> None:
    nowhere = EngineTable("http", base_url="http://127.0.0.1:9/v1", model="model", api="completions")
    assert likelihoods(Candidate("rival", nowhere, "engines.rival"), [], tmp_path).of == {}
