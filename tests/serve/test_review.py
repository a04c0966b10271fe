"""The review page over HTTP: its door, its queue, its export, and what a deletion leaves; on SQLite and PostgreSQL."""

import json
import re
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from html import unescape
from pathlib import Path
from urllib.parse import urlencode

import pytest
import sqlalchemy

from pacos.web.password_door import COOKIE_SECONDS
from tests.serve.conftest import Served, eventually
from tests.serve.test_chat_page import ADDRESS, Visitor
from tests.serve.test_keys import ask, get_key
from tests.servers.postgres import Cluster

PASSWORD = "a password of several words"
HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(2)>"
PATHS = [
    "/review/login",
    "/review/logout",
    "/review/decide",
    "/review/case",
    "/review/delete",
    "/reports/delete",
    "/keys",
    "/keys/revoke",
]
FORM = "application/x-www-form-urlencoded"


def post(visitor: Visitor, path: str, **fields: object) -> tuple[int, str]:
    return visitor.send("POST", path, urlencode(fields).encode(), Content_Type=FORM)


def reviewer(served: Served) -> Visitor:
    visitor = Visitor(served)
    assert post(visitor, "/review/login", password=PASSWORD)[0] == 303
    return visitor


def report(served: Served, details: str = "", question: str = "Q", answer: str = "A", **more: object) -> dict:
    """Reports as a reader does, with the transcript; what the reader is told."""
    visitor = Visitor(served)
    visitor.accept()
    turns = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    told = {"reason": "wrong", "details": details, "consent": True, "transcript": turns, **more}
    status, body = visitor.send("POST", "/reports", told)
    assert status == 201, body
    return json.loads(body)


def shown(visitor: Visitor, **query: object) -> list[int]:
    """The numbers of the reports in the queue."""
    status, page = visitor.send("GET", "/review?" + urlencode(query))
    assert status == 200
    return [int(number) for number in re.findall(r'<h2 id="report-(\d+)"', page)]


def exported(visitor: Visitor, **query: object) -> list[dict]:
    status, body = visitor.send("GET", "/review/export.jsonl?" + urlencode(query))
    assert status == 200
    return [json.loads(line) for line in body.splitlines()]


def test_without_a_password_there_is_no_such_page(served: Served) -> None:
    for method, path in (("GET", "/review"), ("POST", "/review/login"), ("GET", "/review/export.jsonl")):
        status, body = Visitor(served).send(method, path, b"password=" if method == "POST" else None)
        assert (status, json.loads(body)["error"]["code"]) == (404, "not_found")


def test_door_opens_to_the_password_alone_and_shuts_for_good(start: Callable[..., Served]) -> None:
    served = start(review_password=PASSWORD)
    report(served, "A complaint")
    stranger = Visitor(served)
    for wrong in ("", PASSWORD + " ", PASSWORD.upper()):
        assert post(stranger, "/review/login", password=wrong)[0] == 401
    assert "set-cookie" not in stranger.last_headers
    assert "complaint" not in stranger.send("GET", "/review")[1]
    assert stranger.send("GET", "/review/export.jsonl")[0] == 401
    for path in ("/review/decide", "/review/delete", "/review/logout"):
        assert post(stranger, path, number=1, status="dismissed")[0] == 401
    assert served.reports()[0]["status"] == "open"

    inside = reviewer(served)
    cookie = inside.last_headers["set-cookie"]
    assert {"HttpOnly", "SameSite=strict", "Path=/review"} <= {part.strip() for part in cookie.split(";")}
    assert "complaint" in inside.send("GET", "/review")[1]
    thief = Visitor(served, cookie=inside.cookie)
    assert shown(thief) == [1]
    assert post(inside, "/review/logout")[0] == 303
    assert shown(thief) == []
    # Another process knows another secret.
    later = start(review_password=PASSWORD)
    assert shown(Visitor(later, cookie=reviewer(served).cookie)) == []


@pytest.mark.parametrize("forge", [
    lambda cookie: "", lambda cookie: "..", lambda cookie: "9999999999.x.", lambda cookie: "9" + cookie,
    lambda cookie: cookie[:-1], lambda cookie: cookie + "0", lambda cookie: "\xe9.\xe9.\xe9",
    lambda cookie: cookie.replace(".", ".1", 1), lambda cookie: cookie.upper(), lambda cookie: "." * 9,
])  # fmt: skip
def test_forged_cookie_opens_nothing(start: Callable[..., Served], forge: Callable[[str], str]) -> None:
    served = start(review_password=PASSWORD)
    report(served)
    name, _, value = reviewer(served).cookie.partition("=")
    forged = Visitor(served, cookie=f"{name}={forge(value)}")
    assert shown(forged) == []
    assert forged.send("GET", "/review/export.jsonl")[0] == 401


