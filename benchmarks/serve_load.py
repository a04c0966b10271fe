"""A server under mixed load, for as long as one likes: does its memory stay flat, and is all that people left kept?

    python benchmarks/serve_load.py --seconds 3600 --model pacos-mini --out load.json

Fifty visitors at once ask by the API and on the page, a tenth of them read slowly, a tenth leave in the middle, and one
in twenty sends nonsense; some accept the terms, report and vote. In the middle the server is killed and started again.
Exits with 1 where memory grew by more than 5% after the warm-up, an answer is still under way when nobody is there, an
acceptance, report or vote that the server took is not in its database, or a request got a 5xx or an error in another
shape than OpenAI's.
"""

import argparse
import asyncio
import hashlib
import json
import random
import re
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

VISITORS = 50
FILLING = 120  # questions of some 800 tokens
WARM_UP = 0.2  # of the time between a start of the server and its end
WORDS = ["Name", "three", "fruits", "that", "grow", "in", "Spain", "and", "tell", "why", "people", "like", "them"]
SHARES = {"api": 50, "page": 15, "slow": 10, "leaves": 10, "malformed": 5, "report": 5, "vote": 5}
MALFORMED: tuple[bytes, ...] = (
    b'{"model":', b"\xff\xfe", b"[" * 20_000, b'{"model": 1}', b'{"model": "MODEL", "messages": []}', b"null", b"",
    b'{"model": "MODEL", "messages": [{"role": "user", "content": "x"}], "n": 1000000000}',
    b'{"model": "MODEL", "messages": [{"role": "user", "content": "x"}], "temperature": NaN}',
    b'{"model": "MODEL", "messages": [{"role": "user", "content": "\\ud800"}]}',
    b'{"model": "nobody", "messages": [{"role": "user", "content": "x"}]}',
    b'{"model": "MODEL", "messages": [{"role": "user", "content": "' + b"x" * 40_000 + b'"}]}',
)  # fmt: skip


@dataclass
class Tally:
    """What happened, and what the server said that it took."""

    done: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    sessions: set[str] = field(default_factory=set)
    reports: dict[int, str] = field(default_factory=dict)
    votes: dict[str, str] = field(default_factory=dict)
    first_seconds: list[float] = field(default_factory=list)


@dataclass
class Reply:
    """An answer as it comes: its status and headers have been read."""

    status: int
    head: str
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def rest(self) -> bytes:
        """All that follows."""
        return await self.reader.read()


