"""An engine whose matrices are held in 8 bits."""

import asyncio
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM

from pacos.core.errors import PacosError
from pacos.core.recipe import EngineTable
from pacos.engines import Reply, Request, Sampling, open_engine
from pacos.engines.local.checkpoint import Checkpoint, load_checkpoint
from pacos.engines.local.engine import LocalEngine
from pacos.engines.local.linear import int8_refusal
from tests.engines.door import complete_all
from tests.engines.test_batching import FAMILIES, made, prompts

NEEDS_VNNI = pytest.mark.skipif(int8_refusal(torch.device("cpu")) is not None, reason="this CPU has no AVX-512 VNNI")


def table(folder: Path) -> EngineTable:
    return EngineTable(engine="local", path=str(folder), api="completions", weights="int8")


@NEEDS_VNNI
@pytest.mark.parametrize("family", ["llama", "llama with biases", "gemma 2"])
def test_what_it_tells_is_near_the_model_and_the_same_alone_and_among_others(
    family: str, tiny_model: Path, tmp_path: Path
) -> None:
    folder = made(FAMILIES[family], tmp_path, tiny_model)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    # Token 2 pads, and its embedding is all zeros.
    texts = [*prompts(6, (5, 40, 90)), (2, 2, 7)]
    asked = [
        Request(str(n), "", Sampling(5, temperature=0.0), prompt_ids=ids, logprobs=0, echo=True)
        for n, ids in enumerate(texts)
    ]
    together = complete_all(open_engine(table(folder)), asked)
    for each in asked:
        reply = together[each.id]
        assert isinstance(reply, Reply)
        with torch.inference_mode():
            expected = torch.log_softmax(model(torch.tensor([each.prompt_ids])).logits[0], -1)
        # A product of normal numbers rounded to 8 bits on both sides errs by a hundredth of its size. Thirteen follow
        # one another here; where all erred one way, logits would be off by 0.13 of their spread.
        apart = [
            abs(token.logprob - float(expected[place, token.id]))  # type: ignore[operator]
            for place, token in enumerate(reply.prompt_logprobs[1:])
        ]
        assert sum(apart) / len(apart) < 0.13 * float(expected.std())
    alone = complete_all(open_engine(table(folder)), asked[1:2])["1"]
    assert isinstance(alone, Reply)
    assert alone.logprobs == together["1"].logprobs  # type: ignore[union-attr]
    assert alone.prompt_logprobs == together["1"].prompt_logprobs  # type: ignore[union-attr]


@NEEDS_VNNI
def test_an_architecture_run_by_its_own_module_is_refused(tiny_model: Path, tmp_path: Path) -> None:
    folder = made(FAMILIES["gpt-2, by its own module"], tmp_path, tiny_model)
    with pytest.raises(PacosError, match=r"architecture gpt2 is run by its own module.*weights = \"auto\""):
        complete_all(open_engine(table(folder)), [Request("a", "b", Sampling(1))])


def test_what_cannot_be_run_is_loaded_once_for_all_who_wait(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = made(FAMILIES["gpt-2, by its own module"], tmp_path, tiny_model)
    engine, loads = LocalEngine(str(folder), precision="int8"), []

    def load(path: str, precision: str) -> Checkpoint:
        loads.append(path)
        return load_checkpoint(path, precision)

    monkeypatch.setattr("pacos.engines.local.worker.load_checkpoint", load)

    async def ask() -> list[object]:
        streams = [anext(engine.stream(Request(str(n), "x", Sampling(2)))) for n in range(20)]
        ends = await asyncio.gather(*streams, return_exceptions=True)
        await engine.close()
        return ends

    ends = asyncio.run(ask())
    assert all(isinstance(end, PacosError) and "weights" in str(end) for end in ends)
    assert len(loads) <= 2


def test_a_server_holds_its_own_weights() -> None:
    with pytest.raises(PacosError, match="only a local engine holds weights"):
        open_engine(EngineTable(engine="http", base_url="http://127.0.0.1:1/v1", model="m", weights="int8"))