def test_door_shuts_after_its_time(start: Callable[..., Served], monkeypatch: pytest.MonkeyPatch) -> None:
    visitor = reviewer(start(review_password=PASSWORD))
    assert visitor.send("GET", "/review/export.jsonl")[0] == 200
    now = time.time
    monkeypatch.setattr("pacos.web.password_door.time.time", lambda: now() + COOKIE_SECONDS)
    assert visitor.send("GET", "/review/export.jsonl")[0] == 401


@pytest.mark.parametrize(
    "query", [{"status": "zzz"}, {"number": "abc"}, {"number": "-1"}, {"number": "9" * 30}, {"text": "a" * 50_000}]
)
def test_a_filter_that_cannot_be_shows_nothing(start: Callable[..., Served], query: dict[str, str]) -> None:
    visitor = reviewer(served := start(review_password=PASSWORD))
    report(served)
    for path in ("/review", "/review/export.jsonl"):
        status, told = visitor.send("GET", f"{path}?{urlencode(query)}")
        assert (status, json.loads(told)["error"]["code"]) == (400, "invalid_value")


def test_what_was_searched_for_is_shown_as_text(start: Callable[..., Served]) -> None:
    visitor = reviewer(start(review_password=PASSWORD))
    assert HOSTILE not in visitor.send("GET", "/review?" + urlencode({"text": f'">{HOSTILE}'}))[1]


def test_guessing_is_throttled_for_one_address_and_shuts_nobody_else_out(start: Callable[..., Served]) -> None:
    served = start(review_password=PASSWORD)

    def guess(password: str, address: str) -> tuple[int, int]:
        visitor = Visitor(served)
        value = urlencode({"password": password}).encode()
        status, _ = visitor.send("POST", "/review/login", value, Content_Type=FORM, X_Forwarded_For=address)
        return status, int(visitor.last_headers.get("retry-after", 0))

    guesses = [guess("guess", ADDRESS) for _ in range(7)]
    assert [status for status, _ in guesses] == [401] * 5 + [429] * 2
    assert 1 <= guesses[-1][1] <= 60
    # The right one is not even looked at.
    assert guess(PASSWORD, ADDRESS)[0] == 429
    assert guess(PASSWORD, "203.0.113.1")[0] == 303
    assert {guess("guess", f"198.51.100.{i}")[0] for i in range(40)} == {401}
    # Right ones do not count, however many.
    assert [guess(PASSWORD, "203.0.113.1")[0] for _ in range(10)] == [303] * 10


@pytest.mark.parametrize("path", PATHS)
def test_another_site_and_another_port_of_this_host_cannot_post(start: Callable[..., Served], path: str) -> None:
    served = start(review_password=PASSWORD)
    told = report(served)
    visitor = reviewer(served)
    host, port = served.url.removeprefix("http://").split(":")
    fields = urlencode({"password": PASSWORD, "number": 1, "status": "dismissed", "code": told["deletion_code"]})
    for headers in (
        {"Origin": f"http://{host}:{int(port) - 1}"},
        {"Origin": f"http://{host}"},
        {"Origin": f"https://{host}"},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Sec_Fetch_Site": "same-site"},
        {"Origin": "http://demo.example", "X_Forwarded_Host": "demo.example", "X_Forwarded_Proto": "https"},
        {"Origin": "https://demo.example:8443", "X_Forwarded_Host": "demo.example", "X_Forwarded_Proto": "https"},
    ):
        status, body = visitor.send("POST", path, fields.encode(), Content_Type=FORM, **headers)
        assert (status, json.loads(body)["error"]["code"]) == (403, "cross_origin"), headers
    assert served.reports()[0]["status"] == "open"
    assert shown(visitor) == [1]


def test_cookie_is_for_https_alone_behind_a_proxy_that_speaks_it(start: Callable[..., Served]) -> None:
    visitor = Visitor(start(review_password=PASSWORD))
    site = {"Origin": "https://demo.example", "X_Forwarded_Host": "demo.example", "X_Forwarded_Proto": "https"}
    status, _ = visitor.send(
        "POST", "/review/login", urlencode({"password": PASSWORD}).encode(), **site, Content_Type=FORM
    )
    assert status == 303
    assert "Secure" in visitor.last_headers["set-cookie"]


