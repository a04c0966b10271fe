"""Kills one job a hundred times at random moments, and looks for a reply that was lost or paid for twice.

`python -m benchmarks.kill_100` from the root of the checkout

`pacos generate` runs as a process of its own against a server in another (tests/servers/openai_server.py, on loopback,
its texts and latencies drawn by seed). It is sent SIGKILL after a time drawn evenly from `DELAYS`, then the same
command starts again. Of every second kill that time is counted from the start, so that some die while starting or
replaying; of the others from the first reply that the process added to the ledger, so that they die at work on a slow
machine too.
Checked after every kill:

- every reply that the ledger held before the kill is in it after, unchanged, and none that it holds is asked again;
- at most as many requests as may be in flight (`teacher.concurrency`) are asked again for each kill: those that the
  server had received and whose replies were not in the ledger. A reply that the server sent in whole and that had not
  reached the ledger counts as in flight.

At the end dataset.json and dataset.jsonl must be, byte for byte, those of a run that was never killed.
"""

import json
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.servers.openai_server import OpenAIServer

ROOT = Path(__file__).parent.parent
KILLS, NUM_EXAMPLES, CONCURRENCY, LATENCY_SECONDS, DELAYS = 100, 6_500, 4, 0.35, (0.0, 1.2)
SERVER = "from benchmarks.kill_100 import serve; serve({})"
Replies = dict[tuple[str, int], str]


@dataclass(frozen=True)
class Outcome:
    """What a job that was killed so often came to; `repeated` are the requests asked again after each kill."""

    replies: int
    lost: int
    asked_though_stored: int
    repeated: list[int]
    stored_at_kills: list[int]
    identical: bool


def serve(latency_seconds: float) -> None:
    """The server's process: answers until standard input ends; for each line on it, prints all requests so far."""

    def latency(number: int) -> float:
        return latency_seconds * random.Random(number).lognormvariate(0, 0.5)

    with OpenAIServer(latency_seconds=latency) as server:
        print(server.base_url, flush=True)
        for _ in sys.stdin:
            with server.lock:
                asked = [(body["messages"][-1]["content"], body["seed"]) for body in server.bodies]
            print(json.dumps(asked), flush=True)


@contextmanager
def served(latency_seconds: float) -> Iterator[subprocess.Popen]:
    """A server in a process of its own."""
    command = [sys.executable, "-c", SERVER.format(latency_seconds)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT) as server:
        try:
            yield server
        finally:
            server.kill()


def asked_so_far(server: subprocess.Popen) -> list[tuple[str, int]]:
    """Every request that reached the server, as its prompt and seed, in the order of arrival."""
    assert server.stdin
    assert server.stdout
    server.stdin.write("\n")
    server.stdin.flush()
    return [(prompt, seed) for prompt, seed in json.loads(server.stdout.readline())]


def stored(run: Path, scratch: Path) -> Replies:
    """(prompt, seed) -> text of the replies in the ledger, read from a copy, so that nobody but the job touches it."""
    for name in ("ledger.sqlite", "ledger.sqlite-wal"):
        (scratch / name).unlink(missing_ok=True)
        if (run / "generate" / name).exists():
            shutil.copy(run / "generate" / name, scratch)
    with closing(sqlite3.connect(scratch / "ledger.sqlite")) as ledger:
        if not ledger.execute("select 1 from sqlite_master where name = 'replies'").fetchone():
            return {}
        rows = ledger.execute("select prompt, sampling, text from replies").fetchall()
    return {(prompt, json.loads(sampling)["seed"]): text for prompt, sampling, text in rows}


def wait_for_reply(folder: Path, job: subprocess.Popen, held: int) -> None:
    """Returns when the ledger has more than `held` replies."""
    deadline = time.monotonic() + 120
    while len(stored(folder / "killed", folder)) <= held:
        assert job.poll() is None, "the job ended without a new reply"
        assert time.monotonic() < deadline, "no new reply in two minutes"
        time.sleep(0.05)


def killed_job(
    folder: Path, kills: int, num_examples: int, concurrency: int, latency_seconds: float, delays: tuple[float, float]
) -> Outcome:
    """Runs the job unbroken and killed, both against one server."""
    rng = random.Random(0)
    (folder / "recipe.toml").write_text("")
    with served(latency_seconds) as server:
        assert server.stdout
        command = [sys.executable, "-m", "pacos", "generate", str(folder / "recipe.toml")]
        settings = {
            "teacher.engine": "http",
            "teacher.base_url": server.stdout.readline().strip(),
            "teacher.concurrency": concurrency,
            "generate.num_examples": num_examples,
        }
        command += [f"{key}={value}" for key, value in settings.items()]
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "cwd": ROOT}
        subprocess.run([*command, "--run", str(folder / "whole")], check=True, **quiet)
        start = len(asked_so_far(server))
        held: Replies = {}
        lost = asked_though_stored = 0
        repeated, stored_at_kills = [], []
        before: Counter[tuple[str, int]] = Counter()
        for number in range(kills + 1):
            with subprocess.Popen([*command, "--run", str(folder / "killed")], **quiet) as job:
                if number < kills:
                    if number % 2:
                        wait_for_reply(folder, job, len(held))
                    time.sleep(rng.uniform(*delays))
                    assert job.poll() is None, f"the job ended before kill {number + 1}; give it more examples"
                    job.send_signal(signal.SIGKILL)
                _, errors = job.communicate()
            if number == kills and job.returncode:
                raise RuntimeError(errors.decode())
            asked = asked_so_far(server)[start:]
            session = asked[before.total() :]
            now = stored(folder / "killed", folder)
            lost += sum(now.get(request) != text for request, text in held.items())
            asked_though_stored += sum(request in held for request in session)
            repeated.append(sum(request in before for request in session))
            before.update(session)
            held = now
            stored_at_kills.append(len(now))
        same = [
            (folder / "whole" / "generate" / name).read_bytes() == (folder / "killed" / "generate" / name).read_bytes()
            for name in ("dataset.json", "dataset.jsonl")
        ]
    return Outcome(len(held), lost, asked_though_stored, repeated[1:], stored_at_kills[:-1], all(same))


def main() -> None:
    """Prints what was lost and repeated."""
    with tempfile.TemporaryDirectory() as folder:
        start = time.monotonic()
        outcome = killed_job(Path(folder), KILLS, NUM_EXAMPLES, CONCURRENCY, LATENCY_SECONDS, DELAYS)
    moments, repeated = outcome.stored_at_kills, outcome.repeated
    grew = sum(b > a for a, b in zip([0, *moments], moments, strict=False))
    print(f"{KILLS} kills, {time.monotonic() - start:.0f} s; {outcome.replies:,} replies for {NUM_EXAMPLES:,} examples")
    print(f"in the ledger at the kills: {moments[0]} to {moments[-1]} replies; {grew} of the killed had added some")
    print(f"replies lost: {outcome.lost}; replies in the ledger asked for again: {outcome.asked_though_stored}")
    print(f"requests repeated: at most {max(repeated)} a kill, {sum(repeated)} in all (in flight: {CONCURRENCY})")
    print(f"dataset.json and dataset.jsonl as in the unbroken run: {outcome.identical}")


if __name__ == "__main__":
    main()
