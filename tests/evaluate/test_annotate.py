"""A study over real sockets: the command, personal links, votes that hold, and what closing makes of them."""

import csv
import json
import random
import re
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import httpx2
import pytest

from pacos.study.report_page import write
from tests.evaluate.annotating import Annotator, Serving, annotate, make_run, plan_of, refusal, serving, start


@pytest.fixture
def client() -> Iterator[httpx2.Client]:
    with httpx2.Client(timeout=20) as client:
        yield client


def people(served: Serving, client: httpx2.Client) -> list[Annotator]:
    return [Annotator(client, link) for link in served.links.values()]


def report_of(run: Path) -> dict[str, object]:
    return json.loads((run / "evaluate" / "annotation" / "report.json").read_text())


def votes_of(run: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (run / "evaluate" / "annotation" / "votes.jsonl").read_text().splitlines()]


def prefer_good(page: str) -> str:
    """Votes for the answer that says it is good, whichever it is and in a check only if it belongs."""
    number = re.search(r"Do thing (\d+)\.", page)[1]
    first, second = re.findall(r"(Good|Poor) answer (\d+)\.", page)
    if first[1] != second[1]:
        return "A" if first[1] == number else "B"
    return "A" if first[0] == "Good" else "B"


def judge_all(annotator: Annotator, **fields: str) -> int:
    annotator.begin()
    for cast in range(1000):
        page = annotator.page()
        if not (showing := annotator.showing()):
            return cast
        response = annotator.post("vote", showing=showing, choice=prefer_good(page), **fields)
        assert response.status_code == 303, response.text
    raise AssertionError("no end")


def test_study_from_plan_to_report(tmp_path: Path, client: httpx2.Client) -> None:
    run = make_run(tmp_path / "run", 12)
    with serving(run, "--annotators", 3, "--overlap", 2) as served:
        plan = plan_of(run)
        for annotator in people(served, client):
            judge_all(annotator, comment="so, =1+1 \u00fc")
            assert "All done" in annotator.page()
        assert not (run / "evaluate" / "annotation" / "report.json").exists()
    closed = annotate(run, "--close")
    assert closed.returncode == 0, closed.stderr
    report = report_of(run)
    # Twelve items by two of three people, and each sees one check.
    assert report["main"] | {"interval": 0} == {
        "votes": 24, "items": 12, "wins": 24, "losses": 0, "ties": 0, "both_bad": 0, "skips": 0, "win_rate": 1.0,
        "interval": 0,
    }  # fmt: skip
    # All alike is no certainty: twelve items, as Wilson has it with Student's quantile.
    assert report["main"]["interval"] == pytest.approx([0.7124, 1.0], abs=1e-3)
    assert (report["agreement"]["pairs"], report["agreement"]["equal"]) == (12, 1.0)
    assert (report["attention_shown"], report["attention_failed"], report["deviations"]) == (3, 0, [])
    assert report["sign_test_p"] == pytest.approx(2 / 2**12)
    # Two votes an item are one verdict: twelve, for which the e-value is B(13, 1) / 2**-12.
    assert report["sequential_p"] == pytest.approx(13 / 2**12)
    assert "100.0% (71.2 to 100.0)" in closed.stdout
    assert "People prefer student" in (run / "evaluate" / "annotation" / "report.html").read_text()
    # Every showing of the plan is one row of the export, in both formats, with what was shown where.
    rows = votes_of(run)
    shown = {showing["id"]: showing for showing in plan["showings"]}
    assert sorted(row["showing"] for row in rows) == sorted(shown)
    for row in rows:
        assert row["first_model"] == shown[row["showing"]]["first"]["model"]
        assert row["comment"] == "so, =1+1 \u00fc"
        assert 0 < row["seconds"] < 20
        if not row["attention"]:
            assert row["preferred"] == "student"
            assert row["choice"] == ("A" if row["first_model"] == "student" else "B")
    with open(run / "evaluate" / "annotation" / "votes.csv", newline="") as file:
        assert list(csv.DictReader(file)) == [{key: str(value) for key, value in row.items()} for row in rows]