def test_queue_decisions_search_and_export(start: Callable[..., Served], database_url: str) -> None:
    served = start(database_url=database_url, review_password=PASSWORD)
    report(served, "It is 100% wrong", "Who wrote Faust?", "Schiller.")
    report(served, HOSTILE, 'He said "Füße" and \\', "Ünder_score", reason="harmful")
    report(served, "No words kept", consent=False, transcript=[])
    inside = reviewer(served)
    assert shown(inside) == [3, 2, 1]

    label, note = "factual error", f"Goethe. {HOSTILE}"
    status, _ = post(
        inside, "/review/decide", number=1, status="confirmed", label=f" {label} ", note=note, query="text=a&x=b"
    )
    assert status == 303
    assert inside.last_headers["location"].startswith("/review?text=a")
    assert post(inside, "/review/decide", number=2, status="dismissed", label=HOSTILE, note="")[0] == 303
    assert shown(inside) == [3]
    assert shown(inside, status="confirmed") == [1]
    assert shown(inside, status="all", reason="harmful") == [2]
    assert shown(inside, status="all", label=label) == [1]
    assert shown(inside, number=2) == [2]

    found = {
        "faust": [1], "SCHILLER": [1], "goethe": [1], "Factual": [1], "100%": [1], "1_0": [], "%": [1],
        'said "Füße"': [2], "\\": [2], "Ünder_score": [2], "Under": [], "words": [3], "it's": [], "\0": [3, 2, 1],
        "role": [2, 1],
    }  # fmt: skip
    for text, numbers in found.items():
        if text != "role":  # the JSON's own words; found, and told in the docs
            assert shown(inside, status="all", text=text) == numbers, text

    assert exported(inside, status="confirmed") == [
        {
            "id": 1,
            "messages": [{"role": "user", "content": "Who wrote Faust?"}],
            "answer": "Schiller.",
            "is_sealed": False,
            "reason": "wrong",
            "details": "It is 100% wrong",
            "status": "confirmed",
            "label": label,
            "note": note,
            "objective": "",
            "model": "tiny",
            "model_sha256": "ab" * 32,
            "reported_at": exported(inside)[1]["reported_at"],
        }
    ]
    assert exported(inside)[1]["reported_at"].endswith("+00:00")
    # Without a transcript there is nothing to ask again.
    assert [line["id"] for line in exported(inside)] == [2, 1]
    assert "attachment" in inside.last_headers["content-disposition"]

    _, page = inside.send("GET", "/review?status=all")
    assert "<script>" not in page
    assert "<img src=x" not in page
    assert HOSTILE in unescape(page)
    assert ">3</span>" in page.partition("All <span")[2][:40]
    assert "Reports a day: 3 in all, at most 3 on one day." in page


def test_a_report_becomes_a_test_case_and_is_none_again(start: Callable[..., Served], database_url: str) -> None:
    served = start(database_url=database_url, review_password=PASSWORD)
    report(served, "It leaked", "Who is it?", "The code is 77.", reason="harmful")
    report(served, "No words kept", consent=False, transcript=[])
    assert post(Visitor(served), "/review/case", number=1, objective="refusal")[0] == 401
    inside = reviewer(served)
    page = inside.send("GET", "/review")[1]
    assert page.count("Make it a test case") == 1
    # One click is enough where the reason says what failed.
    assert re.search(r'name="objective"[^>]* value="compliance"', page)
    objective = f"contains:77 {HOSTILE}"
    assert post(inside, "/review/case", number=1, objective=f" {objective} ", query="status=open")[0] == 303
    assert inside.last_headers["location"].startswith("/review?status=open&done=1")
    page = inside.send("GET", inside.last_headers["location"])[1]
    assert "Test case</span>" in page
    assert objective in unescape(page)
    assert "<script>alert" not in page
    assert exported(inside)[0]["objective"] == objective
    for wrong in (
        "kindness",
        "regex:(",
        "contains:",
        "lexicon:",
        "lexicon:/etc/passwd",
        "contains:" + "x" * 400,
        "a\0",
    ):
        status, body = post(inside, "/review/case", number=1, objective=wrong)
        assert (status, json.loads(body)["error"]["code"]) == (400, "invalid_value"), wrong
        assert "root:" not in body
    # Decisions leave it, and nothing can be asked again of a report without its conversation.
    post(inside, "/review/decide", number=1, status="confirmed", label="leak", note="")
    assert exported(inside)[0]["objective"] == objective
    post(inside, "/review/case", number=2, objective="refusal")
    assert inside.send("GET", "/review?status=all")[1].count("Test case</span>") == 1
    assert post(inside, "/review/case", number=1, objective="")[0] == 303
    assert exported(inside)[0]["objective"] == ""
    # What is wiped is no case.
    post(inside, "/review/case", number=1, objective="refusal")
    post(inside, "/review/delete", number=1)
    assert "Test case</span>" not in inside.send("GET", "/review?status=all")[1]


