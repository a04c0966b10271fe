"""What the watermark costs the engine: the same requests with and without a mark, in turns, in one process.

    python benchmarks/watermark_cost.py [--rounds 5] [--schemes simple_1 threefry selfhash] [--model smollm2-135m]

SmolLM2-135M (`pacos fetch smollm2-135m` first), 32 at once, prompts of 64 tokens cut from this project's documentation,
128 new tokens each, temperature 1, nothing cut, end-of-text ignored, a vocabulary of 49,152. A round's prompts are new;
the sides take turns within a round and change their order from round to round. The first round is printed and not
counted: in it common contexts are met for the first time. Wall time and CPU time of the whole process, medians of
rounds; and what the mark alone takes of both.
"""

import argparse
import asyncio
import os
import random
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

from engine_speed import documentation_ids, ignore_end_of_text, windows

from pacos.core.models import resolve_model
from pacos.engines import Reply, Request, Sampling
from pacos.engines.local.engine import LocalEngine
from pacos.engines.local.tokenizer import load_tokenizer
from pacos.watermark import Watermark

AT_ONCE, PROMPT_TOKENS, NEW_TOKENS = 32, 64, 128
UNCOUNTED = 2


@dataclass(frozen=True)
class Taken:
    seconds: float
    cpu: float
    hook_seconds: float


class TimedMark:
    """A mark, and how long it has taken so far, of one thread's CPU."""

    def __init__(self, mark: Watermark) -> None:
        self.mark, self.seconds = mark, 0.0
        self.delta, self.num_previous = mark.delta, mark.num_previous

    def apply(self, ids_BT, logits_BV):
        start = time.thread_time()
        marked_BV = self.mark.apply(ids_BT, logits_BV)
        self.seconds += time.thread_time() - start
        return marked_BV

    def are_raised(self, ids_BT, logits_BV, rows_N, tokens_N):
        start = time.thread_time()
        raised_N = self.mark.are_raised(ids_BT, logits_BV, rows_N, tokens_N)
        self.seconds += time.thread_time() - start
        return raised_N


async def taken(engine: LocalEngine, prompts: list[list[int]], hook: TimedMark | None, seed: int) -> Taken:
    requests = [
        Request(str(n), "", Sampling(NEW_TOKENS, 1.0, seed=seed + n), prompt_ids=tuple(ids), logits_hook=hook)
        for n, ids in enumerate(prompts)
    ]
    before = hook.seconds if hook else 0.0
    cpu, start = time.process_time(), time.perf_counter()
    async for reply in engine.complete(requests):
        assert isinstance(reply, Reply), reply
        assert reply.usage.completion_tokens == NEW_TOKENS, reply
    seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
    return Taken(seconds, cpu, (hook.seconds if hook else 0.0) - before)


async def main(arguments: argparse.Namespace) -> None:
    path = resolve_model(arguments.model)
    ignore_end_of_text()
    engine, ids, rng = LocalEngine(path), documentation_ids(path), random.Random(0)
    vocab_size = load_tokenizer(path).vocab_size
    hooks: dict[str, TimedMark | None] = {"none": None}
    hooks |= {scheme: TimedMark(Watermark(scheme, vocab_size)) for scheme in arguments.schemes}
    for name, hook in hooks.items():
        if hook:
            start = time.process_time()
            hook.mark.prepare()
            print(f"  {name}: {time.process_time() - start:.1f} CPU s to prepare its lists", flush=True)
    found: dict[str, list[Taken]] = {name: [] for name in hooks}
    await taken(engine, windows(ids, [PROMPT_TOKENS] * AT_ONCE, rng), None, 0)
    for number in range(arguments.rounds + UNCOUNTED):
        prompts = windows(ids, [PROMPT_TOKENS] * AT_ONCE, rng)
        names = list(hooks)
        # Who comes first in one round comes later in the next.
        for name in names[number % len(names) :] + names[: number % len(names)]:
            this = await taken(engine, prompts, hooks[name], 1000 * number)
            print(
                f"  round {number} {name:<9} {this.seconds:6.2f} s, {this.cpu:6.2f} CPU s, "
                f"hook {this.hook_seconds:.2f}",
                flush=True,
            )
            if number >= UNCOUNTED:
                found[name].append(this)
    await engine.close()
    median = lambda name, of: statistics.median(map(of, found[name]))  # noqa: E731
    steps = NEW_TOKENS
    print(f"{os.cpu_count()} cores, vocabulary {vocab_size:,}, medians of {arguments.rounds} rounds")
    report(found, median, steps)


def report(found: dict[str, list[Taken]], median: Callable, steps: int) -> None:
    bare, bare_cpu = median("none", lambda t: t.seconds), median("none", lambda t: t.cpu)
    for name in found:
        seconds, cpu = median(name, lambda t: t.seconds), median(name, lambda t: t.cpu)
        hook = median(name, lambda t: t.hook_seconds)
        print(
            f"{name:<9} {AT_ONCE * NEW_TOKENS / seconds:6.1f} tokens/s ({bare / seconds - 1:+.1%}), "
            f"{cpu:6.2f} CPU s ({cpu / bare_cpu - 1:+.1%}); hook {hook / steps * 1000:.2f} ms a step, "
            f"{hook / cpu:.1%} of the CPU time"
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--schemes", nargs="+", default=["simple_1", "threefry", "selfhash"])
    parser.add_argument("--model", default="smollm2-135m")
    asyncio.run(main(parser.parse_args()))