def test_counts_are_those_of_the_votes_cast(tmp_path: Path, client: httpx2.Client) -> None:
    run = make_run(tmp_path / "run", 10)
    draw = random.Random(3)
    with serving(run, "--annotators", 2) as served:
        said: dict[tuple[str, int], str] = {}
        for annotator in people(served, client):
            annotator.begin()
            while showing := annotator.showing():
                said[showing] = draw.choice(["A", "B", "tie", "bad", "skip"])
                assert annotator.post("vote", showing=showing, choice=said[showing]).status_code == 303
    assert annotate(run, "--close").returncode == 0
    counted: Counter[str] = Counter()
    first_won = []
    for showing in plan_of(run)["showings"]:
        if showing["is_attention"]:
            continue
        choice, is_first = said[showing["id"]], showing["first"]["model"] == "student"
        won = {"A": "wins" if is_first else "losses", "B": "losses" if is_first else "wins", "bad": "both_bad"}
        counted[won.get(choice, {"tie": "ties", "skip": "skips"}.get(choice, ""))] += 1
        first_won += [choice == "A"] if choice in "AB" else []
    report = report_of(run)
    assert {key: report["main"][key] for key in counted} == counted
    scored = 16 - counted["skips"]
    assert report["main"]["votes"] == scored
    half = (counted["ties"] + counted["both_bad"]) / 2
    assert report["main"]["win_rate"] == pytest.approx((counted["wins"] + half) / scored)
    assert report["slot_effect"]["votes"] == len(first_won)
    assert report["slot_effect"]["first_shown_win_rate"] == pytest.approx(sum(first_won) / len(first_won))
    by_item = {row["item"]: row for row in report["items"]}
    assert len(by_item) == len(plan_of(run)["items"])
    assert sum(row["wins"] for row in by_item.values()) == counted["wins"]


def test_failed_attention_checks_stand_beside_whatever_is_quoted(tmp_path: Path, client: httpx2.Client) -> None:
    run = make_run(tmp_path / "run", 12)
    with serving(run, "--annotators", 2) as served:
        showings = {showing["id"]: showing for showing in plan_of(run)["showings"]}
        for annotator in people(served, client):
            annotator.begin()
            while showing := annotator.showing():
                shown = showings[showing]
                is_right = shown["first"]["item"] == shown["item"]
                wrong = "B" if is_right else "A"
                choice = wrong if shown["is_attention"] else "tie"
                assert annotator.post("vote", showing=showing, choice=choice).status_code == 303
    assert annotate(run, "--close").returncode == 0
    failed = report_of(run)["attention_failed"]
    assert failed == report_of(run)["attention_shown"] > 0
    own = (run / "evaluate" / "annotation" / "report.html").read_text()
    whole = write(run).read_text()
    for html in (own, whole):
        assert f'data-attention-failed="{failed}"' in html
        quote = next(each for each in re.findall(r"<blockquote[^>]*>(.*?)</blockquote>", html) if "annotator" in each)
        assert f"who failed {failed} of {failed} attention check" in quote
    assert "win rate of 50.0% over items, ties as half" in own
    assert "that name a model" not in own


