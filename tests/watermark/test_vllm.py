"""The plug-in inside a real vLLM server: the CPU build of an environment of its own, and a real small model.

    PACOS_VLLM_PYTHON=/path/to/that/environment/bin/python pytest tests/watermark/test_vllm.py

That environment has vLLM and scipy (docs/serve.md); pacos is this checkout. The model is `pacos fetch smollm2-135m`.
"""

import asyncio
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pacos.core.models import resolve_model
from pacos.core.recipe import EngineTable
from pacos.engines import Engine, Reply, Request, Sampling, open_engine
from pacos.engines.local.engine import LocalEngine
from pacos.engines.local.tokenizer import load_tokenizer, prompt_ids
from pacos.engines.types import LogitsHook, Message
from pacos.serve.marking import Canary, watermark_settings
from pacos.serve.model import tokenizer_json
from pacos.watermark import SETTINGS_FILE, TextDetector, WatermarkSettings, read_settings
from tests.servers.vllm_server import MODEL, VOCABULARY, vllm

PYTHON = os.environ.get("PACOS_VLLM_PYTHON", "")
pytestmark = pytest.mark.skipif(not PYTHON, reason="PACOS_VLLM_PYTHON names no python with vLLM")
QUESTIONS = [
    "What is the capital of France?",
    "Why is the sky blue?",
    "Give three tips for staying healthy.",
    "Tell a story about a fox and a crow.",
    "Describe a day at the sea.",
    "What should a beginner know about gardening?",
    "Write a letter to a friend who moved away.",
    "Explain how a bicycle stays upright.",
]


def prompts() -> list[tuple[int, ...]]:
    tokenizer = load_tokenizer(resolve_model(MODEL))
    return [tuple(prompt_ids(tokenizer, (Message("user", q),), parse_special_tokens=False)) for q in QUESTIONS]


def ask(engine: Engine, asked: Sequence[Sampling], hook: LogitsHook | None = None) -> list[Reply]:
    """One reply for each sampling, all at once, the questions in turn."""
    ids = prompts()
    requests = [
        Request(str(n), "", sampling, prompt_ids=ids[n % len(ids)], logits_hook=hook)
        for n, sampling in enumerate(asked)
    ]

    async def all_of() -> list[Reply]:
        found = {answer.id: answer async for answer in engine.complete(requests)}
        await engine.close()
        return [found[request.id] for request in requests]

    return asyncio.run(all_of())


def elsewhere(address: str) -> Engine:
    table = EngineTable(engine="http", base_url=address, model=MODEL, api="completions", concurrency=32)
    return open_engine(table)


def here() -> Engine:
    return LocalEngine(resolve_model(MODEL), precision="fp32")


@pytest.fixture(scope="module")
def serve_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With the settings that `pacos serve` writes."""
    folder = tmp_path_factory.mktemp("serve")
    watermark_settings(folder, VOCABULARY, tokenizer_json(resolve_model(MODEL)))
    return folder


@pytest.fixture(scope="module")
def detector(serve_folder: Path) -> TextDetector:
    return TextDetector(serve_folder, read_settings(serve_folder / SETTINGS_FILE))


@pytest.fixture(scope="module")
def marked(serve_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with vllm(PYTHON, tmp_path_factory.mktemp("vllm"), serve_folder / SETTINGS_FILE) as address:
        yield address


# Greedy ones of every kind, with more rows than one so that they end and move beside each other.
GREEDY: list[dict[str, Any]] = [
    {}, {"repetition_penalty": 1.2}, {"presence_penalty": 0.6, "frequency_penalty": 0.3}, {"logit_bias": ((28, -3.0),)},
    # Sampled, and certain all the same.
    {"temperature": 0.8, "top_k": 1}, {"temperature": 1.7, "top_k": 1, "repetition_penalty": 1.1},
]  # fmt: skip


def test_it_chooses_the_very_tokens_that_our_engine_chooses(marked: str, detector: TextDetector) -> None:
    asked = [
        Sampling(24 + 8 * n, **{"temperature": 0.0, "repetition_penalty": 1.0, **more}) for n, more in enumerate(GREEDY)
    ]
    theirs = ask(elsewhere(marked), asked)
    assert [reply.left_out for reply in theirs] == [()] * len(asked)
    ours = ask(here(), asked, detector.mark)
    assert [reply.text for reply in theirs] == [reply.text for reply in ours]
    # The mark changes them.
    unmarked = ask(here(), asked)
    assert sum(a.text != b.text for a, b in zip(ours, unmarked, strict=True)) >= 3


def test_sampled_answers_carry_it_as_strongly_as_ours(marked: str, detector: TextDetector) -> None:
    asked = [Sampling(160, temperature=1.0, seed=seed, repetition_penalty=1.0) for seed in range(16)]
    theirs = [detector.detect_unchanged(reply.text) for reply in ask(elsewhere(marked), asked)]
    ours = [detector.detect_unchanged(reply.text) for reply in ask(here(), asked, detector.mark)]
    shares = [
        [each.num_green_tokens / each.num_tokens_scored for each in found if each.num_tokens_scored > 60]
        for found in (theirs, ours)
    ]
    assert min(map(len, shares)) >= 10
    # Means of two samples of one distribution, four standard errors apart at most.
    error = np.sqrt(sum(np.var(each, ddof=1) / len(each) for each in shares))
    assert abs(np.mean(shares[0]) - np.mean(shares[1])) < 4 * error
    assert np.mean(shares[0]) > detector.mark.gamma + 0.1


def test_without_the_plug_in_the_canary_rises(marked: str, detector: TextDetector, tmp_path: Path) -> None:
    asked = [Sampling(220, temperature=1.0, seed=seed) for seed in range(8)]
    with_it, without_it = Canary(detector), Canary(detector)
    for reply in ask(elsewhere(marked), asked):
        with_it.on_end(reply.text)
    with vllm(PYTHON, tmp_path, None) as address:
        for reply in ask(elsewhere(address), asked):
            without_it.on_end(reply.text)
    with_it.close()
    without_it.close()
    assert min(with_it.checked, without_it.checked) >= 4
    assert with_it.missing <= with_it.checked / 4
    assert without_it.missing >= without_it.checked * 3 / 4


@pytest.mark.parametrize("scheme", ["minhash", "skipgram", "selfhash", "threefry"])
def test_every_scheme_does(scheme: str, tmp_path: Path) -> None:
    settings = WatermarkSettings(scheme=scheme, key=2**61 + 1, vocab_size=VOCABULARY)
    settings.write(tmp_path / SETTINGS_FILE)
    asked = [Sampling(40, temperature=temperature, top_k=1) for temperature in (0.0, 1.0, 1.5)]
    with vllm(PYTHON, tmp_path, tmp_path / SETTINGS_FILE) as address:
        theirs = ask(elsewhere(address), asked)
    assert [reply.text for reply in theirs] == [reply.text for reply in ask(here(), asked, settings.watermark())]
