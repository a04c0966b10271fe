"""Ledgers and ballots from before preferences were kept: what is in them is read as it was meant."""

import sqlite3
from contextlib import closing
from pathlib import Path

from pacos.asking import Call, Ledger
from pacos.engines import Reply, Request, Sampling
from pacos.evaluate.ballots import Ballot, BallotBox, Vote


def make_old(path: Path, schema: str, table: str, column: str) -> None:
    with closing(sqlite3.connect(path)) as database:
        database.execute(f"ALTER TABLE {table} DROP COLUMN {column}")
        database.execute("UPDATE pacos_schema SET version = 0 WHERE name = ?", (schema,))
        database.commit()


def test_an_old_ledger_still_answers(tmp_path: Path) -> None:
    path, call = tmp_path / "ledger.sqlite", Call(0, "k", Request("r", "x", Sampling(5)))
    with closing(Ledger(path, "judge")) as ledger:
        ledger.store(call, Reply("r", "Verdict: A", "stop", usd=0.5))
    make_old(path, "ledger", "replies", "logprobs")
    with closing(Ledger(path, "judge")) as ledger:
        reply = ledger.find(call)
    assert isinstance(reply, Reply)
    assert (reply.text, reply.usd, reply.logprobs) == ("Verdict: A", 0.5, ())


def test_old_votes_prefer_what_they_chose(tmp_path: Path) -> None:
    path, choices = tmp_path / "ballots.sqlite", {"1": "A", "2": "B", "3": "tie", "4": "unparsable"}
    with closing(BallotBox(path)) as box:
        box.add([Ballot(name, "item", "x", "y") for name in choices], [], {})
        box.vote([Vote(name, "judge", choice, "k") for name, choice in choices.items()])  # type: ignore[arg-type]
    make_old(path, "ballots", "votes", "preference")
    with closing(BallotBox(path)) as box:
        assert {vote.ballot: vote.preference for vote in box.votes()} == {"1": 1.0, "2": 0.0, "3": 0.5, "4": None}
