"""Votes of side by side, from the page through the reviewers' export into `pacos ballots import`."""

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from pacos.evaluate.formats.kept_votes import read_folder
from pacos.evaluate.formats.votes import NamedVote
from pacos.serve.page_store import PageStore
from tests.conftest import Command
from tests.serve.conftest import ScriptedEngine, Served, WordModerator
from tests.serve.test_chat_page import Visitor
from tests.serve.test_review import PASSWORD, reviewer

Row = dict[str, Any]


def vote(visitor: Visitor, question: str, choose: Callable[[list[str]], str], consent: bool, blind: bool = True) -> str:
    """Asks both models and votes by what they said; the choice."""
    asked = [{"role": "user", "content": question}]
    status, body = visitor.send("POST", "/comparisons", {"messages": asked, "blind": blind})
    assert status == 200, body
    opening, *events = map(json.loads, body.splitlines())
    pieces = [[event for event in events if event["type"] == "piece" and event["side"] == side] for side in (0, 1)]
    said = ["".join(event["text"] for event in side) for side in pieces]
    texts = {
        "messages": asked,
        "answers": [
            {"role": "assistant", "content": text, "seal": side[-1]["seal"]}
            for text, side in zip(said, pieces, strict=True)
        ],
    }
    choice = choose(said)
    told = {"choice": choice, "consent": consent, **(texts if consent else {})}
    status, body = visitor.send("POST", f"/comparisons/{opening['id']}/vote", told)
    assert status == 200, body
    return choice


def accepted(served: Served) -> Visitor:
    visitor = Visitor(served)
    visitor.accept()
    return visitor


def exported(served: Served) -> list[Row]:
    inside = reviewer(served)
    status, body = inside.send("GET", "/review/votes.jsonl")
    assert (status, inside.last_headers["content-type"]) == (200, "application/x-ndjson")
    return [json.loads(line) for line in body.splitlines()]


def imported(pacos: Command, folder: Path, rows: list[Row] | str) -> tuple[Row, list[NamedVote], str]:
    """imported.json, the ballots' votes with their names, and what was printed."""
    path = folder / "votes.jsonl"
    path.write_text(rows if isinstance(rows, str) else "".join(json.dumps(row) + "\n" for row in rows))
    code, out, err = pacos("ballots", "import", path, "--format", "serve", "--out", folder / "votes")
    assert code == 0, err
    return json.loads((folder / "votes" / "imported.json").read_text()), read_folder(folder / "votes").votes, out


def the_own(said: list[str]) -> str:
    return "ab"[said.index("Own.")]


def test_what_visitors_vote_on_the_page_is_ballots_with_a_win_rate(
    start: Callable[..., Served], database_url: str, pacos: Command, tmp_path: Path
) -> None:
    served = start(
        ScriptedEngine(["Own."]),
        rival=ScriptedEngine(["Other."]),
        database_url=database_url,
        review_password=PASSWORD,
    )
    assert Visitor(served).send("GET", "/review/votes.jsonl")[0] == 401
    assert exported(served) == []
    one, two, three = (accepted(served) for _ in range(3))
    vote(one, "Which?", the_own, consent=True)
    vote(two, "Which?", the_own, consent=False)
    vote(three, "Which?", lambda said: "bad", consent=False)
    vote(one, "And now?", lambda said: "tie", consent=True)
    vote(two, "And now?", the_own, consent=True)
    vote(three, "Names?", lambda said: "b", consent=True, blind=False)
    # A question that was asked and not voted on is no vote.
    one.send("POST", "/comparisons", {"messages": [{"role": "user", "content": "Left?"}], "blind": True})
    rows = exported(served)
    assert [row["choice"] for row in rows][2:4] == ["bad", "tie"]
    report, votes, printed = imported(pacos, tmp_path, rows)
    assert report["unreadable"] == []
    blind, named = report["tally"]["pairs"]
    assert [blind[key] for key in ("candidate", "baseline", "items", "voters")] == ["tiny", "rival", 2, 3]
    assert [blind[key] for key in ("wins", "losses", "ties", "is_blind")] == [3, 0, 2, True]
    assert blind["win_rate"] == 0.8
    assert blind["interval"][0] < 0.8 < blind["interval"][1]
    assert [named[key] for key in ("wins", "losses", "ties", "is_blind")] == [0, 1, 0, False]
    assert "tiny against rival, 1 item, the models' names in view" in printed
    assert report["tally"]["agreement"]["items"] == 2
    # The words of a question are those that any visitor left; each answer is the one that its vote was on.
    assert [each.item.instruction for each in votes] == ["Which?"] * 3 + ["And now?"] * 2 + ["Names?"]
    said = {"tiny": "Own.", "rival": "Other."}
    for each, kept in zip(votes, [True, False, False, True, True, True], strict=True):
        assert (each.answer_a, each.answer_b) == ((said[each.model_a], said[each.model_b]) if kept else ("", ""))
    assert votes[2].said == "tie (bothbad)"
    assert len({each.voter for each in votes}) == 3
    assert votes[0].voter == votes[3].voter
    assert (votes[5].model_a, votes[5].is_order_known) == ("tiny", True)
    # No cookie is told, nor the hash under which the terms' acceptance is kept.
    sessions = json.dumps(rows)
    for row in [] if database_url.startswith("postgresql") else served.rows("people_acceptances"):
        assert str(row["session_sha256"]) not in sessions
    # What was in view stays known in other tools' files.
    assert pacos("ballots", "export", tmp_path / "votes", "--format", "alpaca-eval", "--out", tmp_path / "out")[0] == 0
    files = sorted((tmp_path / "out").rglob("annotations.json"))
    assert pacos("ballots", "import", *files, "--format", "alpaca-eval", "--out", tmp_path / "again")[0] == 0
    assert sorted(v.is_blind for v in read_folder(tmp_path / "again").votes) == [False] + [True] * 5


