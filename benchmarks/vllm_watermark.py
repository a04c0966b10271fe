"""What the watermark costs a vLLM server: the same requests to a server with the plug-in and to one without.

    python benchmarks/vllm_watermark.py --vllm ENVIRONMENT/bin/python [--rounds 5] [--schemes lefthash selfhash]

SmolLM2-135M (`pacos fetch smollm2-135m` first) in vLLM's CPU build (docs/serve.md says how to install it), bf16, 32 at
once, 64 tokens in and 64 out by the completions endpoint, temperature 1, end-of-text ignored. All servers are up at
once and only one is asked at a time; they take turns within a round, and change their order from round to round. The
first round is not counted: common contexts are met for the first time in it. Medians of rounds, of tokens a second as
the client sees them. Then what the plug-in's own part of a step of 32 rows takes, in CPU time of one thread, which says
more than the above where the machine is busy; `--rounds 0` measures that alone.
"""

import argparse
import asyncio
import os
import random
import statistics
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

import openai
import torch
from engine_speed import documentation_ids, windows

from pacos.core.models import resolve_model
from pacos.engines import Sampling
from pacos.watermark import WatermarkSettings
from pacos.watermark.batch_rows import BatchRows
from tests.servers.vllm_server import MODEL, VOCABULARY, vllm

AT_ONCE, PROMPT_TOKENS, NEW_TOKENS = 32, 64, 64


async def tokens_a_second(address: str, prompts: list[list[int]], seed: int) -> float:
    client = openai.AsyncOpenAI(base_url=address, api_key="none", timeout=600)

    async def one(number: int, ids: list[int]) -> int:
        answer = await client.completions.create(
            model=MODEL, prompt=ids, max_tokens=NEW_TOKENS, temperature=1.0, seed=seed + number,
            extra_body={"ignore_eos": True},
        )  # fmt: skip
        return answer.usage.completion_tokens

    start = time.perf_counter()
    written = sum(await asyncio.gather(*(one(n, ids) for n, ids in enumerate(prompts))))
    seconds = time.perf_counter() - start
    await client.close()
    return written / seconds


def step_ms(scheme: str, texts: list[list[int]]) -> float:
    """Median over steps of rows that write these texts."""
    rows = BatchRows(WatermarkSettings(scheme=scheme, key=2**61 + 1, vocab_size=VOCABULARY).watermark())
    rows.mark.prepare()
    written: list[list[int]] = [[] for _ in texts]
    rows.update([], [(n, Sampling(NEW_TOKENS), text[:PROMPT_TOKENS], written[n]) for n, text in enumerate(texts)], [])
    generator, took = torch.Generator().manual_seed(0), []
    for step in range(NEW_TOKENS):
        logits = torch.randn(AT_ONCE, VOCABULARY, generator=generator) * 3
        start = time.thread_time()
        rows.apply(logits)
        took.append(1000 * (time.thread_time() - start))
        for ids, text in zip(written, texts, strict=True):
            ids.append(text[PROMPT_TOKENS + step])
    return statistics.median(took)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--vllm", required=True)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--schemes", nargs="*", default=["lefthash", "selfhash"])
    asked = parser.parse_args()
    ids, rng = documentation_ids(resolve_model(MODEL)), random.Random(0)
    if asked.rounds:
        measure_servers(asked, ids, rng)
    torch.set_num_threads(1)
    texts = windows(ids, [PROMPT_TOKENS + NEW_TOKENS] * AT_ONCE, rng)
    for scheme in asked.schemes:
        print(f"{scheme}: {step_ms(scheme, texts):.2f} ms of a step of {AT_ONCE} rows", flush=True)


def measure_servers(asked: argparse.Namespace, ids: list[int], rng: random.Random) -> None:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        addresses = {}
        for name in ("none", *asked.schemes):
            own = folder / name
            own.mkdir()
            settings = None
            if name != "none":
                settings = own / "watermark.json"
                WatermarkSettings(scheme=name, key=2**61 + 1, vocab_size=VOCABULARY).write(settings)
            addresses[name] = stack.enter_context(vllm(asked.vllm, own, settings, "bfloat16"))
        speeds: dict[str, list[float]] = {name: [] for name in addresses}
        for number in range(asked.rounds + 1):
            prompts = windows(ids, [PROMPT_TOKENS] * AT_ONCE, rng)
            names = list(addresses)
            for name in names[number % len(names) :] + names[: number % len(names)]:
                speed = asyncio.run(tokens_a_second(addresses[name], prompts, number * AT_ONCE))
                print(f"round {number} {name:9} {speed:7.1f} tokens/s", flush=True)
                if number:
                    speeds[name].append(speed)
    plain = statistics.median(speeds["none"])
    print(f"\n{os.cpu_count()} CPUs, load {os.getloadavg()[0]:.1f} at the end")
    print("| scheme | tokens/s, median | beside none | beside none, median of each round's |")
    for name, each in speeds.items():
        # Of each round, so that a moment when the machine was busy weighs on both sides of a pair.
        lost = [1 - with_it / without for with_it, without in zip(each, speeds["none"], strict=True)]
        median = statistics.median(each)
        print(f"| {name} | {median:.1f} | {median / plain - 1:+.1%} | {-statistics.median(lost):+.1%} |")


if __name__ == "__main__":
    main()
