"""Two models that exist already, as files of answers: no data, no student, and no sentence that says too much."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from pacos.cli.main import app
from pacos.core.recipe import Recipe
from pacos.evaluate.report import EvaluateReport, read

WORDS = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"]
Rows = list[dict[str, str]]


def rows(output: Callable[[int], str], num: int = 40, **more: str) -> Rows:
    return [{"instruction": f"Say number {n}.", "output": output(n), **more} for n in range(num)]


def answer(n: int) -> str:
    return " ".join([*WORDS[n % 7 :], str(n)]) + " and so on to the very end"


OTHER = rows(lambda n: f"Something else {n}.", generator="other")


@pytest.fixture
def evaluate(tmp_path: Path, tiny_model: Path) -> Callable[..., str]:
    """`pacos evaluate` of files with these rows: what it said, whether or not it went well."""

    def go(asked: Rows, candidate: Rows, *keys: str, baseline: Rows = OTHER) -> str:
        files = {"asked": asked, "candidate": candidate, "baseline": baseline}
        for name, content in files.items():
            (tmp_path / f"{name}.json").write_text(json.dumps(content))
        (tmp_path / "recipe.toml").write_text(
            f"[evaluate]\ninstructions = {str(tmp_path / 'asked.json')!r}\n"
            f"candidates = [{str(tmp_path / 'candidate.json')!r}]\nbaseline = {str(tmp_path / 'baseline.json')!r}\n"
        )
        done = CliRunner().invoke(
            app, ["evaluate", str(tmp_path / "recipe.toml"), "--run", str(tmp_path / "run"), *keys]
        )
        assert done.exit_code in (0, 1), done.output
        return f"{done.output}{done.exception or ''}"

    return go


def page(tmp_path: Path) -> str:
    done = CliRunner().invoke(app, ["report", str(tmp_path / "run")])
    assert done.exit_code == 0, done.output
    html = (tmp_path / "run" / "report.html").read_text()
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", "", re.sub(r"<(style|script).*?</\1>", "", html, flags=re.DOTALL)))


def test_the_rule_based_judge_is_refused_where_no_item_has_a_reference(
    evaluate: Callable[..., str], tmp_path: Path
) -> None:
    said = evaluate(rows(lambda n: ""), rows(answer, generator="mine"))
    assert "builtin:judge needs references" in said
    assert "40 items have none; name another judge in evaluate.judges" in said
    assert not (tmp_path / "run").exists()


def test_what_the_rule_based_judge_cannot_judge_is_no_tie(evaluate: Callable[..., str], tmp_path: Path) -> None:
    evaluate(rows(lambda n: answer(n) if n < 3 else ""), rows(lambda n: f"nothing {n}", generator="mine"))
    counted = read(tmp_path / "run" / "evaluate").pairwise
    assert counted.judged == 3
    assert counted.unparsable == 37
    assert "37 more had no readable verdict" in page(tmp_path)


def test_equivalence_is_not_quoted_from_a_judge_without_a_certificate(
    evaluate: Callable[..., str], tmp_path: Path
) -> None:
    num = 900
    same = rows(answer, num, generator="mine")
    evaluate(rows(lambda n: "a", num), same, baseline=rows(answer, num, generator="other"))
    assert read(tmp_path / "run" / "evaluate").pairwise.ties == num
    shown = page(tmp_path)
    assert "Nothing shows whether mine and other are on par, as builtin:judge is not certified" in shown
    assert "equivalence within 5 points is shown" not in shown
    assert "are on par within" not in shown


def test_answers_of_a_model_are_no_references(evaluate: Callable[..., str]) -> None:
    mine = rows(answer, generator="mine")
    said = evaluate(mine, mine)
    assert "answers of mine by its own word (generator), so they are not taken as references" in said
    assert "40 items have none" in said


def test_a_candidate_that_is_its_own_reference_is_flagged(evaluate: Callable[..., str], tmp_path: Path) -> None:
    said = evaluate(rows(lambda n: answer(n) if n else "another one"), rows(answer, generator="mine"))
    assert "mine: 100% of its answers are the references word for word" in said
    report = read(tmp_path / "run" / "evaluate")
    assert set(report.repeats_references) == {"mine"}
    assert report.rouge_l is not None
    assert set(report.rouge_l.absent) == {"mine"}
    assert "mine is its own reference" in page(tmp_path)


def test_right_short_answers_are_no_copies(evaluate: Callable[..., str], tmp_path: Path) -> None:
    evaluate(rows(str), rows(str, generator="mine"))
    assert read(tmp_path / "run" / "evaluate").repeats_references == {}


def test_neither_data_nor_a_student_are_needed(evaluate: Callable[..., str], tmp_path: Path) -> None:
    evaluate(rows(answer), rows(lambda n: answer(n)[:30], generator="mine"))
    report = read(tmp_path / "run" / "evaluate")
    assert report.contamination == []
    assert report.pairwise.wins == 40
    shown = page(tmp_path)
    assert "Contamination is not checked: no training data" in shown
    assert "this run compares models that exist already" in shown
    assert "pacos evaluate " in shown
    for false in ("Not finished", "is trained", "was trained", "never trained", "pacos run "):
        assert false not in shown
    assert " mine answers 0.0% of 40 items exactly where other answers 0.0%, and judged blind" in shown


def test_data_that_are_named_are_looked_into_and_one_example_is_one(
    evaluate: Callable[..., str], tmp_path: Path
) -> None:
    given = [{"instruction": "Say number 7.", "input": "", "output": "seven"}]
    (tmp_path / "data.json").write_text(json.dumps(given))
    evaluate(rows(answer), rows(lambda n: answer(n)[:30], generator="mine"), f"train.dataset={tmp_path}/data.json")
    report = read(tmp_path / "run" / "evaluate")
    assert report.contamination[0].given_away
    shown = page(tmp_path)
    assert f"of which the training data give away {report.contamination[0].given_away}" in shown
    assert "1 example" in shown
    assert "1 examples" not in shown
    assert "was trained on" not in shown
    assert "never trained" not in shown


def test_what_looks_into_training_data_still_asks_for_them(evaluate: Callable[..., str]) -> None:
    assert "the generate stage is not finished" in evaluate(
        rows(answer), rows(answer, generator="mine"), "evaluate.memorisation=2"
    )


def test_a_student_still_needs_its_run(
    recipe_for: Callable[..., Recipe], evaluate_in: Callable[[Recipe], EvaluateReport], trained: Path, tmp_path: Path
) -> None:
    (tmp_path / "asked.json").write_text(json.dumps(rows(answer)))
    (trained / "generate" / "done.json").unlink()
    with pytest.raises(Exception, match="generate stage is not finished"):
        evaluate_in(recipe_for(f"evaluate.instructions={tmp_path}/asked.json"))
