"""The page's routes over plain HTTP: terms, cookies, other sites, limits, reports, and what is stored."""

import http.client
import json
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from pacos.guard import open_moderation
from tests.serve.conftest import ScriptedEngine, Served, WordModerator

QUESTION = {"messages": [{"role": "user", "content": "Say hello"}]}
ADDRESS = "203.0.113.77"


@dataclass
class Visitor:
    """A browser's bare bones: one host, one cookie jar."""

    served: Served
    cookie: str = ""
    last_headers: dict[str, str] = field(default_factory=dict)

    def send(self, method: str, path: str, value: object = None, **headers: str) -> tuple[int, str]:
        host = self.served.url.removeprefix("http://")
        connection = http.client.HTTPConnection(host, timeout=10)
        headers = {name.replace("_", "-"): text for name, text in headers.items()}
        if self.cookie:
            headers["Cookie"] = self.cookie
        body = value if isinstance(value, bytes) else None if value is None else json.dumps(value)
        connection.request(method, path, body, {"Content-Type": "application/json", **headers})
        response = connection.getresponse()
        text = response.read().decode()
        self.last_headers = {name.lower(): text for name, text in response.getheaders()}
        if "set-cookie" in self.last_headers:
            self.cookie = self.last_headers["set-cookie"].split(";")[0]
        connection.close()
        return response.status, text

    def accept(self, **headers: str) -> None:
        assert self.send("POST", "/terms", b"", **headers)[0] == 303

    def ask(self, text: str = "Say hello", **headers: str) -> tuple[int, list[dict]]:
        status, body = self.send("POST", "/chat", {"messages": [{"role": "user", "content": text}]}, **headers)
        return status, [json.loads(line) for line in body.splitlines()]


def test_nothing_before_the_terms(served: Served) -> None:
    visitor = Visitor(served)
    status, page = visitor.send("GET", "/")
    assert status == 200
    assert "I accept" in page
    assert "composer" not in page
    assert "set-cookie" not in visitor.last_headers
    status, [error] = visitor.ask()
    assert (status, error["error"]["code"]) == (403, "terms_not_accepted")
    assert visitor.send("POST", "/reports", {"reason": "wrong"})[0] == 403
    visitor.cookie = "pacos_session=guessed"
    assert visitor.ask()[0] == 403
    assert served.engine.requests == []


def test_acceptance_opens_the_chat_and_the_cookie_is_shut_to_scripts(served: Served) -> None:
    visitor = Visitor(served)
    visitor.accept()
    cookie = visitor.last_headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=lax" in cookie
    assert "composer" in visitor.send("GET", "/")[1]
    status, events = visitor.ask()
    assert status == 200
    assert "".join(event.get("text", "") for event in events) == "Hello there. Bye."
    assert events[-1]["finish_reason"] == "stop"
    # No detector finds a mark in three words.
    assert events[-1]["mark"] == "insufficient text"


def test_changed_terms_are_asked_again(start: Callable[..., Served], tmp_path: Path) -> None:
    terms = tmp_path / "terms.md"
    terms.write_text("# Ours\n\nBe kind.")
    visitor = Visitor(start(terms=terms))
    assert "Be kind." in visitor.send("GET", "/")[1]
    visitor.accept()
    terms.write_text("# Ours\n\nBe kinder.")
    visitor.served = start(terms=terms)
    assert visitor.ask()[0] == 403
    cookie = visitor.cookie
    visitor.accept()
    assert visitor.cookie == cookie
    assert visitor.ask()[0] == 200
    with sqlite3.connect(tmp_path / "store.sqlite") as database:
        texts = {text for (text,) in database.execute("SELECT text FROM people_terms")}
        assert texts == {"# Ours\n\nBe kind.", "# Ours\n\nBe kinder."}
        assert database.execute("SELECT count(*) FROM people_acceptances").fetchone() == (2,)


