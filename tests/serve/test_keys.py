"""API keys over HTTP: who gets one, what it opens, what ends it, and what of it is stored."""

import json
import re
import sqlite3
from collections.abc import Callable
from pathlib import Path

import openai
import pytest

from pacos.web.people import MAX_KEYS
from tests.serve.conftest import Served
from tests.serve.test_chat_page import ADDRESS, Visitor

QUESTION = {"model": "tiny", "messages": [{"role": "user", "content": "Say hello"}]}
# Old people tables, as the pacos before API keys made them.
VERSION_0 = """
CREATE TABLE pacos_schema (name VARCHAR PRIMARY KEY, version INTEGER NOT NULL);
INSERT INTO pacos_schema VALUES ('people', 0), ('serve', 0);
CREATE TABLE people_terms (version VARCHAR(12) PRIMARY KEY, text TEXT NOT NULL, first_accepted_at DATETIME NOT NULL);
CREATE TABLE people_acceptances (session_sha256 VARCHAR(64) NOT NULL,
    version VARCHAR(12) NOT NULL REFERENCES people_terms (version), accepted_at DATETIME NOT NULL,
    PRIMARY KEY (session_sha256, version));
CREATE TABLE serve_reports (id INTEGER PRIMARY KEY, reported_at DATETIME NOT NULL, status VARCHAR(16) NOT NULL,
    reason VARCHAR(32) NOT NULL, details TEXT NOT NULL, consent BOOLEAN NOT NULL, transcript JSON,
    model VARCHAR(255) NOT NULL, model_sha256 VARCHAR(64) NOT NULL);
INSERT INTO serve_reports VALUES (1, '2026-01-02 03:04:05.000000', 'open', 'wrong', 'Old one', 1,
    '[{"role": "user", "content": "Q"}, {"role": "assistant", "content": "A"}]', 'tiny', 'abab');
"""


def get_key(visitor: Visitor) -> str:
    status, page = visitor.send("POST", "/keys", b"", Content_Type="application/x-www-form-urlencoded")
    assert status == 200
    return re.search(r"pacos-[\w-]{40,}", page)[0]


def labels(visitor: Visitor) -> list[str]:
    return re.findall(r'name="label" value="(\w+)"', visitor.send("GET", "/keys")[1])


def ask(served: Served, key: str = "", **headers: str) -> tuple[int, str]:
    """Status and error code of a question by a program."""
    if key:
        headers["Authorization"] = f"Bearer {key}"
    status, body = Visitor(served).send("POST", "/v1/chat/completions", QUESTION, **headers)
    return status, json.loads(body).get("error", {}).get("code", "")


def test_key_opens_an_api_that_requires_one_until_it_is_revoked(start: Callable[..., Served]) -> None:
    served = start(requires_key=True)
    visitor = Visitor(served)
    assert visitor.send("POST", "/keys", b"")[0] == 403
    assert "I accept" in visitor.send("GET", "/keys")[1]
    assert visitor.send("POST", "/keys/terms", b"")[0] == 303
    key, other = get_key(visitor), get_key(visitor)
    client = openai.OpenAI(base_url=f"{served.url}/v1", api_key=key, max_retries=0)
    answer = client.chat.completions.create(**QUESTION)
    assert answer.choices[0].message.content == "Hello there."
    assert key not in visitor.send("GET", "/keys")[1]
    assert ask(served, other) == (200, "")

    for label in labels(visitor):
        # Another session cannot end it, whatever it names.
        stranger = Visitor(served)
        stranger.accept()
        form = {"value": f"label={label}".encode(), "Content_Type": "application/x-www-form-urlencoded"}
        assert stranger.send("POST", "/keys/revoke", **form)[0] == 303
    assert ask(served, key) == ask(served, other) == (200, "")
    for label in labels(visitor):
        form = {"value": f"label={label}".encode(), "Content_Type": "application/x-www-form-urlencoded"}
        assert visitor.send("POST", "/keys/revoke", **form)[0] == 303
    assert labels(visitor) == []
    assert ask(served, key) == ask(served, other) == (401, "invalid_api_key")


@pytest.mark.parametrize("path", ["/v1/models", "/v1/models/tiny", "/v1/completions", "/v1/chat/completions"])
def test_without_a_key_nothing_of_a_server_that_requires_one_answers(start: Callable[..., Served], path: str) -> None:
    visitor = Visitor(start(requires_key=True))
    visitor.accept()
    method = "POST" if "completions" in path else "GET"
    for header in (None, "", "Bearer", "Bearer ", "Bearer pacos-", "Bearer sk-1", "Basic cGFjb3M6", "pacos-x", "B\xe9"):
        headers = {} if header is None else {"Authorization": header}
        status, body = visitor.send(method, path, QUESTION if method == "POST" else None, **headers)
        error = json.loads(body)["error"]
        assert (status, error["code"], error["type"]) == (401, "invalid_api_key", "invalid_request_error"), header
        assert "/keys" in error["message"]
    # The page is for people, and its session opens it.
    assert visitor.ask()[0] == 200


