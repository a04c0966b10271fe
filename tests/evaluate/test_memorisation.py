"""Memorisation: a student that was overfitted on purpose repeats its data, and its base and held-out data do not."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from pacos.core.recipe import Recipe, load
from pacos.core.run_folder import RunFolder
from pacos.evaluate.memorisation import longest_run
from pacos.evaluate.report import EvaluateReport
from pacos.evaluate.run import run as evaluate
from pacos.train.run import run as train

WORDS = ("quick", "brown", "fox", "lazy", "dog", "reads", "response", "jumps")


@pytest.fixture(scope="module")
def overfitted(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """A run whose student has seen eight examples until it knew them by heart, and the overrides of its recipe."""
    folder = tmp_path_factory.mktemp("overfitted")
    rows = [
        {"instruction": f"Say {word}.", "input": "", "output": f"the {word} and the {WORDS[n - 3]} {n} over {word}"}
        for n, word in enumerate(WORDS)
    ]
    # Beyond the eight, records that are held back: there have to be a hundred in all.
    rows += [
        {"instruction": f"Say number {n}.", "input": "", "output": f"dog {n} fox {n * 7} it is"} for n in range(100)
    ]
    (folder / "data.json").write_text(json.dumps(rows))
    (folder / "recipe.toml").write_text("# nothing but overrides\n")
    overrides = [
        f"train.base={tiny_model}", f"train.dataset={folder}/data.json", "train.max_examples=8", "train.batch_size=8",
        "train.num_epochs=400", "train.learning_rate=5e-3", "train.precision=fp32",
    ]  # fmt: skip
    recipe = load(folder / "recipe.toml", overrides)
    with RunFolder(folder / "run", recipe) as run_folder:
        train(recipe, run_folder)
    return folder, overrides


@pytest.fixture
def measured(overfitted: tuple[Path, list[str]], tmp_path: Path) -> Callable[..., EvaluateReport]:
    """Evaluates the overfitted student anew."""

    def go(*overrides: str) -> EvaluateReport:
        folder, own = overfitted
        (tmp_path / "run").mkdir()
        (tmp_path / "run" / "train").symlink_to(folder / "run" / "train")
        recipe: Recipe = load(
            folder / "recipe.toml", [*own, "evaluate.items_per_skill=1", "evaluate.max_tokens=4", *overrides]
        )
        with RunFolder(tmp_path / "run", recipe) as run_folder:
            return evaluate(recipe, run_folder)

    return go


def test_what_was_learnt_by_heart_is_found_and_the_controls_are_clean(
    measured: Callable[..., EvaluateReport], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "160")
    report = measured("evaluate.memorisation=20", 'evaluate.perplexity=["held-out"]')
    by_kind = {(each.examples, each.prompt): each for each in report.memorisation}
    assert set(by_kind) == {(e, p) for e in ("trained", "held-out") for p in ("instruction", "half output")}
    for prompt, words in (("instruction", 8), ("half output", 4)):
        trained, held_out = by_kind["trained", prompt], by_kind["held-out", prompt]
        assert trained.exact.values == {"base": 0.0, "student": 1.0}
        assert trained.exact.items == 8
        assert trained.exact.gains == {"student": 1.0}
        assert trained.exact.intervals["student"] == pytest.approx((0.6756, 1.0), abs=1e-4)
        assert trained.longest_run.values["student"] == words
        assert trained.longest_run.values["base"] < 1
        assert held_out.exact.values == {"base": 0.0, "student": 0.0}
        assert held_out.exact.items == 20
    # It knows its own examples, and foretells others the worse.
    (text,) = report.perplexity
    assert text.text == "held-out examples"
    assert text.bits_per_byte.items == 100
    assert text.bytes == sum(len(f"dog {n} fox {n * 7} it is") for n in range(100))
    assert text.bits_per_byte.gains["student"] > 0
    assert "repeated whole, trained by instruction" in capsys.readouterr().out


def test_a_choice_that_was_learnt_is_the_likeliest(measured: Callable[..., EvaluateReport], tmp_path: Path) -> None:
    rows = []
    for n, word in enumerate(WORDS):
        choices = [f"the {other} and the {WORDS[m - 3]} {m} over {other}" for m, other in enumerate(WORDS)]
        rows.append(
            {"question": f"Say {word}.", "choices": choices, "answer": n, "topic": "first" if n < 2 else "rest"}
        )
    (tmp_path / "learnt.jsonl").write_text("\n".join(map(json.dumps, rows)))
    choices = measured(f"evaluate.multiple_choice={tmp_path}/learnt.jsonl").multiple_choice
    assert choices is not None
    assert choices.acc.values["student"] == choices.acc_norm.values["student"] == 1.0
    assert choices.acc.values["base"] < 0.6
    assert choices.acc.intervals["student"] == pytest.approx((0.6756, 1.0), abs=1e-4)
    assert choices.topic_items == {"first": 2, "rest": 6}
    assert choices.by_topic["rest"]["student"] == 1.0
    assert choices.chance == 1 / 8


def test_the_longest_run_is_of_words_in_a_row() -> None:
    assert longest_run("abcde", "xbcyde") == 2
    assert longest_run("ab", []) == 0
    assert longest_run("aaa", "aa") == 2
