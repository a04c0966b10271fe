"""A job that is killed again and again loses no paid reply; benchmarks/kill_100.py is the long version."""

from pathlib import Path

from benchmarks.kill_100 import killed_job


def test_five_kills_lose_nothing_and_repeat_only_what_was_in_flight(tmp_path: Path) -> None:
    concurrency = 4
    outcome = killed_job(tmp_path, 5, 800, concurrency, latency_seconds=0.1, delays=(0.0, 0.6))
    assert outcome.lost == 0
    assert outcome.asked_though_stored == 0
    assert max(outcome.repeated) <= concurrency
    assert outcome.stored_at_kills[-1] > 0
    assert outcome.identical
