import pytest

from pacos.engines.http import breaker, pace


@pytest.fixture(autouse=True)
def no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waits of the client's own, shorter than for real servers."""
    monkeypatch.setattr(breaker, "FIRST_PROBE_SECONDS", 0.2)
    monkeypatch.setattr(pace, "FIRST_WAIT_SECONDS", 0.05)
