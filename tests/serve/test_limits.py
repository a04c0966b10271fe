"""What one visitor may ask for: counted by answers, whatever the request, and no more for having no key."""

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from pacos.serve.fair_queue import FairQueue
from tests.serve.conftest import ScriptedEngine, Served, WordModerator, eventually
from tests.serve.test_chat_page import QUESTION, Visitor
from tests.serve.test_keys import ask, get_key
from tests.serve.test_openai_api import metric


@pytest.mark.parametrize(
    ("path", "asked", "cost"),
    [
        ("/v1/chat/completions", {**QUESTION, "model": "tiny", "n": 20}, 20),
        ("/v1/completions", {"model": "tiny", "prompt": ["x"] * 5, "n": 2, "best_of": 4}, 20),
        ("/v1/completions", {"model": "tiny", "prompt": ["x"] * 128}, 128),
        ("/v1/moderations", {"input": ["x"] * 20}, 20),
    ],
)
def test_many_answers_of_one_request_count_as_many(
    start: Callable[..., Served], path: str, asked: dict[str, Any], cost: int
) -> None:
    visitor = Visitor(start(moderating=WordModerator()))
    statuses = [visitor.send("POST", path, asked, X_Forwarded_For="203.0.113.7")[0] for _ in range(60 // cost + 2)]
    assert statuses == [200] * max(60 // cost, 1) + [429] * (60 // cost + 2 - max(60 // cost, 1))
    # What was owed beyond a full bucket is waited for as well.
    assert int(visitor.last_headers["retry-after"]) > max(cost, 60) - 60


def test_no_visitor_has_more_by_having_no_key(start: Callable[..., Served]) -> None:
    served = start()
    visitor = Visitor(served)
    visitor.accept()
    key = get_key(visitor)
    by_key = [ask(served, key, X_Forwarded_For="203.0.113.1")[0] for _ in range(65)]
    asked = {"model": "tiny", "prompt": "x"}
    program = Visitor(served)
    without = [program.send("POST", "/v1/completions", asked, X_Forwarded_For="203.0.113.2")[0] for _ in range(65)]
    assert by_key.count(200) >= without.count(200) > 0


def test_one_request_of_many_answers_leaves_room_to_wait(start: Callable[..., Served]) -> None:
    served = start(ScriptedEngine(["word"], pause_seconds=0.1), queue=FairQueue(at_once=4))
    asked = {"model": "tiny", "prompt": "many", "n": 100}
    with ThreadPoolExecutor(1) as pool:
        many = pool.submit(Visitor(served).send, "POST", "/v1/completions", asked, X_Forwarded_For="203.0.113.7")
        assert eventually(lambda: metric(served, "pacos_answers_waiting") > 20)
        assert metric(served, "pacos_answers_waiting") <= 32
        status, told = many.result(20)
    assert (status, len(json.loads(told)["choices"])) == (200, 100)