def test_where_keys_are_optional_made_up_ones_pass_and_a_wrong_one_of_ours_does_not(served: Served) -> None:
    assert ask(served) == ask(served, "none") == ask(served, "sk-proj-abc") == (200, "")
    assert ask(served, "pacos-guessed") == (401, "invalid_api_key")
    # A page's script passes by its reader's acceptance, or a key of somebody who accepted; not by a made-up key.
    assert ask(served, "none", Origin=served.url) == (403, "terms_not_accepted")
    visitor = Visitor(served)
    visitor.accept()
    assert ask(served, get_key(visitor), Origin=served.url) == (200, "")
    assert ask(served, get_key(visitor), Origin="http://127.0.0.1:1")[0] == 403


@pytest.mark.parametrize("requires_key", [False, True])
def test_key_of_old_terms_says_what_to_do_and_works_again_once_they_are_accepted(
    start: Callable[..., Served], tmp_path: Path, requires_key: bool
) -> None:
    terms = tmp_path / "terms.md"
    terms.write_text("Be kind.")
    visitor = Visitor(start(terms=terms))
    visitor.accept()
    key = get_key(visitor)
    terms.write_text("Be kinder.")
    visitor.served = start(terms=terms, requires_key=requires_key)
    status, body = Visitor(visitor.served).send("POST", "/v1/chat/completions", QUESTION, Authorization=f"Bearer {key}")
    error = json.loads(body)["error"]
    assert (status, error["code"]) == (403, "terms_not_accepted")
    assert "/keys" in error["message"]
    Visitor(visitor.served).accept()
    assert ask(visitor.served, key)[0] == 403
    assert visitor.send("POST", "/keys/terms", b"")[0] == 303
    assert ask(visitor.served, key) == (200, "")


def test_session_has_so_many_keys_and_no_more(start: Callable[..., Served]) -> None:
    visitor = Visitor(start())
    visitor.accept()
    keys = {get_key(visitor) for _ in range(MAX_KEYS)}
    assert len(keys) == MAX_KEYS
    status, body = visitor.send("POST", "/keys", b"")
    assert status in (409, 429), body
    assert len(labels(visitor)) == MAX_KEYS


def test_neither_key_nor_session_nor_address_is_stored(start: Callable[..., Served], tmp_path: Path) -> None:
    served = start()
    visitor = Visitor(served)
    visitor.accept(X_Forwarded_For=ADDRESS)
    key = get_key(visitor)
    assert ask(served, key, X_Forwarded_For=ADDRESS) == (200, "")
    stored = b"".join(file.read_bytes() for file in tmp_path.iterdir() if file.is_file())
    assert visitor.cookie.partition("=")[2].encode() not in stored
    assert key.encode() not in stored
    assert key.removeprefix("pacos-").encode() not in stored
    assert ADDRESS.encode() not in stored
    with sqlite3.connect(served.database) as database:
        (row,) = database.execute("SELECT version, revoked_at FROM people_keys")
        (version,) = database.execute("SELECT version FROM people_terms").fetchone()
    assert row == (version, None)


def test_forged_session_is_not_taken_up(start: Callable[..., Served]) -> None:
    """Else whoever put a cookie of his own into a reader's browser would hold the reader's keys."""
    visitor = Visitor(start(), cookie="pacos_session=chosen-by-somebody-else")
    visitor.accept()
    assert "chosen" not in visitor.cookie
    assert visitor.ask()[0] == 200
    forger = Visitor(visitor.served, cookie="pacos_session=chosen-by-somebody-else")
    assert forger.ask()[0] == 403


def test_floods_of_one_key_are_limited_and_say_when_to_come_back(start: Callable[..., Served]) -> None:
    served = start()
    visitor, other = Visitor(served), Visitor(served)
    visitor.accept()
    other.accept()
    key = get_key(visitor)
    # From ever new addresses, as a local proxy tells them.
    answers = [ask(served, key, X_Forwarded_For=f"203.0.113.{i}")[0] for i in range(65)]
    assert answers[:60] == [200] * 60
    assert answers[-1] == 429
    program = Visitor(served)
    status, body = program.send("POST", "/v1/chat/completions", QUESTION, Authorization=f"Bearer {key}")
    assert (status, json.loads(body)["error"]["code"]) == (429, "rate_limit_exceeded")
    assert 1 <= int(program.last_headers["retry-after"]) <= 60
    assert ask(served, get_key(other)) == (200, "")


def test_database_of_an_older_pacos_gets_keys_and_review(start: Callable[..., Served], tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "store.sqlite") as database:
        database.executescript(VERSION_0)
    served = start(requires_key=True)
    visitor = Visitor(served)
    visitor.accept()
    assert ask(served, get_key(visitor)) == (200, "")
    assert json.loads(visitor.send("POST", "/reports", {"reason": "wrong"})[1])["id"] == 2
    (old, _) = served.reports()
    assert (old["details"], old["label"], old["note"], old["code_sha256"]) == ("Old one", "", "", None)
