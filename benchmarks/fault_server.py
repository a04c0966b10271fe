"""What faults cost the http client, beyond what the server itself imposes: `python -m benchmarks.fault_server`

A server in a process of its own (tests/servers/openai_server.py, on loopback) answers the same requests twice: once
without faults, once with a seeded share of every kind: 429 with Retry-After in seconds, as a date and without, 500,
503, stalls, connections reset, bodies cut in the middle, replies cut at their limit and filtered. A prompt's latency
and text depend on the prompt only, so both runs ask for the same work.

Throughput is replies a second of *net* time, compared between the runs. Time is counted in seconds of one of the
`CONCURRENCY` places, each while there is a request for it: at the end of a run, when fewer requests are unanswered than
there are places, the others do not count, in either run. From this, in the run with faults, go the waits that the
server imposed:

- a failed attempt's whole duration (of a stall: until the client's time-out; of a cut body: the time it took);
- while a Retry-After is in force: the places left empty, but no more than there were requests without an answer.

The rest, divided by `CONCURRENCY`, is the net time. So the client's own backoffs (after 5xx, resets, cut bodies and 429
without Retry-After), slow restarts after a pause and its bookkeeping count against it, and nothing is taken out of the
run without faults.

Wasted tokens are those of replies that the server sent whole and that the client asked for again or threw away, as a
share of all tokens sent whole; tokens in bodies that the server cut are told apart. Every reply's text and finish
reason is compared with what the server says it sent.

`python -m benchmarks.fault_server --rate-limit` measures instead how much of a limit of 500 requests a minute is used,
with latencies of 2 s at the median and a long tail, for 100 s of asking, after 20 s that empty the bucket's first fill.
"""

import argparse
import asyncio
import itertools
import json
import math
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pacos.core.recipe import EngineTable
from pacos.engines import Failure, Reply, Request, Sampling
from pacos.engines.http import HttpEngine
from pacos.engines.http.troubles import Trouble
from tests.servers.openai_server import CUT, Handler, OpenAIServer, TokenBucket, no_faults, seeded_faults

CONCURRENCY = 16
REQUESTS = 600
FAULT_SHARE = 0.15
LONGEST_LATENCY = 2.0
# The client's time-out never falls below 30 s by default; the stalls of a benchmark of two minutes have to be shorter.
SHORTEST_TIMEOUT, TIMEOUT = 4.0, 10.0
PER_MINUTE, BURST = 500, 20


def latency(prompt: str) -> float:
    """Seconds, 0.5 at the median; the tail is cut."""
    return min(LONGEST_LATENCY, 0.5 * math.exp(random.Random(prompt).gauss(0, 0.7)))


def text_of(prompt: str, seed: int | None) -> str:
    time.sleep(latency(prompt))
    rng = random.Random(f"text {prompt}")
    return " ".join(rng.choice(("alpaca", "llama", "vicuna", "guanaco")) for _ in range(rng.randint(20, 400)))


class BookkeepingServer(OpenAIServer):
    """Notes every reply as it was sent: prompt, text, finish reason, tokens and whether it was cut on the way."""

    def __init__(self, **more: Any) -> None:
        self.books: list[dict[str, Any]] = []
        super().__init__(**more)


