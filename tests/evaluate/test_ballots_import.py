"""`pacos ballots import`: other tools' votes as ballots, none lost, with the numbers that are known of them."""

import json
import random
import sqlite3
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from pacos.cli.main import app
from pacos.evaluate.formats.alpaca_eval import read_alpaca_eval, write_alpaca_eval
from pacos.evaluate.formats.kept_votes import read_folder, write_folder
from pacos.evaluate.formats.votes import NamedVote, Reading
from pacos.evaluate.items import make_item
from pacos.statistics import win_rate
from tests.evaluate.test_leaderboard_reproduce import published_rows

Rows = list[dict[str, Any]]


def run(*arguments: object) -> tuple[str, str]:
    """What the command prints; and its one line where it refuses."""
    result = CliRunner().invoke(app, ["ballots", *map(str, arguments)])
    return result.output, str(result.exception) if result.exit_code else ""


def imported(source: str, out: Path, *files: Path) -> dict[str, Any]:
    output, refusal = run("import", *files, "--format", source, "--out", out)
    assert not refusal, refusal
    return json.loads((out / "imported.json").read_text()) | {"printed": output}


def votes(reading: Reading) -> Counter[tuple[object, ...]]:
    """The votes, without their records' numbers, which only say which belong together."""
    return Counter(map(told, reading.votes))


def told(vote: NamedVote) -> tuple[object, ...]:
    """All that a vote says; where nobody knows which answer was first, by the models' names."""
    shown = [(vote.model_a, vote.answer_a), (vote.model_b, vote.answer_b)]
    choice, grade = vote.choice, vote.preference
    if not vote.is_order_known and shown != sorted(shown):
        shown.reverse()
        choice = {"A": "B", "B": "A"}.get(choice, choice)
        grade = None if grade is None else 3 - grade
    asked = f"{vote.item.instruction}\n\n{vote.item.input}".strip()
    return (asked, vote.voter, *shown, choice, grade, vote.said, vote.is_order_known)


def lines(path: Path, rows: Rows) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_tulus_human_votes_give_the_numbers_known_of_them(shared_data: Path, tmp_path: Path) -> None:
    files = [
        shared_data / "judges/tulu1" / f"eval_{name}" for name in ("annotations_tulu_1.xlsx", "instances_tulu_1.jsonl")
    ]
    report = imported("tulu", tmp_path / "tulu", *files)
    tally = report["tally"]
    assert (tally["votes"], tally["replaced"], tally["items"], report["unreadable"]) == (1150, 9, 332, [])
    first = {pair["baseline"]: pair for pair in tally["pairs"]}
    assert {pair["candidate"] for pair in tally["pairs"]} == {"tulu_65B"}
    assert {name: pair["first"] for name, pair in first.items()} == {
        "chatgpt": [92, 130, 110], "tulu_7B": [150, 76, 106], "tulu_human_only_65B": [166, 67, 99]
    }  # fmt: skip
    assert round(first["chatgpt"]["sign_test_p"], 3) == 0.013
    agreement, slot = tally["agreement"], tally["slot"]
    assert agreement["items"] == 121
    assert (round(agreement["equal"], 3), round(agreement["kappa"], 3)) == (0.579, 0.345)
    assert (slot["share"]["votes"], slot["share"]["first_shown_win_rate"]) == (767, pytest.approx(419 / 767))
    assert 0.5 < slot["share"]["interval"][0] < 0.52
    assert "92 won, 130 lost, 110 tied; sign test p 0.013" in report["printed"]
    # Every record is a vote in the store, those that their voter replaced, too.
    assert len(read_folder(tmp_path / "tulu").votes) == 1150


