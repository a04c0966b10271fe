"""A model that exists as a file of answers alone: joined by question, measured where it can be, refused in one line."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pacos.core.errors import PacosError
from pacos.core.recipe import Recipe
from pacos.evaluate.published_answers import read_published
from pacos.evaluate.report import EvaluateReport, read
from tests.evaluate.conftest import Engines, judge_fairly

MakeRecipe = Callable[..., Recipe]
EvaluateIn = Callable[[Recipe], EvaluateReport]
QUESTIONS = [{"instruction": f"Say number {n}.", "input": "loudly" * (n % 2), "output": f"{n}"} for n in range(6)]


def predictions(rows: list[dict[str, str]]) -> list[dict[str, str]]:
    """Self-Instruct's form."""
    return [
        {"prompt": "", "instruction": r["instruction"] + "\n", "input": r["input"], "response": " " + r["output"]}
        for r in rows
    ]


def outputs(rows: list[dict[str, str]], generator: str = "rival/one") -> list[dict[str, str]]:
    """AlpacaEval's form, whose instruction holds the input."""
    return [
        {"instruction": f"{r['instruction']}\n\n{r['input']}".strip(), "output": r["output"], "generator": generator}
        for r in rows
    ]


@pytest.fixture
def compare(
    recipe_for: MakeRecipe, evaluate_in: EvaluateIn, engines: type[Engines], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Callable[..., EvaluateReport]:  # fmt: skip
    """Evaluates the student and a file of these rows against the base; nobody but the file answers rightly."""
    scripted = engines(lambda prompt: "a", lambda prompt: "b", judge_fairly)

    def go(rows: list[Any], *overrides: str, name: str = "rival_predictions.jsonl") -> EvaluateReport:
        scripted.install(monkeypatch)
        (tmp_path / "questions.json").write_text(json.dumps(QUESTIONS))
        path = tmp_path / name
        path.write_text("\n".join(map(json.dumps, rows)) if name.endswith("l") else json.dumps(rows))
        return evaluate_in(
            recipe_for(
                f"evaluate.instructions={tmp_path}/questions.json",
                f'evaluate.candidates=["student", "{path}"]',
                *overrides,
            )
        )

    return go


@pytest.mark.parametrize("form", [predictions, outputs])
@pytest.mark.parametrize("order", [1, -1])
def test_answers_are_joined_by_question_in_whatever_order(
    compare: Callable[..., EvaluateReport], form: Any, order: int, trained: Path
) -> None:
    report = compare(form(QUESTIONS)[::order])
    label = "rival" if form is predictions else "rival-one"
    assert report.candidates == ["student", label]
    assert report.exact_match == {"base": 0.0, "student": 0.0, label: 1.0}
    assert report.comparisons[label].main.wins == 6
    assert report.rouge_l is not None
    assert report.rouge_l.means[label] == 1.0
    assert read(trained / "evaluate") == report
    answers = [json.loads(line) for line in (trained / f"evaluate/answers/{label}.jsonl").read_text().splitlines()]
    assert {each["finish_reason"] for each in answers} == {"published"}


def test_what_answers_alone_cannot_tell_is_absent_and_not_zero(
    compare: Callable[..., EvaluateReport],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "text.txt").write_text("the quick brown fox\n" * 200)
    report = compare(
        predictions(QUESTIONS), "evaluate.multiple_choice=builtin", f'evaluate.perplexity=["{tmp_path}/text.txt"]',
        "evaluate.memorisation=1",
    )  # fmt: skip
    assert report.multiple_choice is not None
    assert "rival" not in report.multiple_choice.acc.values
    assert set(report.multiple_choice.absent) >= {"rival"}
    assert "rival" not in report.perplexity[0].perplexity
    assert "rival" in report.perplexity[0].absent
    assert all("rival" not in each.exact.values and "rival" in each.absent for each in report.memorisation)


def test_an_answer_that_is_its_own_reference_scores_nothing(
    compare: Callable[..., EvaluateReport], tmp_path: Path
) -> None:
    report = compare(predictions(QUESTIONS), f"evaluate.references={tmp_path}/rival_predictions.jsonl")
    assert report.rouge_l is not None
    assert set(report.rouge_l.means) == {"base", "student"}
    assert report.rouge_l.absent == {"rival": "its answers are the references"}


def test_empty_answers_and_answers_to_other_questions_are_told(
    compare: Callable[..., EvaluateReport], capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [*QUESTIONS[:5], QUESTIONS[5] | {"output": " "}, {"instruction": "Another.", "input": "", "output": "x"}]
    report = compare(predictions(rows))
    assert report.empty_answers == {"base": 0, "student": 0, "rival": 1}
    assert report.exact_match["rival"] == pytest.approx(5 / 6)
    said = capsys.readouterr()
    assert "1 of 7 answers to other questions are left out" in said.err
    assert "1 of 7 answers are empty" in said.err
    assert "rival: 1 answers are empty" in said.out


@pytest.mark.parametrize(
    ("rows", "line"),
    [
        (predictions(QUESTIONS[1:]), r"lacks an answer to 1 of 6 items, the first is 'Say number 0\.'"),
        (predictions([{"instruction": "Another.", "input": "", "output": "x"}]), "answers none of the 6 items"),
        (
            predictions([*QUESTIONS, QUESTIONS[2] | {"output": "two"}]),
            r"answers 'Say number 2\.' twice and differently \('2', 'two'\)",
        ),
        ([*outputs(QUESTIONS[:3]), *outputs(QUESTIONS[3:], "two")], "answers of 2 models .'rival/one', 'two'."),
        ([*predictions(QUESTIONS), {"instruction": "Say.", "response": 7}], "record 7|line 7|:7: expected an object"),
        ([*predictions(QUESTIONS), "text"], "expected an object"),
        ([*outputs(QUESTIONS[:5]), outputs(QUESTIONS)[5] | {"output": "half \ud83d"}], "has half a surrogate pair"),
    ],
)
def test_answers_that_do_not_fit_are_one_line_before_anything_is_asked(
    compare: Callable[..., EvaluateReport], rows: list[Any], line: str, trained: Path
) -> None:
    with pytest.raises(PacosError, match=line) as refused:
        compare(rows)
    assert "\n" not in str(refused.value)
    assert not (trained / "evaluate" / "ledger.sqlite").exists()


def test_a_model_with_a_long_name_has_a_short_label(compare: Callable[..., EvaluateReport]) -> None:
    assert "n" * 150 in compare(outputs(QUESTIONS, "n" * 300)).candidates


def test_a_file_that_is_not_there_or_named_twice_is_one_line(
    recipe_for: MakeRecipe, evaluate_in: EvaluateIn, compare: Callable[..., EvaluateReport], tmp_path: Path
) -> None:
    with pytest.raises(PacosError, match=r"nowhere\.jsonl: no such file"):
        evaluate_in(recipe_for('evaluate.candidates=["nowhere.jsonl"]'))
    path = tmp_path / "rival_predictions.jsonl"
    with pytest.raises(PacosError, match="rival twice"):
        compare(predictions(QUESTIONS), f'evaluate.candidates=["{path}", "{path}"]')


def test_the_published_answers_of_the_252_are_read_in_both_forms(shared_data: Path) -> None:
    ours = read_published(shared_data / "self_instruct" / "text-davinci-003_predictions.jsonl")
    theirs = read_published(shared_data / "alpaca_eval" / "results" / "text_davinci_003" / "model_outputs.json")
    assert (ours.label, theirs.label) == ("text-davinci-003", "text_davinci_003")
    assert len(ours.texts) == 252
    assert len(theirs.texts) == 805
    assert ours.texts.keys() <= theirs.texts.keys()
