import asyncio
import time
from types import SimpleNamespace
from typing import Any

import pytest

from pacos.engines.http import breaker, http_engine, pace
from tests.servers import openai_server


@pytest.fixture(autouse=True)
def no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waits of the client's own, shorter than for real servers."""
    monkeypatch.setattr(breaker, "FIRST_PROBE_SECONDS", 0.2)
    monkeypatch.setattr(pace, "FIRST_WAIT_SECONDS", 0.05)


class Clock:
    """Client's and server's time: it stands still while a request is in flight, and no wait takes any of ours."""

    def __init__(self) -> None:
        self.now = 1000.0

    async def sleep(self, seconds: float) -> None:
        # Never by nothing: what is due at a rounded time would be waited for without end.
        self.now += max(seconds, 1e-6)
        await asyncio.sleep(0)

    def __getattr__(self, name: str) -> Any:
        return getattr(asyncio, name)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    of_day_and_monotonic = SimpleNamespace(monotonic=lambda: clock.now, time=lambda: time.time())
    for module in (http_engine, pace, breaker, openai_server):
        monkeypatch.setattr(module, "time", of_day_and_monotonic)
    monkeypatch.setattr(http_engine, "asyncio", clock)
    return clock
