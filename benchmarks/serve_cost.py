"""What `pacos serve` costs over its bare engine: CPU time at 32 streams, and a lone visitor's first token.

    python benchmarks/serve_cost.py [--rounds 5] [--streams 32] [--model smollm2-135m]

Both sides in one script, taking turns, medians. SmolLM2-135M (`pacos fetch smollm2-135m` first), prompts of 64 tokens
cut from this project's documentation, at most 128 new ones, temperature 0.7. The bare engine streams in this process,
whose CPU time is counted; of the server that of its own process, not of its clients: once without watermark and
moderation, once as it comes. First token: from the request to the first text, 20 prompts one after another; a moderated
server shows nothing before the first sentence is whole, so it is held against the engine's own first sentence.
"""

import argparse
import asyncio
import os
import random
import statistics
import time
from contextlib import ExitStack, aclosing

from engine_serving import over_http, pacos_serve, streamed
from engine_speed import cpu_seconds, documentation_ids, windows

from pacos.core.models import resolve_model
from pacos.engines import Request, Sampling
from pacos.engines.local.engine import LocalEngine
from pacos.engines.local.tokenizer import load_tokenizer
from pacos.serve.sentences import SentenceBuffer

LONE_PROMPTS = 20
OFF = ("serve.watermark=false", "serve.moderation=off")


async def engines_first_ms(engine: LocalEngine, request: Request, whole_sentence: bool) -> float:
    start, buffer = time.perf_counter(), SentenceBuffer()
    async with aclosing(engine.stream(request)) as deltas:
        async for delta in deltas:
            ready = buffer.add(delta.text) if whole_sentence else delta.text
            if ready or delta.reply:
                return (time.perf_counter() - start) * 1e3
    raise RuntimeError("a reply without an end")


async def servers_first_ms(port: int, model: str, request: Request) -> float:
    start, first = time.perf_counter(), []

    def watch(text: str) -> None:
        if text and not first:
            first.append((time.perf_counter() - start) * 1e3)

    await over_http(port, model, [request], watch)
    return first[0]


async def measure(model: str, streams: int, rounds: int, servers: dict[str, tuple[int, int]]) -> None:
    path, rng = resolve_model(model), random.Random(0)
    ids, tokenizer = documentation_ids(path), load_tokenizer(path)

    def requests(number: int, new: int) -> list[Request]:
        texts = map(tokenizer.decode, windows(ids, [64] * number, rng))
        sampling = [Sampling(new, temperature=0.7, top_p=0.9, seed=rng.randrange(2**31)) for _ in range(number)]
        return [Request(str(n), text, own) for n, (text, own) in enumerate(zip(texts, sampling, strict=True))]

    engine = LocalEngine(model)
    cost: dict[str, list[float]] = {name: [] for name in ("bare engine", *servers)}
    for round_number in range(rounds + 1):
        asked = requests(streams, 128)
        for name in cost:
            pid = servers[name][1] if name in servers else os.getpid()
            before = cpu_seconds(pid)
            if name in servers:
                replies = await over_http(servers[name][0], model, asked)
            else:
                replies = await streamed(engine, asked)
            if round_number:
                cost[name].append((cpu_seconds(pid) - before) / sum(tokens for _, _, tokens in replies) * 1e3)
    bare = statistics.median(cost["bare engine"])
    print(f"CPU ms a token at {streams} streams, median of {rounds} rounds")
    for name, values in cost.items():
        value = statistics.median(values)
        print(f"  {name:<26}{value:7.2f}  {value / bare - 1:+6.1%} over the bare engine")
    # Who is held against what: of the engine, its first text or its first sentence.
    sides = {"server, plain": False, "server, marked, moderated": True}
    first: dict[str, list[tuple[float, float]]] = {name: [] for name in sides}
    for request in requests(LONE_PROMPTS, 64):
        for name, whole_sentence in sides.items():
            servers_ms = await servers_first_ms(servers[name][0], model, request)
            first[name].append((servers_ms, await engines_first_ms(engine, request, whole_sentence)))
    print(f"first text of a lone visitor, ms, median of {LONE_PROMPTS}")
    for name, pairs in first.items():
        server, bare = (statistics.median(values) for values in zip(*pairs, strict=True))
        what = "first sentence" if sides[name] else "first text"
        print(f"  {name:<26}{server:7.1f}  {server - bare:+6.1f} over the engine's {what} ({bare:.1f})")
    await engine.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--streams", type=int, default=32)
    parser.add_argument("--model", default="smollm2-135m")
    options = parser.parse_args()
    with ExitStack() as stack:
        plain = stack.enter_context(pacos_serve(options.model, *OFF))
        as_it_comes = stack.enter_context(pacos_serve(options.model))
        servers = {"server, plain": plain, "server, marked, moderated": as_it_comes}
        asyncio.run(measure(options.model, options.streams, options.rounds, servers))


if __name__ == "__main__":
    main()