async def ask(port: int, method: str, path: str, body: bytes = b"", cookie: str = "", size: int = 2**16) -> Reply:
    """Sends one request on a connection of its own; ConnectionError where the server is not there."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=size)
    session = f"Cookie: pacos_session={cookie}\r\n" if cookie else ""
    head = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\n"
    writer.write(f"{head}{session}Content-Length: {len(body)}\r\n\r\n".encode() + body)
    await writer.drain()
    read = (await reader.readuntil(b"\r\n\r\n")).decode()
    return Reply(int(read.split()[1]), read, reader, writer)


class Load:
    """The visitors of one server, which `restart` replaces."""

    def __init__(self, port: int, model: str, tally: Tally, seed: int) -> None:
        self.port, self.model, self.tally = port, model, tally
        self.random = random.Random(seed)
        self.is_up, self.is_over = asyncio.Event(), False

    async def visitor(self) -> None:
        """One visit after another."""
        while not self.is_over:
            await self.is_up.wait()
            (kind,) = self.random.choices(list(SHARES), SHARES.values())
            try:
                async with asyncio.timeout(300):
                    await getattr(self, f"_{kind}")()
                self.tally.done[kind] += 1
            except (ConnectionError, asyncio.IncompleteReadError):
                # Only where the server was killed meanwhile.
                self.tally.done[f"{kind}, cut"] += 1
                if self.is_up.is_set():
                    await asyncio.sleep(0.5)
            except (TimeoutError, ValueError, KeyError) as error:
                self.tally.wrong.append(f"{kind}: {error!r}")

    def _question(self, **more: Any) -> bytes:
        words = self.random.choices(WORDS, k=12)
        asked = {"messages": [{"role": "user", "content": " ".join(words)}], "max_tokens": self.random.randint(8, 200)}
        return json.dumps({"model": self.model, "stream": self.random.random() < 0.8, **asked, **more}).encode()

    async def _checked(self, reply: Reply, *statuses: int) -> bytes:
        body = await reply.rest()
        reply.writer.close()
        if reply.status not in statuses:
            self.tally.wrong.append(f"status {reply.status}: {body[:200]!r}")
        if reply.status >= 400:
            error = json.loads(body)["error"]
            if set(error) != {"message", "type", "param", "code"}:
                self.tally.wrong.append(f"shape {body[:200]!r}")
        return body

    async def _api(self) -> None:
        question, started = self._question(n=self.random.choice([None, None, 2])), time.perf_counter()
        reply = await ask(self.port, "POST", "/v1/chat/completions", question)
        self.tally.first_seconds.append(time.perf_counter() - started)
        await self._checked(reply, 200)

    async def _slow(self) -> None:
        reply = await ask(self.port, "POST", "/v1/chat/completions", self._question(stream=True), size=1024)
        while await reply.reader.read(512):
            await asyncio.sleep(0.05)
        reply.writer.close()

    async def _leaves(self) -> None:
        asking = asyncio.ensure_future(ask(self.port, "POST", "/v1/chat/completions", self._question(max_tokens=400)))
        done, _ = await asyncio.wait([asking], timeout=self.random.choice([0.0, 0.01, 0.1, 1.0]))
        if not done:
            asking.cancel()
            return
        reply = asking.result()
        with suppress(TimeoutError):
            async with asyncio.timeout(self.random.random()):
                await reply.rest()
        reply.writer.transport.abort()

    async def _malformed(self) -> None:
        body = self.random.choice(MALFORMED).replace(b"MODEL", self.model.encode())
        await self._checked(await ask(self.port, "POST", "/v1/chat/completions", body), 400, 404)

    async def _session(self) -> str:
        reply = await ask(self.port, "POST", "/terms")
        await self._checked(reply, 303)
        (session,) = re.findall(r"pacos_session=([\w-]+)", reply.head)
        self.tally.sessions.add(hashlib.sha256(session.encode()).hexdigest())
        return session

    async def _asked(self, path: str, session: str) -> list[dict[str, Any]]:
        reply = await ask(self.port, "POST", path, self._question(), session)
        events = [json.loads(line) for line in (await self._checked(reply, 200)).splitlines() if reply.status == 200
                  for line in [re.sub(rb"^[0-9a-f]+$", b"null", line)] if line]  # fmt: skip
        return [event for event in events if isinstance(event, dict)]

    async def _page(self) -> None:
        await self._asked("/chat", await self._session())

    async def _report(self) -> None:
        session, details = await self._session(), f"report {self.random.random()}"
        transcript = [{"role": "user", "content": "Q"}, {"role": "assistant", "content": "A" * 1000}]
        form = {"reason": "wrong", "details": details, "consent": True, "transcript": transcript}
        body = await self._checked(await ask(self.port, "POST", "/reports", json.dumps(form).encode(), session), 201)
        self.tally.reports[json.loads(body)["id"]] = details

    async def _vote(self) -> None:
        session = await self._session()
        start, *_ = await self._asked("/comparisons", session)
        choice = self.random.choice(["a", "b", "tie", "bad"])
        form = json.dumps({"choice": choice}).encode()
        await self._checked(await ask(self.port, "POST", f"/comparisons/{start['id']}/vote", form, session), 200)
        self.tally.votes[start["id"]] = choice

    async def fill_caches(self) -> None:
        """Has the prefix caches of both engines as full as they get, which is no leak."""
        for _ in range(FILLING):
            question = "".join(self.random.choices("etaoin shrdlu", k=1500))
            asked = {"messages": [{"role": "user", "content": question}]}
            asked["sampling"] = {"temperature": 1, "top_p": 1, "max_tokens": 1}
            await self._checked(
                await ask(self.port, "POST", "/comparisons", json.dumps(asked).encode(), await self._session()), 200
            )

    async def metrics(self) -> dict[str, float]:
        """Numbers without labels, by name."""
        text = (await (await ask(self.port, "GET", "/metrics")).rest()).decode()
        return {name: float(value) for name, value in re.findall(r"^(pacos_\w+) (\S+)$", text, re.M)}


def start(model: str, port: int, folder: Path) -> tuple[subprocess.Popen[str], int]:
    """A server that is ready, and its port."""
    command = [sys.executable, "-m", "pacos", "serve", "--model", model, f"serve.port={port}", f"serve.compare={model}"]
    with open(folder / "log", "a") as log:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True, cwd=folder)
    assert process.stdout
    for line in process.stdout:
        if found := re.search(r" at http://[^ ]*:(\d+)", line):
            return process, int(found[1])
    raise SystemExit(f"the server did not start; see {folder / 'log'}")


def resident(process: subprocess.Popen[str]) -> float:
    """A process's memory in MiB."""
    return int(re.findall(r"VmRSS:\s+(\d+)", Path(f"/proc/{process.pid}/status").read_text())[0]) / 1024