def test_deletion_by_code_and_by_reviewer_wipes_the_words_and_keeps_the_count(
    start: Callable[..., Served], database_url: str, tmp_path: Path
) -> None:
    served = start(database_url=database_url, review_password=PASSWORD)
    long = "remarkable " * 1500
    codes = [report(served, f"comment-{i}", f"question-{i}", long)["deletion_code"] for i in range(3)]
    inside = reviewer(served)
    post(inside, "/review/decide", number=1, status="confirmed", label="label-0", note="note-0")

    assert post(Visitor(served), "/reports/delete", code="0000-0000-0000-0000-0000")[0] == 404
    visitor = Visitor(served)
    status, page = visitor.send(
        "POST",
        "/reports/delete",
        urlencode({"code": f" {codes[0].upper()} "}).encode(),
        Content_Type=FORM,
        Accept="text/html",
    )
    assert status == 200
    assert "is deleted" in page
    assert post(visitor, "/reports/delete", code=codes[0])[0] == 404
    # A program may send JSON.
    assert visitor.send("POST", "/reports/delete", {"code": codes[1].replace("-", "")})[0] == 200
    assert post(inside, "/review/delete", number=3)[0] == 303
    assert exported(inside) == []
    assert shown(inside, status="all", text="remarkable") == []
    assert shown(inside, status="deleted") == [3, 2, 1]
    assert ">3</span>" in inside.send("GET", "/review")[1].partition("Deleted <span")[2][:40]
    # No decision brings it back.
    post(inside, "/review/decide", number=1, status="confirmed", label="again", note="again")
    assert shown(inside, status="deleted") == [3, 2, 1]

    engine = sqlalchemy.create_engine(database_url)
    with engine.connect() as connection:
        rows = connection.exec_driver_sql(
            "SELECT details, transcript, label, note, code_sha256 FROM serve_reports"
        ).all()
    engine.dispose()
    assert rows == [("", None, "", "", None)] * 3
    if database_url.startswith("sqlite"):
        # Nor are the bytes left in the file, its free pages or its log.
        stored = b"".join(file.read_bytes() for file in tmp_path.iterdir() if file.is_file())
        for words in (b"remarkable", b"comment-", b"question-", b"label-0", b"note-0"):
            assert words not in stored


@pytest.mark.parametrize("fields", [
    {}, {"number": "x"}, {"number": "-1"}, {"number": "1; DROP TABLE serve_reports"}, {"number": "\u0664"},
    {"number": "1", "status": "deleted"}, {"number": "1", "status": ""}, {"number": "9" * 5000, "status": "open"},
])  # fmt: skip
def test_odd_decisions_are_refused_by_name(start: Callable[..., Served], fields: dict[str, str]) -> None:
    served = start(review_password=PASSWORD)
    report(served)
    status, body = post(reviewer(served), "/review/decide", **fields)
    assert (status, json.loads(body)["error"]["code"]) == (400, "invalid_value")
    assert served.reports()[0]["status"] == "open"


@pytest.mark.parametrize("body", [
    b"", b"\xff\xfe", b"number=1&status=open&note=%FF%00%ED%A0%80", b"=&&&==", b"a" * 9000, b'{"number": 1}', b"[1]",
    b"[" * 5000, b'[["a", "b"], [[], "c"]]', b"null",
])  # fmt: skip
@pytest.mark.parametrize("kind", [FORM, "application/json"])
def test_bodies_that_are_no_form_break_nothing(
    start: Callable[..., Served], database_url: str, body: bytes, kind: str
) -> None:
    served = start(database_url=database_url, review_password=PASSWORD)
    report(served, "nul \0 in it", "\0", "\0")
    inside = reviewer(served)
    for path in PATHS[2:]:
        status, text = inside.send("POST", path, body, Content_Type=kind)
        assert status in (200, 303, 400, 403, 404), (path, text)
        assert "Traceback" not in text
    assert shown(inside, status="all") == [1]
    odd = "/review?number=99999999999&before=2147483648&done=x&text=%00&label=%00"
    assert inside.send("GET", odd)[0] == 200
    assert inside.send("GET", f"{odd}&status=%00")[0] == 400
    assert inside.send("GET", "/review?number=2147483648&status=all&before=99999999999")[0] == 200


