"""What the local engine does for many who ask: over HTTP, arriving at random, behind one instruction, and in memory.

    python benchmarks/engine_serving.py http|arrivals|prefix|memory [--rounds 3] [--requests N] [--model smollm2-135m]

SmolLM2-135M (`pacos fetch smollm2-135m` first), bf16 where the CPU multiplies it, prompts cut from this project's
documentation; the sides take turns, medians of rounds, each round with prompts of its own. CPU time is that of this
process and its children together: the client's as well.

- `http`: `requests` (32) clients at once, one streamed completion each of `/v1/completions`, 64 tokens in, at most 128
  out, temperature 0.7, top_p 0.9, a seed each; tokens/s from the first request to the last reply's end. Beside
  `pacos serve` without watermark and moderation stand the same requests to a bare engine's `complete` and, for the
  cost of text at every token, its `stream`; and `pacos serve` as it comes. The texts of the first three are compared.
- `arrivals`: `requests` (32) arrive by Poisson, at the rate at which the engine answers them when all come at once;
  prompts of 16 to 256 tokens, 64 new ones, greedy, end-of-text ignored. Time to first token, from arrival, of the
  engine's stream; of a static batch, which waits for the last arrival and is then one `generate` whose tokens are
  streamed (the kinder reading: unstreamed they come at its end); and of static batches without that wait, each of all
  that have come when the one before has ended.
- `prefix`: `requests` (200) questions of 24 tokens behind one instruction of 600, at most 16 tokens out, greedy. With
  the prefix cache; with a cache of no bytes, where the engine still reads like beginnings one after another; and with
  the cache, but a first token that differs from question to question, so that nothing is shared or waited for. Each
  round's instruction is new.
- `memory`: `requests` (1,000), 48 at once on the engine's 32 rows, prompts of 8 to 600 tokens, 8 to 128 new ones, a
  tenth given up after up to 4 s: in line, half read or half written. Resident memory after each 100, when nothing is
  under way.
"""

import argparse
import asyncio
import json
import math
import os
import random
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Coroutine
from contextlib import ExitStack, aclosing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine_speed import cpu_seconds, documentation_ids, ignore_end_of_text, windows

from pacos.core.models import resolve_model
from pacos.engines import Reply, Request, Sampling
from pacos.engines.local import scheduler
from pacos.engines.local.engine import LocalEngine
from pacos.engines.local.tokenizer import load_tokenizer

AT_ONCE = 48
DEFAULT_REQUESTS = {"http": 32, "arrivals": 32, "prefix": 200, "memory": 1000}


@dataclass(frozen=True)
class Outcome:
    """What a side made of a round's requests; `texts` by the request's id."""

    seconds: float
    cpu: float
    tokens: int
    texts: dict[str, str]


async def timed(asking: Coroutine[Any, Any, list[tuple[str, str, int]]]) -> Outcome:
    """Of (id, text, new tokens) of every reply."""
    cpu, start = cpu_seconds(os.getpid()), time.perf_counter()
    replies = await asking
    seconds = time.perf_counter() - start
    tokens = sum(count for _, _, count in replies)
    return Outcome(seconds, cpu_seconds(os.getpid()) - cpu, tokens, {name: text for name, text, _ in replies})


def print_agreement(name: str, outcomes: list[Outcome], others: list[Outcome]) -> None:
    """How many replies have the same text as the other side's, over all rounds."""
    pairs = [
        (o.texts[key], text) for o, other in zip(outcomes, others, strict=True) for key, text in other.texts.items()
    ]
    print(f"{name}: {sum(one == other for one, other in pairs)} of {len(pairs)} texts are the first side's")


async def completed(engine: LocalEngine, requests: list[Request]) -> list[tuple[str, str, int]]:
    """All at once through the engine's own door."""
    replies = []
    async for reply in engine.complete(requests):
        assert isinstance(reply, Reply), reply
        replies.append((reply.id, reply.text, reply.usage.completion_tokens))
    return replies


async def streamed(engine: LocalEngine, requests: list[Request]) -> list[tuple[str, str, int]]:
    """All at once, each piece by piece."""

    async def one(request: Request) -> tuple[str, str, int]:
        text = ""
        async for delta in engine.stream(request):
            text += delta.text
            if delta.reply:
                return request.id, text, delta.reply.usage.completion_tokens
        raise RuntimeError("a stream without its reply")

    return await asyncio.gather(*(one(request) for request in requests))