@pytest.mark.parametrize(("benchmark", "judge"), [(1, "alpaca_eval_gpt4"), (2, "weighted_alpaca_eval_gpt4_turbo")])
def test_alpaca_evals_win_rates_are_the_published_ones(
    shared_data: Path, tmp_path: Path, benchmark: int, judge: str
) -> None:
    models = ["alpaca-7b", "alpaca-farm-ppo-human"]
    files = [shared_data / "alpaca_eval/results" / model / judge / "annotations.json" for model in models]
    pairs = imported("alpaca-eval", tmp_path / "votes", *files)["tally"]["pairs"]
    published = published_rows(shared_data / "alpaca_eval", benchmark)
    for pair in pairs:
        row = published[pair["candidate"]]
        assert 100 * pair["weighted_win_rate"] == pytest.approx(float(row["win_rate"]), abs=1e-6)
        assert 100 * pair["standard_error"] == pytest.approx(float(row["standard_error"]), abs=1e-6)
        assert pair["wins"] == int(row["n_wins"])
        assert pair["interval"][0] < pair["win_rate"] < pair["interval"][1]
    # Into the store, out as AlpacaEval's files, and in again: vote by vote, and the leaderboard is the same.
    stored = read_folder(tmp_path / "votes")
    run("export", tmp_path / "votes", "--format", "alpaca-eval", "--out", tmp_path / "out")
    again = imported("alpaca-eval", tmp_path / "again", *sorted((tmp_path / "out").rglob("annotations.json")))
    assert votes(read_folder(tmp_path / "again")) == votes(stored)
    assert sorted(map(str, again["tally"]["pairs"])) == sorted(map(str, pairs))
    board = CliRunner().invoke(app, ["leaderboard", "reproduce", str(tmp_path / "out"), "--json", str(tmp_path / "j")])
    assert board.exit_code == 0, board.output
    for row in json.loads((tmp_path / "j").read_text()):
        assert row["win_rate"] == pytest.approx(float(published[row["model"]]["win_rate"]), abs=1e-6)


def mt_bench(folder: Path) -> tuple[Path, Path]:
    """FastChat's layout with three questions: a judge's file and one of people's votes."""
    lines(
        folder / "question.jsonl",
        [{"question_id": 81 + n, "category": "writing", "turns": [f"Ask {n}.", f"Then {n}."]} for n in range(3)],
    )
    for model in ("larch", "maple"):
        turns = [{"index": 0, "turns": [f"{model} one", f"{model} two"]}]
        lines(
            folder / "model_answer" / f"{model}.jsonl",
            [{"question_id": 81 + n, "model_id": model, "choices": turns} for n in range(3)],
        )
    rest = {"model_1": "larch", "model_2": "maple", "judge": ["gpt-4", "pair-v2"], "tstamp": 1.5}
    games = [("model_1", "model_1"), ("model_1", "model_2"), ("tie", "error")]
    judged = lines(
        folder / "model_judgment" / "gpt-4_pair.jsonl",
        [
            {"question_id": 81 + n, "turn": 1, "g1_winner": g1, "g2_winner": g2, **rest}
            for n, (g1, g2) in enumerate(games)
        ],
    )
    talk = [{"role": "user", "content": "Ask 0."}, {"role": "assistant", "content": "said"}] * 2
    people = {"model_a": "maple", "model_b": "larch", "conversation_a": talk, "conversation_b": talk}
    voted = lines(
        folder / "human.jsonl",
        [
            {"question_id": 81, "turn": turn, "judge": judge, "winner": winner, **people}
            for turn, judge, winner in [
                (1, "expert_0", "model_a"), (1, "author_1", "model_b"), (2, "expert_0", "tie (bothbad)"),
            ]
        ],
    )  # fmt: skip
    return judged, voted


def test_mt_bench_judges_both_orders_and_people_one(tmp_path: Path) -> None:
    judged, voted = mt_bench(tmp_path / "mt")
    report = imported("mt-bench", tmp_path / "votes", judged, voted)
    (pair,) = report["tally"]["pairs"]
    # A win in both orders, a conflict, a game without a verdict; then people's: a loss, a win, both bad.
    assert (pair["candidate"], pair["baseline"]) == ("larch", "maple")
    assert [pair[key] for key in ("wins", "losses", "ties", "conflicts", "unparsable")] == [2, 1, 2, 1, 1]
    stored = read_folder(tmp_path / "votes")
    games = [vote for vote in stored.votes if vote.voter == "gpt-4/pair-v2"]
    assert [(v.model_a, v.choice) for v in games] == [
        ("larch", "A"), ("maple", "B"), ("larch", "A"), ("maple", "A"), ("larch", "tie"), ("maple", "unparsable")
    ]  # fmt: skip
    assert (games[0].item.instruction, games[0].answer_a, games[0].item.skill) == ("Ask 0.", "larch one", "writing")
    bad = stored.votes[-1]
    assert (bad.choice, bad.said) == ("tie", "tie (bothbad)")
    assert bad.item.instruction == "First turn:\nAsk 0.\n\nSecond turn:\nThen 0."
    # What AlpacaEval's format keeps of them is all of them.
    run("export", tmp_path / "votes", "--format", "alpaca-eval", "--out", tmp_path / "out")
    files = sorted((tmp_path / "out").rglob("annotations.json"))
    assert len(files) == 3
    imported("alpaca-eval", tmp_path / "again", *files)
    assert votes(read_folder(tmp_path / "again")) == votes(stored)


