"""AlpacaEval's published win rates and standard errors, recomputed from its published judgments."""

import csv
import gzip
import json
from pathlib import Path

import pytest

from pacos.statistics import equivalence_test, preference_win_rate, slot_effect_estimate, win_rate


@pytest.mark.parametrize("model", ["alpaca-7b", "vicuna-7b", "NullModel"])
def test_alpaca_eval_2(shared_data: Path, model: str) -> None:
    _check(shared_data, model, "weighted_alpaca_eval_gpt4_turbo", "data_AlpacaEval_2")


@pytest.mark.parametrize("model", ["alpaca-7b", "alpaca-farm-ppo-human"])
def test_alpaca_eval_1(shared_data: Path, model: str) -> None:
    _check(shared_data, model, "alpaca_eval_gpt4", "data_AlpacaEval")


def _check(data: Path, model: str, judge: str, board: str) -> None:
    folder = data / "alpaca_eval"
    judgments = json.loads((folder / "results" / model / judge / "annotations.json").read_text())
    published = _published(folder / "leaderboards" / board / f"{judge}_leaderboard.csv", model)
    found = preference_win_rate([judgment["preference"] for judgment in judgments])
    assert found.count == int(float(published["n_total"]))
    assert 100 * found.rate == pytest.approx(float(published["win_rate"]), abs=1e-6)
    assert 100 * found.standard_error == pytest.approx(float(published["standard_error"]), abs=1e-6)


def _published(leaderboard: Path, model: str) -> dict[str, str]:
    with open(leaderboard, newline="") as file:
        return next(row for row in csv.DictReader(file) if row[""] == model)


def test_gpt_4_does_not_find_alpaca_on_par_on_the_announcements_instructions(shared_data: Path) -> None:
    judged = shared_data / "alpaca_eval" / "results" / "alpaca-7b" / "alpaca_eval_gpt4" / "annotations.json"
    rows = [row for row in json.loads(judged.read_text()) if row["dataset"] == "selfinstruct"]
    wins, losses = (sum(row["preference"] == chosen for row in rows) for chosen in (2, 1))
    assert (wins, losses, len(rows)) == (63, 181, 252)
    assert not equivalence_test(wins, losses, 252 - wins - losses, margin=0.1).equivalent
    assert [round(100 * end, 1) for end in win_rate(wins, losses, 8).interval] == [21.6, 32.2]


def test_models_shown_first_lose_about_eight_points(shared_data: Path) -> None:
    """AlpacaEval 2 shows each instruction's pair in one order only."""
    derived = shared_data / "alpaca_eval" / "derived"
    with open(derived / "instructions_gamma_order.csv", newline="") as file:
        first = [row["model_shown_first"] == "1" for row in csv.DictReader(file)]
    with gzip.open(derived / "ae2_preference_matrix.csv.gz", "rt") as file:
        rows = list(csv.DictReader(file))
    effects = {}
    for model in set(rows[0]) - {"index", "gpt4_1106_preview"}:
        kept = [(float(row[model]) - 1, order) for row, order in zip(rows, first, strict=True) if row[model]]
        votes, orders = zip(*kept, strict=True)
        effects[model] = slot_effect_estimate(votes, orders, range(len(votes)))
    assert all(effect.value < 0 for effect in effects.values())
    assert sum(effect.value for effect in effects.values()) / len(effects) == pytest.approx(-0.082, abs=0.01)


def test_draws_and_gaps() -> None:
    found = preference_win_rate([1, 2, 0, 1.5, None, float("nan")])
    assert (found.rate, found.count) == (0.5, 4)
    for bad in ([], [2.5], [None]):
        with pytest.raises(ValueError):
            preference_win_rate(bad)