def test_half_a_surrogate_is_refused_before_the_database(start: Callable[..., Served], database_url: str) -> None:
    served = start(database_url=database_url)
    visitor = Visitor(served)
    visitor.accept()
    status, body = visitor.send("POST", "/reports", b'{"reason": "wrong", "details": "\\ud800"}')
    assert (status, json.loads(body)["error"]["code"]) == (400, "invalid_value")
    assert visitor.send("POST", "/reports/delete", b'{"code": "\\ud800"}')[0] == 404


def test_keys_and_acceptances_on_either_database(
    start: Callable[..., Served], database_url: str, tmp_path: Path
) -> None:
    terms = tmp_path / "terms.md"
    terms.write_text("Be kind.")
    visitor = Visitor(start(database_url=database_url, terms=terms, requires_key=True))
    visitor.accept()
    key = get_key(visitor)
    assert ask(visitor.served, key) == (200, "")
    terms.write_text("Be kinder.")
    visitor.served = start(database_url=database_url, terms=terms, requires_key=True)
    assert ask(visitor.served, key) == (403, "terms_not_accepted")
    visitor.accept()
    assert ask(visitor.served, key) == (200, "")
    label = re.search(r'name="label" value="(\w+)"', visitor.send("GET", "/keys")[1])[1]
    assert post(visitor, "/keys/revoke", label=label)[0] == 303
    assert ask(visitor.served, key) == (401, "invalid_api_key")


def test_no_address_is_stored_by_any_page(start: Callable[..., Served], tmp_path: Path) -> None:
    served = start(review_password=PASSWORD)
    visitor, far = Visitor(served), {"X_Forwarded_For": ADDRESS}
    visitor.accept(**far)
    told = json.loads(visitor.send("POST", "/reports", {"reason": "wrong"}, **far)[1])
    for path, fields in (
        ("/keys", {}), ("/keys/revoke", {"label": "x"}), ("/review/login", {"password": "x"}),
        ("/review/login", {"password": PASSWORD}), ("/reports/delete", {"code": told["deletion_code"]}),
    ):  # fmt: skip
        visitor.send("POST", path, urlencode(fields).encode(), Content_Type=FORM, **far)
    stored = b"".join(file.read_bytes() for file in tmp_path.iterdir() if file.is_file())
    assert b"people_keys" in stored
    for secret in (ADDRESS, PASSWORD, told["deletion_code"], told["deletion_code"].replace("-", "")):
        assert secret.encode() not in stored
    with closing(sqlite3.connect(served.database)) as database:
        names = {row[1] for table in ("people_keys", "people_acceptances", "serve_reports")
                 for row in database.execute(f"PRAGMA table_info({table})")}  # fmt: skip
    assert not {name for name in names if "address" in name or "ip" in name.split("_")}


def test_database_that_goes_away_and_returns(start: Callable[..., Served], own_postgres: Cluster) -> None:
    served = start(database_url=own_postgres.url, review_password=PASSWORD)
    visitor, inside = Visitor(served), reviewer(served)
    visitor.accept()
    key = get_key(visitor)
    number = json.loads(visitor.send("POST", "/reports", {"reason": "wrong", "details": "kept"})[1])["id"]
    own_postgres.kill()
    calls = [
        ("POST", "/chat", {"messages": [{"role": "user", "content": "Q"}]}),
        ("POST", "/reports", {"reason": "wrong"}),
    ]
    calls += [("GET", path, None) for path in ("/", "/keys", "/terms")] + [
        ("POST", "/terms", b""),
        ("POST", "/keys", b""),
    ]
    calls += [("POST", "/reports/delete", {"code": "1"})]
    for caller, (method, path, body) in [
        *((visitor, call) for call in calls),
        *((inside, ("GET", path, None)) for path in ("/review", "/review/export.jsonl")),
    ]:
        status, text = caller.send(method, path, body)
        assert status == 503, (path, text)
        error = json.loads(text)["error"]
        assert (error["code"], error["type"]) == ("database_unavailable", "server_error")
        assert int(caller.last_headers["retry-after"]) > 0
        for secret in ("pacos-pg", "hunter2", "psycopg", "postgres"):
            assert secret not in text
    assert ask(served, key) == (503, "database_unavailable")
    # What needs no database goes on, and a reader of a page is told on a page.
    assert ask(served) == (200, "")
    assert "cannot be reached" in visitor.send("GET", "/", Accept="text/html")[1]
    own_postgres.start()
    assert eventually(lambda: ask(served, key) == (200, ""))
    assert visitor.ask()[0] == 200
    assert shown(inside) == [number]
    assert json.loads(visitor.send("POST", "/reports", {"reason": "wrong"})[1])["id"] > number