def test_a_vote_on_an_answer_that_was_withheld_is_in_no_rate(
    start: Callable[..., Served], pacos: Command, tmp_path: Path
) -> None:
    served = start(
        ScriptedEngine(["Own."]),
        rival=ScriptedEngine(["A forbidden word."]),
        moderating=WordModerator(),
        review_password=PASSWORD,
    )
    vote(accepted(served), "Which?", the_own, consent=True)
    (row,) = exported(served)
    assert row["is_withheld"] is True
    report, (kept,), printed = imported(pacos, tmp_path, [row])
    (pair,) = report["tally"]["pairs"]
    assert (pair["win_rate"], pair["unparsable"]) == (None, 1)
    assert (kept.choice, kept.said) == ("unparsable", f"{row['choice']}, withheld")
    assert "1 votes are on an answer that the filter withheld" in printed


def a_vote(number: int, **changes: Any) -> Row:
    row = {
        "id": f"v{number}", "prompt_sha256": f"q{number % 20}", "messages": None, "model_a": "larch", "model_b": "oak",
        "model_sha256_a": "aa" * 32, "model_sha256_b": "bb" * 32, "answer_a": None, "answer_b": None, "choice": "a",
        "is_blind": True, "is_withheld": False, "baseline": "b", "voter": f"s{number}",
        "asked_at": "2026-11-28T09:00:00+00:00", "voted_at": "2026-11-28T09:01:00+00:00",
    }  # fmt: skip
    return row | changes


def test_votes_of_one_visitor_are_no_independent_ones(pacos: Command, tmp_path: Path) -> None:
    """Twenty visitors, each always of one opinion: their forty votes each say less than those of forty by four."""
    alike = [
        a_vote(40 * visitor + n, voter=f"s{visitor}", prompt_sha256=f"q{n}", choice="ab"[visitor % 3 == 0])
        for visitor in range(20)
        for n in range(40)
    ]
    mixed = [row | {"voter": f"s{number}"} for number, row in enumerate(alike)]
    widths = []
    for name, rows in (("alike", alike), ("mixed", mixed)):
        (tmp_path / name).mkdir()
        low, high = imported(pacos, tmp_path / name, rows)[0]["tally"]["pairs"][0]["interval"]
        widths.append(high - low)
    assert widths[0] > 2 * widths[1]


def test_damaged_lines_cost_themselves_alone(pacos: Command, tmp_path: Path) -> None:
    turns = [{"role": "user", "content": "What?"}]
    rows = [
        a_vote(0), a_vote(1, choice="c"), a_vote(2, model_b=None), a_vote(3, messages=[5]), a_vote(4, is_blind="yes"),
        a_vote(5, baseline="oak"), a_vote(6, answer_a=7), a_vote(7, model_b="larch", model_sha256_b="aa" * 32),
        a_vote(8, voter=None), a_vote(28, voter=None, messages=turns, answer_a="x", answer_b="y"),
    ]  # fmt: skip
    text = "".join(json.dumps(row) + "\n" for row in rows) + '{"id": "cut'
    report, votes, _ = imported(pacos, tmp_path, text)
    whys = ["'c'", "model_b", "messages", "is_blind", "'oak'", "answer_a", "with itself"]
    found = [line for line in report["unreadable"] if "is not JSON" not in line]
    assert len(report["unreadable"]) == 8
    for number, (line, why) in enumerate(zip(found, whys, strict=True), start=2):
        assert line.startswith(f"{tmp_path / 'votes.jsonl'}:{number}: "), line
        assert why in line
    # Votes from before sessions were kept are each a voter's of its own; the question has the words that one left.
    assert len({each.voter for each in votes}) == 3
    assert [each.item.instruction for each in votes] == ["question q0", "What?", "What?"]


def test_a_name_that_stood_for_two_models_is_two_models(pacos: Command, tmp_path: Path) -> None:
    rows = [a_vote(0), a_vote(1, model_sha256_a="cd" * 32)]
    report, _, _ = imported(pacos, tmp_path, rows)
    assert {pair["candidate"] for pair in report["tally"]["pairs"]} == {"larch (aaaaaaaa)", "larch (cdcdcdcd)"}


@pytest.mark.parametrize("text", ["", "\n"])
def test_an_export_without_a_vote_is_one_line(pacos: Command, tmp_path: Path, text: str) -> None:
    (tmp_path / "votes.jsonl").write_text(text)
    code, _, err = pacos("ballots", "import", tmp_path / "votes.jsonl", "--format", "serve", "--out", tmp_path / "out")
    assert (code, err.count("\n")) == (2, 1)
    assert "votes.jsonl" in err
    assert not (tmp_path / "out").exists()


def test_votes_from_before_sessions_were_kept_are_exported(start: Callable[..., Served]) -> None:
    served = start(ScriptedEngine(["Own."]), rival=ScriptedEngine(["Other."]), review_password=PASSWORD)
    vote(accepted(served), "Which?", the_own, consent=True, blind=False)
    with closing(sqlite3.connect(served.database)) as database:
        for column in ("voter_sha256", "is_withheld"):
            database.execute(f"ALTER TABLE serve_votes DROP COLUMN {column}")
        database.execute("UPDATE pacos_schema SET version = 0 WHERE name = 'serve_page'")
        database.commit()
    with closing(PageStore(served.database)) as store:
        (cast,) = store.votes(10)
    assert (cast.voter_sha256, cast.is_withheld, cast.models) == (None, False, ("tiny", "rival"))
