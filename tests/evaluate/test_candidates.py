"""Who is compared: bad names are one line, any checkpoint may stand in."""

import json
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
    assert report.comparisons[report.candidates[1]].main.ties == report.items


def test_real_engines_end_to_end(recipe_for: Any, evaluate_in: Any, tmp_path: Path) -> None:
    """Nothing scripted: the local engine runs a checkpoint on both sides, and the builtin judge sees equal answers."""
    path = tmp_path / "items.json"
    path.write_text(json.dumps([{"instruction": f"Say {n}.", "input": "", "output": f"{n}"} for n in range(4)]))
    report = evaluate_in(recipe_for(f"evaluate.instructions={path}"))
    assert report.exact_match["student"] == report.exact_match["base"]
    assert report.pairwise.ties == report.items
    assert report.pairwise.conflicts == 0
    assert report.judges == ["builtin:judge"]


def test_a_corrected_recipe_is_not_refused(
    recipe_for: Any, evaluate_in: Any, engines: Any, fair_judge: Any, monkeypatch: Any
) -> None:
    """A wrong file name must leave nothing behind that the right one would then differ from."""
    with pytest.raises(PacosError, match="no such file"):
        evaluate_in(recipe_for("evaluate.instructions=nowhere.json"))
    engines(lambda prompt: "x", lambda prompt: "y", fair_judge).install(monkeypatch)
    assert evaluate_in(recipe_for("evaluate.items_per_skill=1")).items