def test_api_asks_a_browser_for_the_terms_but_not_a_program(served: Served) -> None:
    visitor = Visitor(served)
    body = {"model": "tiny", **QUESTION}
    assert visitor.send("POST", "/v1/chat/completions", body)[0] == 200
    # A browser is known by either header: old ones send no Sec-Fetch-Site, and a script may ask without an Origin.
    for headers in ({"Origin": served.url}, {"Sec_Fetch_Site": "same-origin"}, {"Sec_Fetch_Site": "none"}):
        status, error = visitor.send("POST", "/v1/chat/completions", body, **headers)
        assert (status, json.loads(error)["error"]["code"]) == (403, "terms_not_accepted")
    visitor.accept()
    for headers in ({"Origin": served.url}, {"Sec_Fetch_Site": "same-origin"}):
        assert visitor.send("POST", "/v1/chat/completions", body, **headers)[0] == 200


@pytest.mark.parametrize("path", ["/chat", "/terms", "/reports", "/v1/chat/completions"])
def test_another_sites_page_cannot_post(served: Served, path: str) -> None:
    visitor = Visitor(served)
    visitor.accept()
    for headers in ({"Origin": "https://evil.example"}, {"Origin": "null"}, {"Sec_Fetch_Site": "cross-site"}):
        status, body = visitor.send("POST", path, QUESTION, **headers)
        assert (status, json.loads(body)["error"]["code"]) == (403, "cross_origin")
    assert served.engine.requests == []


@pytest.mark.parametrize("path", ["/chat", "/terms", "/reports", "/v1/chat/completions"])
def test_a_page_on_another_port_of_this_host_cannot_post_with_the_readers_cookie(served: Served, path: str) -> None:
    """Cookies know no ports, so that another program's page on this machine sends the reader's along."""
    visitor = Visitor(served)
    visitor.accept()
    host, port = served.url.removeprefix("http://").split(":")
    elsewhere = f"http://{host}:{(int(port) + 1) % 65536}"
    for headers in (
        {"Origin": elsewhere},
        {"Origin": f"http://{host}"},
        {"Origin": elsewhere, "Sec_Fetch_Site": "same-site"},
        {"Sec_Fetch_Site": "same-site"},
        {"Origin": elsewhere, "X_Forwarded_Host": "demo.example"},
        {"Origin": elsewhere, "X_Forwarded_Host": host},
        {"Origin": "http://demo.example:9999", "X_Forwarded_Host": "demo.example"},
    ):
        status, body = visitor.send("POST", path, QUESTION, **headers)
        assert (status, json.loads(body)["error"]["code"]) == (403, "cross_origin")
    assert served.engine.requests == []


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8000", "127.0.0.1.evil.example", "203.0.113.7", ""])
def test_name_pointed_at_this_machine_reaches_nothing(served: Served, host: str) -> None:
    for method, path in (("GET", "/"), ("GET", "/v1/models"), ("POST", "/v1/completions")):
        status, body = Visitor(served).send(method, path, b"{}" if method == "POST" else None, Host=host)
        assert (status, json.loads(body)["error"]["code"]) == (403, "foreign_host")


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:9", "127.0.0.1", "127.0.0.1:9", "[::1]", "[::1]:9"])
def test_names_of_this_machine_are_answered(served: Served, host: str) -> None:
    assert Visitor(served).send("GET", "/v1/models", Host=host)[0] == 200


def test_site_behind_a_proxy_on_this_machine_may_post(served: Served) -> None:
    visitor = Visitor(served)
    site = {"Origin": "https://demo.example", "X_Forwarded_Host": "demo.example"}
    visitor.accept(**site)
    assert visitor.ask(**site)[0] == 200
    assert visitor.ask(Origin="https://evil.example", X_Forwarded_Host="demo.example")[0] == 403


@pytest.mark.parametrize("path", ["/", "/terms", "/static/serve/chat.js", "/v1/models", "/nothing"])
def test_every_response_binds_the_browser(served: Served, path: str) -> None:
    visitor = Visitor(served)
    visitor.send("GET", path)
    policy = visitor.last_headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert visitor.last_headers["x-content-type-options"] == "nosniff"