def test_a_judge_of_the_first_place_has_the_whole_slot_effect(tmp_path: Path) -> None:
    row = {"model_1": "larch", "model_2": "maple", "g1_winner": "model_1", "g2_winner": "model_2", "judge": "j"}
    path = lines(tmp_path / "j_pair.jsonl", [{**row, "question_id": n, "turn": 1} for n in range(3)])
    report = imported("mt-bench", tmp_path / "votes", path)
    slot = report["tally"]["slot"]
    assert (slot["share"]["votes"], slot["share"]["first_shown_win_rate"], slot["effect"]) == (6, 1.0, 1.0)
    assert report["tally"]["pairs"][0]["win_rate"] == 0.5
    assert report["tally"]["replaced"] == 0


def test_mt_bench_without_its_questions_has_numbers(tmp_path: Path) -> None:
    judged, _ = mt_bench(tmp_path / "mt")
    alone = tmp_path / "alone" / "deep" / judged.name
    alone.parent.mkdir(parents=True)
    alone.write_text(judged.read_text())
    report = imported("mt-bench", tmp_path / "votes", alone)
    assert any("no question.jsonl beside it" in note for note in report["notes"])
    assert read_folder(tmp_path / "votes").votes[0].item.instruction == "MT-Bench question 81, turn 1"


def annotation(item: int, **changes: object) -> dict[str, Any]:
    row = {
        "instruction": f"Do {item}.", "output_1": f"old {item}", "generator_1": "oak", "output_2": f"new {item}",
        "generator_2": "larch", "annotator": "judge", "preference": 2,
    }  # fmt: skip
    return row | changes


def test_rows_that_cannot_be_read_are_listed_and_the_others_count(tmp_path: Path) -> None:
    rows = [
        annotation(0), annotation(1, preference=7), annotation(2, preference="maybe"), annotation(3, generator_2=None),
        annotation(4, output_1=None), annotation(5, preference=None), annotation(6, generator_1="larch"),
        annotation(7, preference=1),
    ]  # fmt: skip
    path = lines(tmp_path / "annotations.jsonl", rows)
    path.write_text(path.read_text() + "{broken\n")
    report = imported("alpaca-eval", tmp_path / "votes", path)
    (pair,) = report["tally"]["pairs"]
    # A row without a preference is a vote that nobody can read; it is kept, and in no rate.
    assert [pair[key] for key in ("wins", "losses", "ties", "unparsable")] == [1, 1, 0, 1]
    assert len(report["unreadable"]) == 6
    for number, what in [(2, "preference 7"), (3, "'maybe'"), (4, "generator_2"), (5, "output_1"), (7, "with itself")]:
        assert any(what in line and str(number) in line for line in report["unreadable"]), (number, what)
    assert any(f"{path}:9: is not JSON" in line for line in report["unreadable"])
    assert "6 rows could not be read and are in no number" in report["printed"]


def test_a_row_that_no_file_can_hold_costs_that_row_alone(tmp_path: Path) -> None:
    rows = [
        annotation(0), annotation(1, output_2="half \ud83d"), annotation(2, generator_2="n" * 300),
        annotation(3, annotator="\udc00"),
    ]  # fmt: skip
    twice = json.dumps(annotation(4))[:-1] + ', "preference": 1}\n'
    path = lines(tmp_path / "annotations.jsonl", rows)
    path.write_text(path.read_text() + twice)
    report = imported("alpaca-eval", tmp_path / "votes", path)
    assert report["tally"]["votes"] == 1
    told = ["half a surrogate pair", "300 characters, too long", "half a surrogate pair", "two values for 'preference'"]
    for number, (line, what) in enumerate(zip(report["unreadable"], told, strict=True), start=2):
        assert line.startswith(f"{path}:{number}: "), line
        assert what in line
    # Nothing of the others is kept, neither models nor items.
    stored = read_folder(tmp_path / "votes")
    assert (set(stored.outputs), len(stored.items)) == ({"oak", "larch"}, 1)


