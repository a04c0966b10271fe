"""The whole job of 52,000 examples against a server with a fast real one's limits and latencies.

`python -m benchmarks.job_52k [NUM_EXAMPLES]` from the root of the checkout; about nine minutes for 52,000

The server is a process of its own on loopback. It admits 500 requests a minute, by a token bucket that holds 10; a
request beyond is refused at once with 429 and `Retry-After`, and every answer says in `x-ratelimit-*` headers what
remains. An admitted one is answered after a latency drawn by seed: log-normal, median 2 s, sigma 0.8, cut at 30 s. Its
text is seventeen tasks of pseudo-words drawn with Zipf weights, about one in five of them faulty.

overhead = (the client's wall time, from start to exit, files and datasheet written) / (the time the limits allow) - 1,
where the limits allow for N requests, the N up to the one that gave the last example kept:
max over i < N of max(0, i + 1 - 10) / (500 / 60) + latency(i), the latencies in the order of admission: a client that
needs no time itself and sends every request the moment it is admitted. Requests beyond N are the client's own loss.
"""

import asyncio
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from itertools import accumulate
from pathlib import Path

ROOT = Path(__file__).parent.parent
PER_SECOND, CAPACITY = 500 / 60, 10
MEDIAN_SECONDS, SIGMA, LONGEST_SECONDS = 2.0, 0.8, 30.0
CONCURRENCY = 96
SYLLABLES = [consonant + vowel for consonant in "bdfghjklmnprstvz" for vowel in "aeiou"]
WORDS = ["".join(random.Random(n).choices(SYLLABLES, k=1 + n % 4)) for n in range(6000)]
WEIGHTS = list(accumulate(1 / (rank + 10) for rank in range(len(WORDS))))


def latency_seconds(number: int) -> float:
    """Of the so-many-th request admitted."""
    return min(LONGEST_SECONDS, MEDIAN_SECONDS * random.Random(number).lognormvariate(0, SIGMA))


def sentence(rng: random.Random, shortest: int, longest: int) -> str:
    return " ".join(rng.choices(WORDS, cum_weights=WEIGHTS, k=rng.randint(shortest, longest)))


def task(rng: random.Random) -> tuple[str, str, str]:
    """Instruction, input and output; one in five breaks a rule or is near to all others of its kind."""
    instruction = f"{sentence(rng, 1, 1).capitalize()} the {sentence(rng, 6, 18)}."
    input = sentence(rng, 5, 40) if rng.random() < 0.4 else "<noinput>"
    output = f"{sentence(rng, 3, 90).capitalize()}."
    faulty = [
        ("Do it.", input, output),
        (f"{instruction} Then draw a picture of it.", input, output),
        (instruction, input, ""),
        (f"Describe the very same thing as always in {sentence(rng, 1, 1)} words.", input, output),
    ]
    return rng.choice(faulty) if rng.random() < 0.2 else (instruction, input, output)


def reply_text(prompt: str, seed: int) -> str:
    """Tasks 4 to 20 in the asked format."""
    rng = random.Random(f"{seed}/{len(prompt)}")
    parts = []
    for number in range(4, 21):
        instruction, input, output = task(rng)
        label = "" if number == 4 else f"###\n{number}. Instruction:"
        parts.append(f"{label} {instruction}\n{number}. Input:\n{input}\n{number}. Output:\n{output}\n")
    return "".join(parts)