async def over_http(
    port: int, model: str, requests: list[Request], watch: Callable[[str], None] = lambda text: None
) -> list[tuple[str, str, int]]:
    """All at once, each on a connection of its own, as server-sent events; `watch` gets each piece of text."""

    async def one(request: Request) -> tuple[str, str, int]:
        asked = request.sampling
        body = {
            "model": model, "prompt": request.prompt, "max_tokens": asked.max_tokens, "seed": asked.seed,
            "temperature": asked.temperature, "top_p": asked.top_p, "stream": True,
            "stream_options": {"include_usage": True},
        }  # fmt: skip
        data = json.dumps(body).encode()
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        head = f"POST /v1/completions HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/json\r\n"
        writer.write(f"{head}Content-Length: {len(data)}\r\nConnection: close\r\n\r\n".encode() + data)
        text, tokens, answer = "", -1, b""
        async for line in reader:
            answer += line
            if line.startswith(b"data: {"):
                event = json.loads(line[6:])
                piece = "".join(choice["text"] for choice in event["choices"])
                text += piece
                watch(piece)
                tokens = event.get("usage", {}).get("completion_tokens", tokens)
        writer.close()
        assert tokens >= 0, answer[-500:]
        return request.id, text, tokens

    return await asyncio.gather(*(one(request) for request in requests))


@contextmanager
def pacos_serve(model: str, *settings: str):
    """The port of a `pacos serve` with a folder of its own, and its process id."""
    command = [sys.executable, "-m", "pacos", "serve", "--model", model, "serve.port=0", *settings]
    with tempfile.TemporaryDirectory() as folder:
        server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=folder)
        try:
            ports = (found for line in server.stdout or () if (found := re.search(r"http://\S+?:(\d+)", line)))
            yield int(next(ports)[1]), server.pid
        finally:
            server.terminate()
            server.wait(30)


def http(model: str, requests: int, rounds: int, rng: random.Random) -> None:
    path = resolve_model(model)
    ids, tokenizer = documentation_ids(path), load_tokenizer(path)

    async def measure(plain: int, as_it_comes: int) -> None:
        engine, streaming = LocalEngine(model), LocalEngine(model)
        sides: dict[str, Callable[[list[Request]], Coroutine[Any, Any, list[tuple[str, str, int]]]]] = {
            "bare complete": lambda asked: completed(engine, asked),
            "bare stream": lambda asked: streamed(streaming, asked),
            "pacos serve": lambda asked: over_http(plain, model, asked),
            "pacos serve, marked and moderated": lambda asked: over_http(as_it_comes, model, asked),
        }
        found: dict[str, list[Outcome]] = {name: [] for name in sides}
        for round_number in range(rounds + 1):
            texts = map(tokenizer.decode, windows(ids, [64] * requests, rng))
            asked = [
                Request(str(n), text, Sampling(128, temperature=0.7, top_p=0.9, seed=round_number * 1000 + n))
                for n, text in enumerate(texts)
            ]
            for name in list(sides) if round_number % 2 else list(sides)[::-1]:
                outcome = await timed(sides[name](asked))
                if round_number:
                    found[name].append(outcome)
                    print(f"  {name:<34}{outcome.tokens / outcome.seconds:>7.1f} tokens/s", flush=True)
        await engine.close()
        await streaming.close()
        bare = statistics.median(outcome.tokens / outcome.seconds for outcome in found["bare complete"])
        for name, outcomes in found.items():
            rate = statistics.median(outcome.tokens / outcome.seconds for outcome in outcomes)
            cpu = statistics.median(outcome.cpu / outcome.tokens for outcome in outcomes)
            print(
                f"{name:<34}{rate:>7.1f} tokens/s, {cpu * 1e3:.1f} CPU ms a token, {rate / bare:.2f} of bare complete"
            )
        for other in ("bare stream", "pacos serve"):
            print_agreement(other, found[other], found["bare complete"])

    off = ("serve.watermark=false", "serve.moderation=off")
    with ExitStack() as stack:
        ports = [stack.enter_context(pacos_serve(model, *settings))[0] for settings in (off, ())]
        asyncio.run(measure(*ports))


