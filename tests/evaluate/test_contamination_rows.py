"""Contamination that was planted is found, set by set, in what was trained on alone; bad sets are one line."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from pacos.core.errors import PacosError
from pacos.core.recipe import Recipe
from pacos.evaluate.multiple_choice import read_questions
from pacos.evaluate.report import Contaminated, EvaluateReport
from tests.evaluate.conftest import Engines, judge_fairly

MakeRecipe = Callable[..., Recipe]
EvaluateIn = Callable[[Recipe], EvaluateReport]
PASSAGE = "one two three four five six seven eight nine ten eleven twelve thirteen fourteen"
ANSWER = "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi omicron"


@pytest.fixture
def rows(
    recipe_for: MakeRecipe, evaluate_in: EvaluateIn, engines: type[Engines], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Callable[..., dict[str, Contaminated]]:  # fmt: skip
    engines(lambda prompt: "a", lambda prompt: "b", judge_fairly).install(monkeypatch)

    def go(training: list[dict[str, str]], questions: list[dict[str, str]], *keys: str) -> dict[str, Contaminated]:
        (tmp_path / "training.json").write_text(json.dumps(training))
        (tmp_path / "questions.json").write_text(json.dumps(questions))
        report = evaluate_in(
            recipe_for(
                f"train.dataset={tmp_path}/training.json", f"evaluate.instructions={tmp_path}/questions.json", *keys
            )
        )
        return {row.evaluation.removeprefix(f"{tmp_path}/"): row for row in report.contamination}

    return go


def example(instruction: str, output: str = "x") -> dict[str, str]:
    return {"instruction": instruction, "input": "", "output": output}


def test_what_was_planted_is_counted_question_by_question(
    rows: Callable[..., dict[str, Contaminated]], tmp_path: Path
) -> None:
    training = [
        example("Name the largest city of the land."),
        example("Tell a story.", f"It began with {PASSAGE} and so on."),
        # One that gives away two questions.
        example("Which planet of the solar system is nearest to the sun?", ANSWER),
        *(example(f"Filler {n}: {'words ' * n}") for n in range(5)),
    ]
    questions = [
        example("Name the largest city of the land!", "An answer of its own"),
        example(f"Go on: {PASSAGE}", ANSWER),
        example(f"Count: {PASSAGE}", "another"),
        # Near to a training question as a whole, and yet no question.
        example("A question that nobody has put before.", "Name the largest city of the land."),
    ]
    (tmp_path / "text.txt").write_text("Name the largest city of the land.")
    found = rows(
        training, questions, "evaluate.multiple_choice=builtin", f'evaluate.perplexity=["{tmp_path}/text.txt"]'
    )
    asked = found["questions.json"]
    assert (asked.items, asked.near, asked.overlap, asked.given_away, asked.examples) == (4, 1, 2, 3, 8)
    assert asked.first == "Name the largest city of the land!"
    answers = found["questions.json: answers"]
    assert (answers.items, answers.near, answers.overlap, answers.given_away) == (4, 0, 1, 1)
    assert (found["text.txt"].items, found["text.txt"].near, found["text.txt"].given_away) == (1, 0, 0)
    choices = found["multiple choice: builtin"]
    assert (choices.items, choices.given_away) == (120, 1)
    assert choices.training.endswith("training.json")


def test_what_was_not_trained_on_gives_nothing_away(rows: Callable[..., dict[str, Contaminated]]) -> None:
    training = [example(f"Filler {n}: {'words ' * (n % 9)}{n}") for n in range(120)]
    training[110] = example("Name the largest city of the land.")
    questions = [example("Name the largest city of the land.")]
    found = rows(training, questions, "train.max_examples=100")
    assert (found["questions.json"].examples, found["questions.json"].given_away) == (100, 0)


def test_the_questions_that_come_along_are_sound() -> None:
    questions = read_questions("builtin")
    assert len(questions) == 120
    assert [sum(q.answer == place for q in questions) for place in range(4)] == [30] * 4
    assert len({q.question for q in questions}) == 120
    assert {q.topic for q in questions} == {"knowledge", "language", "arithmetic", "common sense", "reading"}
    # No rule as simple as "the longest" or "the shortest" knows the answers.
    for extreme in (max, min):
        alone = [
            len(q.choices[q.answer]) == extreme(map(len, q.choices))
            and sum(len(c) == len(q.choices[q.answer]) for c in q.choices) == 1
            for q in questions
        ]
        assert sum(alone) <= 36


@pytest.mark.parametrize(
    ("content", "line"),
    [
        ('{"question": "Which?", "choices": ["a"], "answer": 0}', ":2: expected an object with question"),
        ('{"question": "Which?", "choices": ["a", "a"], "answer": 0}', "expected an object with question"),
        ('{"question": "Which?", "choices": ["a", "b"], "answer": 2}', "place of the right one"),
        ('{"question": "Which?", "choices": ["a", "b"], "answer": "a"}', "place of the right one"),
        ('{"question": "Which?", "choices": ["b", "a"], "answer": 1}', "twice with different right answers .'b', 'a'"),
        ('{"question": " ", "choices": ["a", "b"], "answer": 0}', "expected an object with question"),
    ],
)
def test_bad_questions_are_one_line_before_anything_is_asked(
    rows: Callable[..., dict[str, Contaminated]], tmp_path: Path, content: str, line: str
) -> None:
    good = '{"question": "Which?", "choices": ["a", "b"], "answer": 1}'
    (tmp_path / "choices.jsonl").write_text(f"{good}\n{content}\n")
    with pytest.raises(PacosError, match=line):
        rows([example("Say.")], [example("Say it.")], f"evaluate.multiple_choice={tmp_path}/choices.jsonl")


@pytest.mark.parametrize(
    ("key", "line"),
    [
        ('evaluate.perplexity=["EMPTY"]', "the file is empty"),
        ('evaluate.perplexity=["nowhere.txt"]', r"nowhere\.txt: no such file"),
        ("evaluate.multiple_choice=nowhere.jsonl", r"nowhere\.jsonl: no such file"),
        ("evaluate.memorisation=-1", "memorisation"),
    ],
)
def test_sets_that_are_not_there_are_one_line(
    rows: Callable[..., dict[str, Contaminated]], tmp_path: Path, key: str, line: str
) -> None:
    (tmp_path / "empty.txt").write_text(" \n")
    with pytest.raises(PacosError, match=line):
        rows([example("Say.")], [example("Say it.")], key.replace("EMPTY", f"{tmp_path}/empty.txt"))