def test_bad_votes_are_one_line_each_and_nothing_is_lost(tmp_path: Path, client: httpx2.Client) -> None:
    run = make_run(tmp_path / "run", 8)
    with serving(run, "--annotators", 2) as served:
        one, other = people(served, client)
        one.begin()
        other.begin()
        first = one.showing()
        assert one.post("vote", showing=first, choice="A").status_code == 303
        with ThreadPoolExecutor(8) as pool:
            second = one.showing()
            answers = list(pool.map(lambda choice: one.post("vote", showing=second, choice=choice), "ABABABAB"))
        assert sorted(answer.status_code for answer in answers) == [303] + [409] * 7
        assert one.post("undo", showing=second).status_code == 303
        later = plan_of(run)["showings"][5]["id"]
        assert refusal(one.post("vote", showing=first, choice="B")) == (409, "already_voted")
        assert refusal(one.post("vote", showing=later, choice="B")) == (409, "not_its_turn")
        # Another's item, and one that never was.
        assert refusal(one.post("vote", showing=other.showing(), choice="B")) == (404, "not_your_item")
        assert refusal(one.post("vote", showing="forged", choice="B")) == (404, "not_your_item")
        assert refusal(one.vote("student")) == (400, "invalid_choice")
        assert refusal(one.vote("A", comment="x" * 2001)) == (400, "comment_too_long")
        forged = Annotator(client, one.link[:-1] + ("a" if one.link[-1] != "a" else "b"))
        assert refusal(forged.post("vote", showing=one.showing(), choice="A")) == (404, "no_such_link")
        abroad = client.post(f"{one.link}/vote", data={"choice": "A"}, headers={"Origin": "https://evil.example"})
        assert refusal(abroad) == (403, "cross_origin")
        assert refusal(one.post("undo", showing="forged")) == (409, "not_the_last")
        late = one.showing()
        assert annotate(run, "--close").returncode == 0
        assert refusal(one.post("vote", showing=late, choice="A")) == (410, "study_closed")
        assert refusal(one.post("undo", showing=first)) == (410, "study_closed")
        assert "The study is closed" in one.page()
        assert client.get(one.link.rpartition("/")[0], headers={"Accept": "text/html"}).status_code == 404
    vote, undone = votes_of(run)
    assert (undone["showing"], undone["undone"]) == (second, True)
    assert (vote["showing"], vote["choice"], vote["undone"]) == (first, "A", False)
    # An attention item is none of the planned votes, and may come first.
    (was_check,) = [each["is_attention"] for each in plan_of(run)["showings"] if each["id"] == first]
    assert f"Closed with {0 if was_check else 1} of 12 planned votes" in report_of(run)["deviations"][0]
    assert "No vote by annotator 2." in report_of(run)["deviations"]


def test_undo_is_a_row_of_its_own_and_a_reload_changes_nothing(tmp_path: Path, client: httpx2.Client) -> None:
    run = make_run(tmp_path / "run", 8)
    with serving(run, "--annotators", 1) as served:
        (one,) = people(served, client)
        one.begin()
        first, page = one.showing(), one.page()
        assert one.page() == page
        one.vote("A", comment="hasty")
        second = one.showing()
        assert second != first
        assert one.post("undo", showing=first).status_code == 303
        assert refusal(one.post("undo", showing=first)) == (409, "not_the_last")
        assert one.page() == page
        one.vote("B")
        assert one.showing() == second
        assert one.post("pause").status_code == 303
        assert "Paused" in one.page()
        time.sleep(1.2)
        one.begin()
        one.vote("tie")
    # The order is in the plan, so another process shows the same.
    with serving(run) as served:
        (one,) = people(served, client)
        assert one.showing() not in (first, second)
    assert annotate(run, "--close").returncode == 0
    votes = [(vote["showing"], vote["choice"], vote["undone"]) for vote in votes_of(run)]
    assert votes == [(first, "A", True), (first, "B", False), (second, "tie", False)]
    # The pause that was told is not counted.
    assert votes_of(run)[2]["seconds"] < 1.2