async def live(load: Load, process: subprocess.Popen[str], seconds: float) -> list[float]:
    """One life of the server: memory after the warm-up and from then on."""
    await load.fill_caches()
    load.is_up.set()
    await asyncio.sleep(seconds * WARM_UP)
    memory = []
    for _ in range(20):
        await asyncio.sleep(seconds * (1 - WARM_UP) / 20)
        memory.append(round(resident(process), 1))
    return memory


def lost(folder: Path, tally: Tally) -> dict[str, int]:
    """What was taken and is not there, by kind."""
    (database,) = folder.glob("runs/*/serve/store.sqlite")
    with closing(sqlite3.connect(database)) as connection:
        sessions = {row[0] for row in connection.execute("SELECT session_sha256 FROM people_acceptances")}
        reports = dict(connection.execute("SELECT id, details FROM serve_reports"))
        votes = dict(connection.execute("SELECT id, choice FROM serve_votes"))
    return {
        "acceptances": len(tally.sessions - sessions),
        "reports": sum(reports.get(key) != told for key, told in tally.reports.items()),
        "votes": sum(votes.get(key) != told for key, told in tally.votes.items()),
    }


async def measure(model: str, seconds: float, folder: Path, seed: int) -> dict[str, Any]:
    """Both lives, and the reckoning."""
    tally = Tally()
    process, port = start(model, 0, folder)
    load = Load(port, Path(model).name, tally, seed)
    lives = []
    try:
        visitors = [asyncio.ensure_future(load.visitor()) for _ in range(VISITORS)]
        lives.append(await live(load, process, seconds / 2))
        load.is_up.clear()
        process.kill()
        process.wait()
        process, _ = await asyncio.to_thread(start, model, port, folder)
        lives.append(await live(load, process, seconds / 2))
        load.is_over = True
        await asyncio.gather(*visitors)
        await asyncio.sleep(5)
        metrics = await load.metrics()
    finally:
        process.kill()
    seen = sorted(tally.first_seconds)
    growth = [max(memory[-3:]) / memory[0] - 1 for memory in lives]
    left = {name: metrics[f"pacos_answers_{name}"] for name in ("under_way", "waiting")}
    missing = lost(folder, tally)
    is_well = max(growth) <= 0.05 and not any(left.values()) and not any(missing.values()) and not tally.wrong
    return {
        "model": model, "seconds": seconds, "visits": dict(sorted(tally.done.items())),
        "first_byte_seconds": {str(p): round(seen[int(len(seen) * p / 100)], 3) for p in (50, 95)},
        "memory_mib": lives, "memory_growth": [round(each, 4) for each in growth], "left": left,
        "taken": {"acceptances": len(tally.sessions), "reports": len(tally.reports), "votes": len(tally.votes)},
        "lost": missing, "wrong": tally.wrong[:20], "num_wrong": len(tally.wrong), "is_well": is_well,
        "tracebacks": (folder / "log").read_text().count("Traceback"),
    }  # fmt: skip


def main() -> None:
    """Measures, prints, and keeps."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=3600)
    parser.add_argument("--model", default="pacos-mini")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = asyncio.run(measure(asked.model, asked.seconds, Path(folder), asked.seed))
    text = json.dumps(found, indent=1)
    print(text)
    if asked.out:
        asked.out.write_text(text + "\n")
    sys.exit(not found["is_well"])


if __name__ == "__main__":
    main()