def test_pages_hold_nothing_that_the_policy_would_block_or_fetch_elsewhere(served: Served) -> None:
    visitor = Visitor(served)
    pages = [visitor.send("GET", "/")[1]]
    visitor.accept()
    pages += [visitor.send("GET", path)[1] for path in ("/", "/terms")]
    for page in pages:
        assert "style=" not in page
        assert "onclick" not in page
        assert "<script>" not in page
        assert "http://" not in page.replace("http://www.w3.org/2000/svg", "")
        assert "https://" not in page


def test_page_weighs_little() -> None:
    import pacos.serve
    import pacos.web

    folders = [Path(room.__file__).parent for room in (pacos.serve, pacos.web)]
    assert sum(f.stat().st_size for folder in folders for f in (folder / "static").iterdir()) < 100_000


def test_oversized_body_is_refused(served: Served) -> None:
    visitor = Visitor(served)
    status, body = visitor.send("POST", "/v1/chat/completions", b"[" * 1_000_001)
    assert (status, json.loads(body)["error"]["code"]) == (413, "request_too_large")
    # A chunked body states no length, so it is counted as it comes.
    host = served.url.removeprefix("http://")
    connection = http.client.HTTPConnection(host, timeout=10)
    connection.request("POST", "/v1/chat/completions", iter([b"x" * 300_000] * 4), encode_chunked=True)
    assert connection.getresponse().status == 413
    connection.close()


def test_flagged_question_is_refused_in_words(served: Served) -> None:
    visitor = Visitor(served)
    visitor.accept()
    status, [error] = visitor.ask("a forbidden thing")
    assert (status, error["error"]["code"]) == (400, "content_filter")
    assert served.engine.requests == []


def test_flagged_sentence_ends_the_answer_with_a_notice(start: Callable[..., Served]) -> None:
    engine = ScriptedEngine(["Good. ", "forb", "idden. ", "After."])
    visitor = Visitor(start(engine, moderating=WordModerator()))
    visitor.accept()
    events = visitor.ask()[1]
    assert "forb" not in json.dumps(events)
    assert "After" not in json.dumps(events)
    assert "content filter" in events[-2]["text"]
    assert events[-1]["finish_reason"] == "content_filter"


def test_blocks_put_together_are_the_whole_answer(start: Callable[..., Served]) -> None:
    answer = "# Title\n\nOne.\n\n- a\n- b\n\n[x]: y\n\n```py\nx = 1\n```\n"
    visitor = Visitor(start(ScriptedEngine(list(answer))))
    visitor.accept()
    blocks: list[str] = []
    for event in visitor.ask()[1][:-1]:
        for index, html in event["blocks"]:
            blocks[index : index + 1] = [html]
        del blocks[event["count"] :]
    html = "".join(blocks)
    assert [html.count(tag) for tag in ("<h1>", "<p>One.", "<li>", "<pre")] == [1, 1, 2, 1]


def test_session_that_asks_too_often_is_told_when_to_return(served: Served) -> None:
    visitor, other = Visitor(served), Visitor(served)
    visitor.accept()
    other.accept()
    statuses = [visitor.ask()[0] for _ in range(25)]
    assert set(statuses) == {200, 429}
    assert int(visitor.last_headers["retry-after"]) >= 1
    assert other.ask()[0] == 200


def test_question_longer_than_the_box_allows_is_refused_and_an_answer_that_long_is_not(served: Served) -> None:
    visitor = Visitor(served)
    visitor.accept()
    assert visitor.ask("x" * 4000)[0] == 200
    status, [error] = visitor.ask("x" * 4001)
    assert (status, error["error"]["code"], error["error"]["param"]) == (400, "invalid_value", "messages[0].content")
    assert "4,000" in error["error"]["message"]
    turns = [{"role": role, "content": "x" * size} for role, size in (("user", 1), ("assistant", 9000), ("user", 1))]
    assert visitor.send("POST", "/chat", {"messages": turns})[0] == 200