def test_rating_mode_counts_levels_and_prefers_the_better(tmp_path: Path, client: httpx2.Client) -> None:
    run = make_run(tmp_path / "run", 10)
    with serving(run, "--annotators", 2, "--mode", "rating") as served:
        for annotator in people(served, client):
            annotator.begin()
            while showing := annotator.showing():
                levels = ("A", "C") if prefer_good(annotator.page()) == "A" else ("C", "A")
                if refusal(annotator.post("vote", showing=showing, first="A", second="E")) != (400, "invalid_choice"):
                    raise AssertionError
                response = annotator.post("vote", showing=showing, first=levels[0], second=levels[1])
                assert response.status_code == 303
    closed = annotate(run, "--close")
    report = report_of(run)
    assert report["ratings"]["levels"] == {
        "student": {"A": 16, "B": 0, "C": 0, "D": 0},
        "base": {"A": 0, "B": 0, "C": 16, "D": 0},
    }
    assert report["ratings"]["acceptable"] == {"student": 1.0, "base": 0.0}
    assert (report["main"]["wins"], report["main"]["losses"]) == (16, 0)
    assert report["ratings"]["agreement"]["alpha"] == 1.0
    assert "student is acceptable, A or B  100.0%" in closed.stdout


def line_of(*arguments: object) -> str:
    """The one line of a refused command."""
    refused = annotate(*arguments)
    assert refused.returncode == 2, refused.stdout
    assert "Traceback" not in refused.stderr
    assert refused.stderr.count("\n") == 1
    return refused.stderr


def test_refused_before_and_after_the_plan(tmp_path: Path, client: httpx2.Client) -> None:
    run = make_run(tmp_path / "run", 8)
    study = run / "evaluate" / "annotation"
    assert "no study was begun" in line_of(run, "--close")
    assert "--annotators" in line_of(run)
    assert "no study was begun" in line_of(run, "--close"), "a refused start begins none"
    assert "too few for one each" in line_of(run, "--annotators", 17)
    assert "--overlap 3" in line_of(run, "--annotators", 2, "--overlap", 3)
    assert "--candidate rival" in line_of(run, "--annotators", 2, "--candidate", "rival")
    with serving(run, "--annotators", 2) as served:
        assert "another pacos annotate" in line_of(run, "--port", 0)
        assert "nobody has voted" in line_of(run, "--close")
        one = people(served, client)[0]
        one.begin()
        one.vote("A")
        one.vote("B")
        port = one.link.split(":")[2].split("/")[0]
        other = make_run(tmp_path / "other", 8)
        assert f"--port: {port} on" in line_of(other, "--annotators", 2, "--port", port)
    assert "planned with 2" in line_of(run, "--annotators", 3)
    assert "leave the other options out" in line_of(run, "--close", "--annotators", 2)

    whole = (study / "plan.json").read_text()
    (study / "plan.json").write_text(whole.replace('"overlap": 2', '"overlap": 1'))
    for command in ((run,), (run, "--close")):
        assert "plan.json: has been changed" in line_of(*command)
    (study / "plan.json").write_text(whole)
    answers = run / "evaluate" / "answers" / "base.jsonl"
    texts = answers.read_text()
    answers.write_text(texts.replace("Poor answer 3", "Fine answer 3"))
    assert "base.jsonl: has changed" in line_of(run, "--close")
    answers.write_text(texts)

    (study / "study.sqlite").replace(tmp_path / "kept.sqlite")
    for edit in (
        "UPDATE annotation_log SET choice = 'B' WHERE choice = 'A'",
        "DELETE FROM annotation_log WHERE number = 2",
        "DELETE FROM annotation_log WHERE number = (SELECT max(number) FROM annotation_log)",
    ):
        (study / "study.sqlite").write_bytes((tmp_path / "kept.sqlite").read_bytes())
        with closing(sqlite3.connect(study / "study.sqlite")) as connection:
            connection.execute(edit)
            connection.commit()
        assert "changed the study by hand" in line_of(run, "--close"), edit
    assert "changed the study by hand" in line_of(run)


