"""A PostgreSQL that is there and says nothing: what needs it is refused within seconds, and all else goes on."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from tests.serve.conftest import ScriptedEngine, Served, WordModerator, eventually
from tests.serve.test_chat_page import QUESTION, Visitor
from tests.serve.test_keys import ask, get_key
from tests.serve.test_review import PASSWORD, reviewer
from tests.servers.postgres import Cluster

# A call waits five seconds, and a busy machine may take some more.
SOON = 15.0


def timed(work: Callable[[], object]) -> tuple[object, float]:
    start = time.monotonic()
    return work(), time.monotonic() - start


def test_a_database_that_hangs_holds_up_nobody_who_does_not_need_it(
    start: Callable[..., Served], own_postgres: Cluster, caplog: object
) -> None:
    served = start(
        ScriptedEngine(["Fine."]),
        rival=ScriptedEngine(["Other."]),
        moderating=WordModerator(),
        database_url=own_postgres.url,
        review_password=PASSWORD,
    )
    visitor, inside = Visitor(served), reviewer(served)
    visitor.accept()
    key = get_key(visitor)
    comparison = {**QUESTION, "blind": True}
    calls = [
        ("POST", "/chat", QUESTION),
        ("POST", "/comparisons", comparison),
        ("POST", "/reports", {"reason": "wrong"}),
    ]
    calls += [("GET", path, None) for path in ("/", "/keys", "/terms", "/shared/none")] + [("POST", "/terms", b"")]

    def status(caller: Visitor, method: str, path: str, body: object) -> int:
        sent = Visitor(served, caller.cookie)
        return sent.send(method, path, body)[0]

    with ThreadPoolExecutor(40) as pool:
        with own_postgres.hanging():
            waiting = [pool.submit(timed, lambda call=call: status(visitor, *call)) for call in calls * 4]
            waiting.append(pool.submit(timed, lambda: status(inside, "GET", "/review", None)))
            waiting += [pool.submit(timed, lambda: ask(served, key)[0]) for _ in range(6)]
            # While they wait, what needs no database is answered as ever: the API, its tokenizer, its figures.
            program = Visitor(served)
            while not all(each.done() for each in waiting):
                for method, path, body in (
                    ("GET", "/healthz", None), ("GET", "/metrics", None), ("POST", "/tokenize", {"prompt": "a"}),
                    ("POST", "/v1/completions", {"model": "tiny", "prompt": "a"}),
                ):  # fmt: skip
                    answered, seconds = timed(lambda m=method, p=path, b=body: program.send(m, p, b)[0])
                    assert (path, answered) == (path, 200)
                    assert seconds < 4, path
            for each in waiting:
                answered, seconds = each.result()
                assert answered == 503
                assert seconds < SOON
            # Once it is known to hang, hardly anyone waits for it.
            later = [timed(lambda: status(visitor, "GET", "/", None)) for _ in range(5)]
            assert {answered for answered, _ in later} == {503}
            assert min(seconds for _, seconds in later) < 1
        assert eventually(lambda: ask(served, key) == (200, ""), 20)
        assert eventually(lambda: status(visitor, "GET", "/", None) == 200, 20)
        assert eventually(lambda: status(inside, "GET", "/review", None) == 200, 20)
        assert status(visitor, "POST", "/chat", QUESTION) == 200
        assert status(visitor, "POST", "/comparisons", comparison) == 200
        assert status(visitor, "POST", "/reports", {"reason": "wrong"}) == 201
    assert not [record for record in caplog.records if record.exc_info]