def test_a_conversation_that_is_none_costs_its_row_alone(tmp_path: Path) -> None:
    turns = [{"role": "user", "content": "Ask."}, {"role": "assistant", "content": "Said."}]
    row = {"question_id": 1, "model_a": "larch", "model_b": "oak", "winner": "model_a", "judge": "p", "turn": 1}
    rows = [{**row, "conversation_a": turns, "conversation_b": other} for other in (turns, ["Ask.", "Said."])]
    report = imported("mt-bench", tmp_path / "votes", lines(tmp_path / "votes.jsonl", rows))
    assert report["tally"]["votes"] == 1
    (line,) = report["unreadable"]
    assert "votes.jsonl:2: has something other than turns" in line
    assert "conversation_b" in line


def test_items_that_do_not_match_are_one_line_each_and_no_vote_is_lost(tmp_path: Path) -> None:
    larch = [annotation(item) for item in range(6)]
    other = {"generator_2": "maple", "output_2": "maple says"}
    maple = [annotation(item, **other) for item in (4, 3, 2, 1, 0, 5)]
    rowan = [annotation(item, **(other | {"generator_2": "rowan"})) for item in (0, 1, 9)]
    twice = annotation(0, preference=1, output_2="other words")
    empty = annotation(1, generator_2="willow", output_2="")
    rows = [*larch, *maple, *rowan, twice, empty]
    report = imported("alpaca-eval", tmp_path / "votes", lines(tmp_path / "annotations.jsonl", rows))
    notes = "\n".join(report["notes"])
    assert "1 pairs were judged again by the same voter" in notes
    assert "rowan was judged on 3 of 7 items; it lacks 4, the first is 'Do 2.'" in notes
    assert "larch was judged on 6 of 7 items; it lacks 1, the first is 'Do 9.'" in notes
    assert "larch has more than one answer to 1 items" in notes
    assert "willow has no text as its answer to 1 items" in notes
    stored = read_folder(tmp_path / "votes")
    assert len(stored.votes) == len(rows) == report["tally"]["votes"]
    pair = next(each for each in report["tally"]["pairs"] if each["candidate"] == "larch")
    assert (pair["wins"], pair["losses"]) == (5, 1)


@pytest.mark.parametrize(
    ("content", "source", "line"),
    [
        ('{"question_id": 81, "model": "larch", "judge": "j", "score": 7}\n', "mt-bench", "a score of one answer"),
        (
            '{"instruction": "a", "output": "b", "generator": "larch"}\n',
            "alpaca-eval",
            "answers of 1 model and no vote",
        ),
        ("[]", "alpaca-eval", "holds no vote"),
        ("not a spreadsheet", "tulu", "spreadsheet"),
    ],
)
def test_what_holds_no_vote_is_one_line(tmp_path: Path, content: str, source: str, line: str) -> None:
    path = tmp_path / ("votes.xlsx" if source == "tulu" else "votes.jsonl")
    path.write_text(content)
    _, refusal = run("import", path, "--format", source, "--out", tmp_path / "out")
    assert line in refusal
    assert not (tmp_path / "out").exists()


def test_files_of_one_name_are_kept_apart_and_a_folder_is_one_line(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    for model in ("oak", "elm"):
        path = lines(tmp_path / "results" / model / "judge" / "annotations.json", [annotation(n) for n in range(3)])
        assert run("import", path, "--format", "alpaca-eval")[1] == ""
    assert sorted(path.name for path in (tmp_path / "runs").iterdir()) == ["ballots-elm-judge", "ballots-oak-judge"]
    _, refusal = run("import", path.parent, "--format", "alpaca-eval")
    assert refusal == f"{path.parent}: is a folder; expected the AlpacaEval records as a file. Give a file in it."


def test_graded_votes_have_a_mean_preference_besides_and_ties_the_interval_of_evaluate(tmp_path: Path) -> None:
    path = lines(tmp_path / "votes.jsonl", [annotation(n) | {"preference": 1.9 if n < 3 else 1.0} for n in range(10)])
    report = imported("alpaca-eval", tmp_path / "graded", path)
    (pair,) = report["tally"]["pairs"]
    assert (pair["wins"], pair["losses"], pair["win_rate"]) == (3, 7, 0.3)
    assert pair["weighted_win_rate"] == pytest.approx(0.27)
    assert "win rate, ties half  30.00%" in report["printed"]
    assert "mean preference, which AlpacaEval calls win rate  27.00%" in report["printed"]
    path = lines(tmp_path / "ties.jsonl", [annotation(n) | {"preference": 1.5} for n in range(24)])
    (pair,) = imported("alpaca-eval", tmp_path / "ties", path)["tally"]["pairs"]
    assert pair["interval"] == list(win_rate(0, 0, 24).interval)


def test_a_folder_is_taken_once_and_a_stopped_import_begins_anew(tmp_path: Path) -> None:
    path = lines(tmp_path / "annotations.jsonl", [annotation(item) for item in range(3)])
    imported("alpaca-eval", tmp_path / "out", path)
    _, refusal = run("import", path, "--format", "alpaca-eval", "--out", tmp_path / "out")
    assert "is there already" in refusal
    (tmp_path / "out" / "imported.json").unlink()
    (tmp_path / "out" / ".items.jsonl.77.partial").write_text("cut")
    assert imported("alpaca-eval", tmp_path / "out", path)["tally"]["votes"] == 3
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "mine.txt").write_text("mine")
    _, refusal = run("import", path, "--format", "alpaca-eval", "--out", tmp_path / "other")
    assert "is there already" in refusal


