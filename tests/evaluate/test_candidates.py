"""Who is compared: bad names are one line, any checkpoint may stand in."""

from pathlib import Path
from typing import Any

import pytest

from pacos.core.errors import PacosError


@pytest.mark.parametrize(
    ("override", "line"),
    [
        ('evaluate.candidates=["base"]', "base twice"),
        ("evaluate.candidates=[]", "no candidate"),
        ('evaluate.candidates=["./nowhere"]', "nowhere: no such model folder"),
    ],
)
def test_bad_candidates(override: str, line: str, recipe_for: Any, evaluate_in: Any) -> None:
    with pytest.raises(PacosError, match=line):
        evaluate_in(recipe_for(override))


def test_an_untrained_run_has_no_student(recipe_for: Any, evaluate_in: Any, trained: Path) -> None:
    (trained / "train" / "done.json").unlink()
    with pytest.raises(PacosError, match="train stage is not finished"):
        evaluate_in(recipe_for())


def test_a_checkpoint_folder_is_a_candidate(
    recipe_for: Any, evaluate_in: Any, tiny_model: Path, engines: Any, fair_judge: Any, monkeypatch: Any
) -> None:
    engines(lambda prompt: "x", lambda prompt: "y", fair_judge).install(monkeypatch)
    report = evaluate_in(recipe_for("evaluate.items_per_skill=1", f'evaluate.candidates=["student", "{tiny_model}"]'))
    assert report.candidates[0] == "student"
    assert str(tiny_model).strip("/").replace("/", "-") == report.candidates[1]
    assert set(report.comparisons) == set(report.candidates)
    assert report.comparisons[report.candidates[1]]["main"]["ties"] == report.items