async def engine_waits(engine: LocalEngine, requests: list[Request], arrivals: list[float]) -> list[float]:
    """Seconds from each arrival to its first piece of text."""
    start = time.perf_counter()

    async def one(request: Request, arrival: float) -> float:
        await asyncio.sleep(max(0.0, start + arrival - time.perf_counter()))
        wait = 0.0
        async for delta in engine.stream(request):
            if delta.text and not wait:
                wait = time.perf_counter() - start - arrival
        return wait

    return await asyncio.gather(*map(one, requests, arrivals))


class Batches:
    """transformers' generate, one static batch after another, tokens streamed."""

    def __init__(self, model: str) -> None:
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer

        from pacos.engines.local.device import choose_device, choose_precision

        dtype = torch.bfloat16 if choose_precision("auto", choose_device()) == "bf16" else torch.float32
        self.tokenizer = AutoTokenizer.from_pretrained(model, padding_side="left")
        self.module = AutoModelForCausalLM.from_pretrained(model, dtype=dtype).eval()
        self.module.generation_config.eos_token_id = None
        self.module.generation_config.pad_token_id = self.tokenizer.pad_token_id

    def answer(self, requests: list[Request]) -> float:
        """When the first tokens came."""
        import torch
        from transformers import StoppingCriteriaList

        first: list[float] = []

        def after_step(ids: torch.Tensor, scores: object) -> torch.Tensor:
            first.append(time.perf_counter())
            return torch.zeros(len(ids), dtype=torch.bool)

        batch = self.tokenizer.pad({"input_ids": [list(r.prompt_ids) for r in requests]}, return_tensors="pt")
        with torch.inference_mode():
            self.module.generate(
                **batch, max_new_tokens=requests[0].sampling.max_tokens, do_sample=False,
                stopping_criteria=StoppingCriteriaList([after_step]),
            )  # fmt: skip
        return first[0]

    def waits(self, requests: list[Request], arrivals: list[float], for_all: bool) -> list[float]:
        start, waits = time.perf_counter(), []
        while len(waits) < len(requests):
            wanted = arrivals[-1 if for_all else len(waits)]
            time.sleep(max(0.0, start + wanted - time.perf_counter()))
            here = sum(arrival <= time.perf_counter() - start for arrival in arrivals)
            begin = len(waits)
            first = self.answer(requests[begin:here]) - start
            waits += [first - arrival for arrival in arrivals[begin:here]]
        return waits


def percentile(values: list[float], share: float) -> float:
    """The smallest value that so large a share does not exceed."""
    return sorted(values)[math.ceil(share * len(values)) - 1]


def arrivals(model: str, requests: int, rounds: int, rng: random.Random) -> None:
    ignore_end_of_text()
    path = resolve_model(model)
    ids, engine, batches = documentation_ids(path), LocalEngine(model), Batches(path)

    def new_requests() -> list[Request]:
        prompts = windows(ids, [rng.randint(16, 256) for _ in range(requests)], rng)
        return [Request(str(n), "", Sampling(64, temperature=0), prompt_ids=tuple(p)) for n, p in enumerate(prompts)]

    async def measure() -> None:
        await completed(engine, new_requests())
        seconds = (await timed(completed(engine, new_requests()))).seconds
        batches.answer(new_requests()[:4])
        print(f"{requests} at once take the engine {seconds:.1f} s; they arrive at {requests / seconds:.2f} a second")
        found: dict[str, list[list[float]]] = {"engine": [], "static batch of all": [], "static batches": []}
        for _ in range(rounds):
            asked, gaps = new_requests(), [rng.expovariate(requests / seconds) for _ in range(requests)]
            times = [sum(gaps[: n + 1]) for n in range(requests)]
            for name, waits in found.items():
                cpu = cpu_seconds(os.getpid())
                if name == "engine":
                    waits.append(await engine_waits(engine, asked, times))
                else:
                    waits.append(batches.waits(asked, times, for_all=name.endswith("all")))
                p95, cpu = percentile(waits[-1], 0.95), cpu_seconds(os.getpid()) - cpu
                print(f"  {name:<20} p95 {p95:>6.2f} s to first token, {cpu:.1f} CPU s", flush=True)
        await engine.close()
        ours = statistics.median(percentile(waits, 0.95) for waits in found["engine"])
        for name, rounds_waits in found.items():
            p50, p95 = (statistics.median(percentile(waits, share) for waits in rounds_waits) for share in (0.5, 0.95))
            print(f"{name:<20} median {p50:>6.2f} s, p95 {p95:>6.2f} s to first token; the engine's p95 is "
                  f"{ours / p95:.2f} of it")  # fmt: skip

    asyncio.run(measure())