def test_reports_are_limited_by_address_whatever_the_session(start: Callable[..., Served]) -> None:
    served = start()

    def report_from(address: str) -> int:
        visitor = Visitor(served)
        visitor.accept(X_Forwarded_For=address)
        return visitor.send("POST", "/reports", {"reason": "wrong"}, X_Forwarded_For=address)[0]

    assert {report_from(ADDRESS) for _ in range(20)} == {201, 429}
    assert report_from("203.0.113.78") == 201


def test_reports_keep_the_transcript_only_with_consent(start: Callable[..., Served]) -> None:
    served = start()
    visitor = Visitor(served)
    visitor.accept()
    transcript = [{"role": "user", "content": "private words"}, {"role": "assistant", "content": "an answer"}]
    report = {"reason": "harmful", "details": "bad", "transcript": transcript}
    assert json.loads(visitor.send("POST", "/reports", report)[1])["id"] == 1
    assert visitor.send("POST", "/reports", {**report, "consent": True})[0] == 201
    without, with_consent = served.reports()
    kept = {"reason": "harmful", "details": "bad", "consent": 0, "transcript": None, "status": "open"}
    assert without.items() >= {**kept, "model": "tiny", "model_sha256": served.model.sha256}.items()
    assert (with_consent["consent"], json.loads(with_consent["transcript"])) == (1, transcript)
    assert visitor.send("POST", "/reports", {"reason": "boredom"})[0] == 400


def test_acceptances_and_reports_share_a_database_named_by_url(start: Callable[..., Served], database_url: str) -> None:
    visitors = [Visitor(start(database_url=database_url)) for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(Visitor.accept, visitors))
    for number, visitor in enumerate(visitors, 1):
        visitor.served = visitors[0].served
        assert visitor.ask()[0] == 200
        assert json.loads(visitor.send("POST", "/reports", {"reason": "wrong"})[1])["id"] == number


def test_floods_of_acceptances_are_limited_by_address(start: Callable[..., Served]) -> None:
    served = start()

    def accept_from(address: str) -> int:
        return Visitor(served).send("POST", "/terms", b"", X_Forwarded_For=address)[0]

    assert {accept_from(ADDRESS) for _ in range(70)} == {303, 429}
    assert accept_from("203.0.113.78") == 303


def test_no_address_session_or_question_is_stored(start: Callable[..., Served], tmp_path: Path) -> None:
    served = start()
    visitor = Visitor(served)
    visitor.accept(X_Forwarded_For=ADDRESS)
    visitor.ask("remarkable question", X_Forwarded_For=ADDRESS)
    visitor.send("POST", "/reports", {"reason": "wrong", "transcript": QUESTION["messages"]}, X_Forwarded_For=ADDRESS)
    assert len(served.reports()) == 1
    stored = b"".join(file.read_bytes() for file in tmp_path.iterdir())
    for secret in (ADDRESS, visitor.cookie.partition("=")[2], "remarkable", "Say hello"):
        assert secret.encode() not in stored


def test_unknown_page_is_a_page_and_unknown_call_is_json(served: Served) -> None:
    visitor = Visitor(served)
    status, page = visitor.send("GET", "/nothing", Accept="text/html")
    assert status == 404
    assert "no such page" in page
    assert json.loads(visitor.send("GET", "/v1/nothing", Accept="text/html")[1])["error"]["code"] == "not_found"
    assert json.loads(visitor.send("DELETE", "/v1/models")[1])["error"]["type"] == "invalid_request_error"


def test_own_blocklist_refuses_on_the_page(start: Callable[..., Served]) -> None:
    visitor = Visitor(start(moderating=open_moderation("blocklist")))
    visitor.accept()
    assert visitor.ask("Tell me how to build a pipe bomb.")[0] == 400
    assert visitor.ask("Count to 100.")[0] == 200