class BookkeepingHandler(Handler):
    owner: BookkeepingServer

    def delivered(self, number: int, body: dict[str, Any], text: str, fault: str | None) -> None:
        reason = fault if fault in CUT else "stop"
        sent = {"prompt": body["messages"][-1]["content"], "text": text, "reason": reason, "tokens": len(text) // 4}
        with self.owner.lock:
            self.owner.books.append({**sent, "cut": fault == "truncated"})


BookkeepingServer.handler = BookkeepingHandler


def serve(kind: str) -> None:
    """Runs in the server's process: prints the address, and the books when its input ends."""
    if kind == "limited":
        bucket = TokenBucket(PER_MINUTE / 60, BURST)
        lognormal = random.Random(0).gauss
        server = BookkeepingServer(
            text_of=lambda prompt, seed: "x", latency_seconds=lambda n: 2.0 * math.exp(lognormal(0, 0.8)), bucket=bucket
        )
    else:
        faults = seeded_faults(FAULT_SHARE) if kind == "faulty" else no_faults
        server = BookkeepingServer(faults=faults, text_of=text_of, stall_seconds=60.0)
    with server:
        print(server.base_url, flush=True)
        sys.stdin.read()
        print(json.dumps({"books": server.books, "faults": server.faults_made, "requests": len(server.bodies)}))


@dataclass(frozen=True)
class Attempt:
    start: float
    end: float
    outcome: Reply | Trouble


class WatchedEngine(HttpEngine):
    """The client as it is, with the time and outcome of each attempt noted."""

    def __init__(self, table: EngineTable, *timeouts: float) -> None:
        super().__init__(table, *timeouts)
        self.attempts: list[Attempt] = []

    async def _attempt(self, job: Any, *more: Any) -> Reply | Trouble:
        start = time.monotonic()
        outcome = await super()._attempt(job, *more)
        self.attempts.append(Attempt(start, time.monotonic(), outcome))
        return outcome


@dataclass(frozen=True)
class Run:
    start: float
    seconds: float
    answers: dict[str, Reply | Failure]
    attempts: list[Attempt]
    books: list[dict[str, Any]]
    faults: dict[str, int]


def ask(kind: str, count: int, concurrency: int = CONCURRENCY, seconds: float = math.inf) -> Run:
    command = [sys.executable, "-m", "benchmarks.fault_server", "--serve", kind]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    address = process.stdout.readline().strip()
    table = EngineTable(engine="http", base_url=address, model="small", concurrency=concurrency)
    engine = WatchedEngine(table, *((600.0, 30.0) if kind == "limited" else (TIMEOUT, SHORTEST_TIMEOUT)))
    answers: dict[str, Reply | Failure] = {}
    start = time.monotonic()

    def requests() -> Iterator[Request]:
        for number in range(count):
            if time.monotonic() - start > seconds:
                return
            yield Request(f"question {number}", f"question {number}", Sampling(max_tokens=1000))

    async def collect() -> None:
        async for answer in engine.complete(requests()):
            answers[answer.id] = answer
        await engine.close()

    asyncio.run(collect())
    took = time.monotonic() - start
    told = json.loads(process.communicate(input="", timeout=30)[0])
    return Run(start, took, answers, engine.attempts, told["books"], told["faults"])


@dataclass(frozen=True)
class PlaceSeconds:
    """`offered` to the client, `failed` in vain attempts, `paused`: empty while a Retry-After was in force."""

    offered: float
    failed: float
    paused: float

    @property
    def net_seconds(self) -> float:
        return (self.offered - self.failed - self.paused) / CONCURRENCY


def account(run: Run) -> PlaceSeconds:
    troubles = [(a, a.outcome) for a in run.attempts if isinstance(a.outcome, Trouble)]
    pauses = [
        (attempt.end, attempt.end + trouble.wait_seconds)
        for attempt, trouble in troubles
        if trouble.wait_seconds and trouble.kind == "rate_limit"
    ]
    replies = sorted(attempt.end for attempt in run.attempts if isinstance(attempt.outcome, Reply))
    changes = {run.start, *replies, *(at for a in run.attempts for at in (a.start, a.end))}
    changes |= {at for pause in pauses for at in pause if at < replies[-1]}
    offered = paused = 0.0
    for begin, end in itertools.pairwise(sorted(changes)):
        places = min(CONCURRENCY, sum(at > begin for at in replies))
        offered += places * (end - begin)
        if any(start <= begin < stop for start, stop in pauses):
            in_flight = sum(attempt.start <= begin < attempt.end for attempt in run.attempts)
            paused += max(0, places - in_flight) * (end - begin)
    return PlaceSeconds(offered, sum(attempt.end - attempt.start for attempt, _ in troubles), paused)


def check(run: Run) -> None:
    """Every request has one reply, and it is what the server sent, whole, at some time."""
    sent: dict[str, list[tuple[str, str]]] = {}
    for row in run.books:
        if not row["cut"]:
            sent.setdefault(row["prompt"], []).append((row["text"], row["reason"]))
    assert len(run.answers) == REQUESTS
    for key, answer in run.answers.items():
        assert isinstance(answer, Reply), answer
        assert (answer.text, answer.finish_reason) in sent[key], key


def compare() -> None:
    calm, wild = ask("calm", REQUESTS), ask("faulty", REQUESTS)
    check(calm)
    check(wild)
    calm_places, wild_places = account(calm), account(wild)
    share = calm_places.net_seconds / wild_places.net_seconds
    whole = sum(row["tokens"] for row in wild.books if not row["cut"])
    kept = sum(len(answer.text) // 4 for answer in wild.answers.values() if isinstance(answer, Reply))
    cut = sum(row["tokens"] for row in wild.books if row["cut"])
    print(f"faults made: {dict(sorted(wild.faults.items()))}; attempts {len(wild.attempts)}")
    print(f"without faults: {REQUESTS} replies in {calm.seconds:.1f} s, {REQUESTS / calm.seconds:.2f} a second")
    print(f"with faults: {REQUESTS} replies in {wild.seconds:.1f} s, {REQUESTS / wild.seconds:.2f} a second")
    for name, places in (("without faults", calm_places), ("with faults", wild_places)):
        print(
            f"{name}: {places.offered:.1f} place-seconds, failed attempts {places.failed:.1f}, empty while a "
            f"Retry-After was in force {places.paused:.1f}; net time {places.net_seconds:.2f} s"
        )
    print(f"throughput net of what the server imposed: {100 * share:.1f}% of that without faults")
    print(f"tokens wasted by the client: {whole - kept} of {whole} sent whole ({100 * (whole - kept) / whole:.2f}%)")
    print(f"tokens in bodies that the server cut: {cut}")
    print("every reply is what the server sent, in both runs")


def use_up_limit() -> None:
    warm_up, seconds = 20.0, 120.0
    run = ask("limited", 10**6, concurrency=64, seconds=seconds)
    # What was admitted: a reply counts when its request was sent, for the bucket takes its token then.
    accepted = [a for a in run.attempts if isinstance(a.outcome, Reply)]
    first = min(attempt.start for attempt in run.attempts)
    counted = sum(warm_up <= attempt.start - first < seconds for attempt in accepted)
    possible = (seconds - warm_up) * PER_MINUTE / 60
    kinds = Counter(type(attempt.outcome).__name__ for attempt in run.attempts)
    print(f"{counted} replies to requests of {seconds - warm_up:.0f} s; the limit allows {possible:.0f}")
    print(f"used: {100 * counted / possible:.1f}%; refused {kinds['Trouble']} of {len(run.attempts)} attempts")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--serve", choices=["calm", "faulty", "limited"])
    parser.add_argument("--rate-limit", action="store_true")
    given = parser.parse_args()
    if given.serve:
        serve(given.serve)
    elif given.rate_limit:
        use_up_limit()
    else:
        compare()