class Server:
    """Chat completions over HTTP/1.1, just enough of it."""

    def __init__(self) -> None:
        self.tokens, self.filled_at = float(CAPACITY), time.monotonic()
        self.admitted = self.refused = 0

    def admit(self) -> float:
        """0.0 where the request is admitted, else the seconds until one would be."""
        now = time.monotonic()
        self.tokens = min(CAPACITY, self.tokens + (now - self.filled_at) * PER_SECOND)
        self.filled_at = now
        if self.tokens < 1:
            self.refused += 1
            return (1 - self.tokens) / PER_SECOND
        self.tokens -= 1
        self.admitted += 1
        return 0.0

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answers the requests of one connection, one after another."""
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
                length = int(head.split("content-length:")[1].split("\r\n")[0])
                writer.write(await self.answer(json.loads(await reader.readexactly(length))))
                await writer.drain()
        writer.close()

    async def answer(self, body: dict) -> bytes:
        wait = self.admit()
        if wait:
            error = {"message": "Rate limit reached.", "type": "requests", "code": "rate_limit_exceeded"}
            return self.response("429 Too Many Requests", {"error": error}, f"Retry-After: {int(wait) + 1}\r\n")
        await asyncio.sleep(latency_seconds(self.admitted - 1))
        prompt = body["messages"][-1]["content"]
        text = reply_text(prompt, body["seed"])
        for stop in body.get("stop") or ():
            text = text.partition(stop)[0]
        choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}
        counts = {"prompt_tokens": len(prompt) // 4, "completion_tokens": len(text) // 4}
        usage = counts | {"total_tokens": sum(counts.values())}
        answer = {
            "id": "c",
            "object": "chat.completion",
            "created": 0,
            "model": "m",
            "choices": [choice],
            "usage": usage,
        }
        return self.response("200 OK", answer)

    def response(self, status: str, value: dict, more: str = "") -> bytes:
        data = json.dumps(value).encode()
        limits = (
            f"x-ratelimit-limit-requests: 500\r\nx-ratelimit-remaining-requests: {int(self.tokens)}\r\n"
            f"x-ratelimit-reset-requests: {int(1000 * (CAPACITY - self.tokens) / PER_SECOND)}ms\r\n"
        )
        head = (
            f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {len(data)}\r\n{limits}{more}\r\n"
        )
        return head.encode() + data


async def serve() -> None:
    """The server's process: prints its address; when a line comes on standard input, its counts, and ends."""
    server = Server()
    listening = await asyncio.start_server(server.connected, "127.0.0.1", 0)
    print(f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}/v1", flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)
    print(json.dumps([server.admitted, server.refused]), flush=True)


def allowed_seconds(requests: int) -> float:
    """What the limits allow at best."""
    return max(max(0, i + 1 - CAPACITY) / PER_SECOND + latency_seconds(i) for i in range(requests))


def client(folder: Path, base_url: str, num_examples: int) -> tuple[float, float, float]:
    """Runs the job; wall seconds, CPU seconds and peak memory in GB of its process."""
    (folder / "recipe.toml").write_text("")
    settings = {
        "teacher.engine": "http",
        "teacher.base_url": base_url,
        "teacher.concurrency": CONCURRENCY,
        "generate.num_examples": num_examples,
    }
    command = [sys.executable, "-m", "pacos", "generate", str(folder / "recipe.toml"), "--run", str(folder / "run")]
    command += [f"{key}={value}" for key, value in settings.items()]
    start = time.monotonic()
    process = subprocess.Popen(command, cwd=ROOT)
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.monotonic() - start
    if status:
        raise RuntimeError(f"the client ended with status {status}")
    return seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024 / 1e9


def main() -> None:
    """Prints overhead, memory and what the server saw."""
    num_examples = int(sys.argv[1]) if len(sys.argv) > 1 else 52_000
    command = [sys.executable, "-c", "import asyncio; from benchmarks.job_52k import serve; asyncio.run(serve())"]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with tempfile.TemporaryDirectory() as name, subprocess.Popen(command, cwd=ROOT, **pipes) as server:
        folder = Path(name)
        try:
            seconds, cpu, memory = client(folder, server.stdout.readline().strip(), num_examples)
            admitted, refused = json.loads(server.communicate("\n")[0])
        finally:
            server.kill()
        report = json.loads((folder / "run" / "generate" / "report.json").read_text())
        with open(folder / "run" / "generate" / "dataset.jsonl", encoding="utf-8") as lines:
            needed = max(json.loads(line)["request"] for line in lines) + 1
    allowed = allowed_seconds(needed)
    print(f"{report['kept']:,} kept of {report['asked']:,} asked for ({report['kept'] / report['asked']:.0%})")
    print(f"{needed:,} requests needed, {admitted:,} admitted, {refused:,} refused with 429")
    print(f"wall {seconds:.1f} s, allowed {allowed:.1f} s: overhead {seconds / allowed - 1:.2%}")
    print(f"the client's CPU time {cpu:.1f} s, {cpu / admitted * 1000:.1f} ms a reply; peak memory {memory:.2f} GB")


if __name__ == "__main__":
    main()
