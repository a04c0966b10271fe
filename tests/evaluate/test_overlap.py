"""ROUGE-L without a judge: against a file's own answers or another file's, of base and student on the same items."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from pacos.core.errors import PacosError
from pacos.core.recipe import Recipe
from pacos.engines.local.tokenizer import load_tokenizer
from pacos.evaluate.items import file_items
from pacos.evaluate.overlap import measure_overlap, references_of
from pacos.evaluate.report import EvaluateReport, read
from tests.evaluate.conftest import Engines, judge_fairly

MakeRecipe = Callable[..., Recipe]
EvaluateIn = Callable[[Recipe], EvaluateReport]


@pytest.fixture
def questions(tmp_path: Path) -> Path:
    path = tmp_path / "questions.json"
    rows = [{"instruction": f"Say number {n}.", "input": "", "output": "one two three four"} for n in range(8)]
    path.write_text(json.dumps(rows))
    return path


def test_answers_are_held_against_the_references_and_cut_where_asked(
    recipe_for: MakeRecipe, evaluate_in: EvaluateIn, engines: type[Engines], questions: Path, trained: Path,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setenv("COLUMNS", "120")
    scripted = engines(lambda prompt: "one two", lambda prompt: "four", judge_fairly).install(monkeypatch)
    report = evaluate_in(recipe_for(f"evaluate.instructions={questions}", "evaluate.max_tokens=9"))
    assert report.rouge_l is not None
    assert report.rouge_l.items == 8
    assert report.rouge_l.means == pytest.approx({"base": 0.4, "student": 2 / 3})
    assert report.rouge_l.gains == pytest.approx({"student": 2 / 3 - 0.4})
    assert report.rouge_l.gain_intervals["student"] == pytest.approx((2 / 3 - 0.4, 2 / 3 - 0.4))
    assert {request.sampling.max_tokens for request in scripted.asked("student") + scripted.asked("base")} == {9}
    assert read(trained / "evaluate") == report
    said = capsys.readouterr().out
    assert "0.667 (0.667 to 0.667)" in said
    assert "+0.267 (0.267 to 0.267)" in said


def test_a_checkpoint_has_room_for_twice_the_longest_answer_and_one_failure_is_shown(
    recipe_for: MakeRecipe, evaluate_in: EvaluateIn, engines: type[Engines], tmp_path: Path, tiny_model: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    longest = "one two three four five six seven " * 9
    rows = [{"instruction": f"Say number {n}.", "input": "", "output": longest if n else "ten"} for n in range(20)]
    (tmp_path / "long.json").write_text(json.dumps(rows))
    student = lambda prompt: "no" if "number 7." in prompt else "ten" if "number 0." in prompt else longest  # noqa: E731
    scripted = engines(student, lambda prompt: "x", judge_fairly).install(monkeypatch)
    report = evaluate_in(recipe_for(f"evaluate.instructions={tmp_path}/long.json"))
    num_tokens = len(load_tokenizer(str(tiny_model))(longest, add_special_tokens=False)["input_ids"])
    assert num_tokens > 32
    assert {request.sampling.max_tokens for request in scripted.asked("student")} == {2 * num_tokens}
    # Of twenty one is wrong, which rounds to none of five.
    assert [example["right"] for example in report.examples].count(False) == 1


@pytest.mark.parametrize("form", ["lines", "list"])
def test_published_predictions_stand_in_the_place_of_the_files_own_answers(
    recipe_for: MakeRecipe, evaluate_in: EvaluateIn, engines: type[Engines], questions: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, form: str,
) -> None:  # fmt: skip
    # What a file is, is told by what it holds.
    path = tmp_path / "predictions"
    rows = [{"instruction": f"Say number {n}.\n", "input": "", "response": f" five {n}"} for n in (0, 1, 2, 77)]
    # What is empty answers nothing, and contradicts nothing.
    rows += [{"instruction": f"Say number {n}.", "input": "", "response": " \n"} for n in (3, 2)]
    path.write_text("\n".join(map(json.dumps, rows)) if form == "lines" else json.dumps(rows))
    engines(lambda prompt: "five 0", lambda prompt: "six", judge_fairly).install(monkeypatch)
    keys = [f"evaluate.instructions={questions}", f"evaluate.references={path}"]
    measured = evaluate_in(recipe_for(*keys)).rouge_l
    assert measured is not None
    assert (measured.items, measured.means) == (3, {"base": 0.0, "student": pytest.approx(2 / 3)})
    low, high = measured.intervals["student"]
    assert 0.5 <= low < 2 / 3 < high <= 1


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('{"instruction": "Another.", "input": "", "response": "x"}', "answers none of the 8 items"),
        ('{"instruction": "Say number 1.", "input": "", "response": 3}', r"wrong\.jsonl: record 1 expected an object"),
    ],
)
def test_references_that_do_not_fit_are_one_line_before_anything_is_asked(
    recipe_for: MakeRecipe, evaluate_in: EvaluateIn, engines: type[Engines], questions: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, line: str, said: str,
) -> None:  # fmt: skip
    (tmp_path / "wrong.jsonl").write_text(line + "\n")
    scripted = engines(lambda prompt: "a", lambda prompt: "b", judge_fairly).install(monkeypatch)
    with pytest.raises(PacosError, match=said):
        evaluate_in(recipe_for(f"evaluate.instructions={questions}", f"evaluate.references={tmp_path}/wrong.jsonl"))
    assert not scripted.opened


def test_builtin_tasks_have_exact_match_instead(
    recipe_for: MakeRecipe, evaluate_in: EvaluateIn, engines: type[Engines], monkeypatch: pytest.MonkeyPatch
) -> None:
    engines(lambda prompt: "a", lambda prompt: "b", judge_fairly).install(monkeypatch)
    assert evaluate_in(recipe_for("evaluate.items_per_skill=1")).rouge_l is None


def test_every_question_of_the_published_set_has_a_published_answer(shared_data: Path) -> None:
    folder = shared_data / "self_instruct"
    items = file_items(folder / "user_oriented_instructions.jsonl")
    references = references_of(items, str(folder / "text-davinci-003_predictions.jsonl"))
    assert len(references) == 252
    assert measure_overlap({}, {}, "base", 0, {}) is None


def test_of_several_right_answers_the_nearest_counts(
    recipe_for: MakeRecipe, evaluate_in: EvaluateIn, engines: type[Engines], questions: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    rows = [
        {"instruction": "Say number 1.", "output": text} for text in ("one two three", "walking dogs", "walking dogs")
    ]
    (tmp_path / "several.json").write_text(json.dumps(rows))
    engines(lambda prompt: "walked dog", lambda prompt: "two", judge_fairly).install(monkeypatch)
    keys = [f"evaluate.instructions={questions}", f"evaluate.references={tmp_path}/several.json"]
    measured = evaluate_in(recipe_for(*keys)).rouge_l
    assert measured is not None
    assert (measured.items, measured.means) == (1, {"base": pytest.approx(0.5), "student": 1.0})