def prefix(model: str, requests: int, rounds: int, rng: random.Random) -> None:
    ids = documentation_ids(resolve_model(model))
    kept_bytes = scheduler.PREFIX_BYTES

    async def measure() -> None:
        engines = {name: LocalEngine(model) for name in ("cache", "no cache", "nothing alike")}
        found: dict[str, list[Outcome]] = {name: [] for name in engines}
        for round_number in range(rounds + 1):
            [instruction], questions = windows(ids, [600], rng), windows(ids, [24] * requests, rng)
            sampling = Sampling(16, temperature=0)
            for name in list(engines) if round_number % 2 else list(engines)[::-1]:
                # Looked at when the engine loads, in the unmeasured round.
                scheduler.PREFIX_BYTES = 0 if name == "no cache" else kept_bytes
                prompts = [
                    (n if name == "nothing alike" else instruction[0], *instruction[1:], *question)
                    for n, question in enumerate(questions, start=100 + requests * round_number)
                ]
                asked = [Request(str(n), "", sampling, prompt_ids=prompt) for n, prompt in enumerate(prompts)]
                outcome = await timed(completed(engines[name], asked if round_number else asked[:4]))
                if round_number:
                    found[name].append(outcome)
                    print(f"  {name:<14}{outcome.seconds:>7.1f} s, {outcome.cpu:.1f} CPU s", flush=True)
        for engine in engines.values():
            await engine.close()
        cached = statistics.median(outcome.seconds for outcome in found["cache"])
        for name, outcomes in found.items():
            seconds, cpu = (statistics.median(getattr(o, key) for o in outcomes) for key in ("seconds", "cpu"))
            print(f"{name:<14}{seconds:>7.1f} s, {cpu:.1f} CPU s; with the cache {seconds / cached:.2f} times as fast")
        print_agreement("no cache", found["no cache"], found["cache"])

    asyncio.run(measure())


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def memory(model: str, requests: int, rounds: int, rng: random.Random) -> None:
    """One round is enough."""
    ids = documentation_ids(resolve_model(model))

    async def ask(engine: LocalEngine, request: Request, patience: float, places: asyncio.Semaphore) -> None:
        async with places:
            # Closing the stream gives the request up, wherever it is by then.
            with suppress(TimeoutError):
                async with aclosing(engine.stream(request)) as stream, asyncio.timeout(patience):
                    async for _ in stream:
                        pass

    async def measure() -> None:
        engine, places, first = LocalEngine(model), asyncio.Semaphore(AT_ONCE), 0
        for done in range(100, requests + 1, 100):
            prompts = windows(ids, [rng.randint(8, 600) for _ in range(100)], rng)
            asked = [
                Request(str(n), "", Sampling(rng.randint(8, 128), seed=n), prompt_ids=tuple(prompt))
                for n, prompt in enumerate(prompts)
            ]
            given_up = set(rng.sample(range(100), 10))
            await asyncio.gather(
                *(ask(engine, r, rng.uniform(0, 4) if n in given_up else math.inf, places) for n, r in enumerate(asked))
            )
            # What was given up leaves its row at the worker's next step.
            await asyncio.sleep(1)
            now = resident_bytes()
            first = first or now
            print(f"after {done:>5} requests {now / 2**20:>8,.0f} MiB, {now / first - 1:+.1%}", flush=True)
        await engine.close()

    asyncio.run(measure())


def main() -> None:
    """Measures one of the four."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=DEFAULT_REQUESTS)
    parser.add_argument("--model", default="smollm2-135m")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--requests", type=int)
    arguments = parser.parse_args()
    measure = {"http": http, "arrivals": arrivals, "prefix": prefix, "memory": memory}[arguments.what]
    requests = arguments.requests or DEFAULT_REQUESTS[arguments.what]
    measure(arguments.model, requests, arguments.rounds, random.Random(0))


if __name__ == "__main__":
    main()