@pytest.mark.parametrize(
    ("edit", "line"),
    [
        (lambda rows: rows[1:], "holds no answer to 1 of 8 items"),
        (lambda rows: [*rows, rows[0]], "a second answer to"),
        (lambda rows: [*rows[1:], rows[0].replace("0000000000000000", "beef")], "no answer to one of the items"),
        (lambda rows: [*rows[1:], "{"], "is not JSON"),
    ],
)
def test_answers_that_do_not_fit_the_items(tmp_path: Path, edit: object, line: str) -> None:
    run = make_run(tmp_path / "run", 8)
    path = run / "evaluate" / "answers" / "student.jsonl"
    path.write_text("\n".join(edit(path.read_text().splitlines())) + "\n")
    assert line in line_of(run, "--annotators", 2)
    assert not (run / "evaluate" / "annotation" / "plan.json").exists()


def test_answers_in_another_order_and_empty_ones_are_shown(tmp_path: Path, client: httpx2.Client) -> None:
    run = make_run(tmp_path / "run", 4, {"student": "Good answer {n}.", "base": " \n"})
    path = run / "evaluate" / "answers" / "student.jsonl"
    path.write_text("\n".join(reversed(path.read_text().splitlines())) + "\n")
    with serving(run, "--annotators", 1) as served:
        (one,) = people(served, client)
        one.begin()
        for _ in range(4):
            page = one.page()
            number = re.search(r"Do thing (\d)\.", page)[1]
            assert f"Good answer {number}." in page
            assert "(empty)" in page
            one.vote()


def test_answers_that_name_their_model_are_told_before_the_start(tmp_path: Path, client: httpx2.Client) -> None:
    run = make_run(tmp_path / "run", 6)
    path = run / "evaluate" / "answers" / "student.jsonl"
    lines = path.read_text().replace("Good answer 2.", "I am ChatGPT, trained by OpenAI.")
    path.write_text(lines.replace("Good answer 4.", "As pacos-mini I cannot."))
    with serving(run, "--annotators", 1, "--overlap", 1) as served:
        told = [line for line in served.printed.splitlines() if "not blind" in line]
        assert len(told) == 2
        assert "student" in told[0]
        assert "ChatGPT" in told[0]
        (one,) = people(served, client)
        one.begin()
        while showing := one.showing():
            one.post("vote", showing=showing, choice="tie")
    assert annotate(run, "--close").returncode == 0
    report = report_of(run)
    flagged = {row["item"] for row in report["named_themselves"]} & set(plan_of(run)["items"])
    assert report["unflagged"]["items"] == report["main"]["items"] - len(flagged)


@pytest.mark.parametrize("kills", [10, pytest.param(50, marks=pytest.mark.slow)])
def test_kills_lose_no_acknowledged_vote(tmp_path: Path, client: httpx2.Client, kills: int) -> None:
    """Votes go on while the server is killed at random moments and started again on the same port."""
    run = make_run(tmp_path / "run", 700)
    served = start(run, "--port", 0, "--annotators", 1, "--overlap", 1)
    port = served.links[1].split(":")[2].split("/")[0]
    one, draw = Annotator(client, served.links[1]), random.Random(kills)
    one.begin()
    acknowledged: dict[str, str] = {}
    for _ in range(kills):
        # From another thread, so that it falls into any moment of a vote.
        threading.Timer(draw.uniform(0.05, 0.6), served.process.kill).start()
        try:
            while True:
                showing, choice = one.showing(), draw.choice(["A", "B", "tie", "bad"])
                response = one.post("vote", showing=showing, choice=choice)
                # What was stored without an acknowledgement is told, not stored twice.
                assert response.status_code == 303, response.text
                acknowledged[showing] = choice
        except httpx2.TransportError:
            served.process.wait()
        served = start(run, "--port", port)
        assert served.links[1] == one.link
    served.kill()
    assert annotate(run, "--close").returncode == 0
    stored = {vote["showing"]: vote["choice"] for vote in votes_of(run)}
    assert len(stored) == len(votes_of(run))
    assert {showing: stored.get(showing) for showing in acknowledged} == acknowledged
    assert len(stored) - len(acknowledged) <= kills
    assert len(acknowledged) > kills