def sqlite_without_votes(folder: Path) -> None:
    with closing(sqlite3.connect(folder / "ballots.sqlite")) as connection, connection:
        connection.execute("delete from votes where rowid = 1")


@pytest.mark.parametrize(
    ("spoil", "line"),
    [
        (lambda folder: (folder / "ballots.sqlite").unlink(), "no such file; expected the 3 votes"),
        (sqlite_without_votes, "holds 2 of the 3 votes"),
        (lambda folder: lines(folder / "answers" / "larch.jsonl", [{"item": 5}]), "not an answer as pacos writes it"),
        (lambda folder: lines(folder / "answers" / "larch.jsonl", []), "holds 0 of the 3 votes"),
        (lambda folder: (folder / "imported.json").write_text("{}"), "not as `pacos ballots import` left"),
    ],
)
def test_imported_votes_that_are_not_all_there_are_not_given_out(tmp_path: Path, spoil: Any, line: str) -> None:
    path = lines(tmp_path / "annotations.jsonl", [annotation(item) for item in range(3)])
    imported("alpaca-eval", tmp_path / "votes", path)
    spoil(tmp_path / "votes")
    _, refusal = run("export", tmp_path / "votes", "--format", "alpaca-eval", "--out", tmp_path / "out")
    assert line in refusal
    assert not (tmp_path / "out").exists()


NAMES = ["larch", "a/b", "ü ß", "..", "100%25"]
GRADES = st.one_of(st.none(), st.floats(1, 2, exclude_min=True, exclude_max=True).filter(lambda x: x != 1.5))


@st.composite
def readings(draw: st.DrawFn) -> Reading:
    """Votes of several voters on several models' pairs, plain, graded and unreadable, in one order or both."""
    rng = random.Random(draw(st.integers(0, 2**32)))
    reading = Reading()
    for record in range(1, draw(st.integers(1, 12))):
        item = make_item("main", "", f"Do {rng.randrange(4)}.", draw(st.sampled_from(["", "given"])), "")
        a, b = rng.sample(NAMES, 2)
        voter = draw(st.sampled_from(["judge", "some/one"]))
        known = draw(st.booleans())
        orders = [(a, b), (b, a)] if draw(st.booleans()) else [(a, b)]
        for model_a, model_b in orders:
            choice, grade = draw(st.sampled_from(["A", "B", "tie", "unparsable"])), draw(GRADES)
            if grade is not None:
                choice = "A" if grade < 1.5 else "B"
            reading.add(
                NamedVote(
                    item, voter, model_a, model_b, f"of {model_a}", f"of {model_b}", choice, grade,
                    is_order_known=known or len(orders) == 2, record=record,
                )
            )  # fmt: skip
    return reading


@settings(max_examples=60, deadline=None)
@given(readings())
def test_store_and_alpaca_evals_files_keep_every_vote(
    tmp_path_factory: pytest.TempPathFactory, reading: Reading
) -> None:
    folder = tmp_path_factory.mktemp("votes")
    write_folder(reading, folder / "stored")
    (folder / "stored" / "imported.json").write_text(json.dumps({"tally": {"votes": len(reading.votes)}}))
    if reading.votes:
        stored = read_folder(folder / "stored")
        assert stored.votes == reading.votes
    write_alpaca_eval(reading, folder / "out")
    again = Reading()
    for path in sorted((folder / "out").rglob("annotations.json")):
        read_alpaca_eval(path, again)
    assert again.unreadable == []
    assert votes(again) == votes(reading)
