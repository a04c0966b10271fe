"""`pacos leaderboard reproduce` gives the published tables, and the right numbers for folders it has never seen."""

import csv
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.special import expit
from typer.testing import CliRunner

from pacos.cli.main import app
from pacos.evaluate.leaderboard.length_control import fit_weights
from pacos.evaluate.leaderboard.published import GamedBaselines
from tests.evaluate.leaderboard_folders import (
    ITEMS,
    JUDGE,
    MODELS,
    Folder,
    Records,
    write_folder,
    write_length_control,
    write_table,
)

PUBLISHED = {
    1: "data_AlpacaEval/alpaca_eval_gpt4_leaderboard.csv",
    2: "data_AlpacaEval_2/weighted_alpaca_eval_gpt4_turbo_leaderboard.csv",
}
# The published weights are not those of the published rates.
OLD_WEIGHTS = {"NullModel", "dbrx-instruct"}


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return write_folder(tmp_path / "board")


def reproduced(folder: Path, tmp_path: Path) -> tuple[list[dict[str, Any]], str]:
    file = tmp_path / "rows.json"
    result = CliRunner().invoke(app, ["leaderboard", "reproduce", str(folder), "--json", str(file)])
    assert result.exit_code == 0, result.exception
    return json.loads(file.read_text()), result.output


def own_rate(path: Path) -> tuple[float, float]:
    records = json.loads(path.read_text())
    wins = np.array([r["preference"] - 1 for r in records if r["preference"] is not None])
    return 100 * wins.mean(), 100 * wins.std(ddof=1) / np.sqrt(len(wins))


def published_rows(data: Path, benchmark: int) -> dict[str, dict[str, str]]:
    with open(data / "leaderboards" / PUBLISHED[benchmark], newline="") as file:
        return {row.pop(""): row for row in csv.DictReader(file)}


def test_the_published_leaderboards(shared_data: Path, tmp_path: Path) -> None:
    data, file = shared_data / "alpaca_eval", tmp_path / "rows.json"
    start = time.perf_counter()
    script = (
        "import sys; from pacos.cli.main import app\n"
        f"app(['leaderboard', 'reproduce', {str(data)!r}, '--json', {str(file)!r}], standalone_mode=False)\n"
        "sys.exit('torch is imported' if 'torch' in sys.modules else 0)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=os.environ)
    assert done.returncode == 0, done.stderr
    assert time.perf_counter() - start < 60
    rows = {(row["model"], row["benchmark"]): row for row in json.loads(file.read_text())}
    hidden = sum(row["source"] == "weights" for row in rows.values())
    assert f"{len(rows)} rows, {hidden} of them of published weights alone, which only --json shows, in" in done.stdout
    counted = 0
    for benchmark in (1, 2):
        told = published_rows(data, benchmark)
        for (model, number), row in rows.items():
            if number != benchmark or model not in told or row["source"] == "weights":
                continue
            counted += 1
            assert row["win_rate"] == pytest.approx(float(told[model]["win_rate"]), abs=1e-6, rel=0)
            assert row["standard_error"] == pytest.approx(float(told[model]["standard_error"]), abs=1e-6, rel=0)
            for count in ("n_wins", "n_wins_base", "n_draws", "n_total"):
                assert row[count] == float(told[model][count])
            assert row["is_equal"]
    assert counted == 86

    weighed = [row for row in rows.values() if row["length_controlled_by"] == "published weights"]
    off = {row["model"] for row in weighed if abs(row["length_controlled_winrate"] - lc(row)) > 1e-7}
    assert (len(weighed), off) == (199, OLD_WEIGHTS)
    assert all(rows[model, 2]["reason"] for model in OLD_WEIGHTS)
    refits = [row for row in rows.values() if row["refitted_length_controlled_winrate"] and row["published"]]
    assert len(refits) == 44
    assert max(abs(row["refitted_length_controlled_winrate"] - lc(row)) for row in refits) < 0.12
    assert "no such" not in done.stdout


def lc(row: dict[str, Any]) -> float:
    return float(row["published"]["length_controlled_winrate"])


def test_a_folder_never_seen(folder: Folder, tmp_path: Path) -> None:
    for model in MODELS:
        folder.edit(model, "annotations", lambda records: [r | {"seed": 1, "tags": ["x"]} for r in records])
    rows, output = reproduced(folder.path, tmp_path)
    assert {(row["model"], row["benchmark"], row["n_total"]) for row in rows} == {(m, 2, ITEMS) for m in MODELS}
    for row in rows:
        rate, error = own_rate(folder.file(row["model"], "annotations"))
        assert row["win_rate"] == pytest.approx(rate, abs=1e-9)
        assert row["standard_error"] == pytest.approx(error, abs=1e-9)
        assert (row["is_equal"], row["length_controlled_winrate"]) == (True, None)
    assert "3 of 3 published rows are what their annotations give" in output


def test_zeros_are_draws_and_missing_verdicts_are_left_out(folder: Folder, tmp_path: Path) -> None:
    def mark(records: Records) -> None:
        for record, preference in zip(records, (0, None, "NaN", 1.5, 2), strict=False):
            record["preference"] = preference

    folder.edit("maple", "annotations", mark)
    row = next(row for row in reproduced(folder.path, tmp_path)[0] if row["model"] == "maple")
    assert (row["n_draws"], row["n_total"], row["is_equal"]) == (2, ITEMS - 2, False)


def test_length_controlled_rates_by_weights_and_by_a_refit(folder: Folder, tmp_path: Path) -> None:
    difficulty = np.random.default_rng(1).normal(size=ITEMS)
    write_length_control(folder.path, difficulty, {"larch": (0.5, 1.0, 0.2)})
    for model in MODELS:
        folder.edit(model, "annotations", lambda records: records[::-1])
    rows = {row["model"]: row for row in reproduced(folder.path, tmp_path)[0]}
    assert rows["larch"]["length_controlled_by"] == "published weights"
    assert rows["larch"]["length_controlled_winrate"] == pytest.approx(100 * expit(difficulty + 0.2).mean())
    assert rows["maple"]["length_controlled_by"] == "refit"
    # The annotations' order does not matter.
    folder.edit("maple", "annotations", lambda records: records[::-1])
    again = {row["model"]: row for row in reproduced(folder.path, tmp_path)[0]}
    assert again["maple"]["length_controlled_winrate"] == pytest.approx(rows["maple"]["length_controlled_winrate"])


def test_a_refit_finds_the_weights_that_made_the_wins() -> None:
    rng = np.random.default_rng(7)
    difficulty, lengths = rng.normal(size=4000), rng.normal(size=4000)
    tanh = np.tanh(rng.normal(size=(4000, 2)))
    wanted = np.array([0.8, 1.3, -0.4])
    wins = expit(np.column_stack([np.tanh(lengths / lengths.std()), difficulty, np.ones(4000)]) @ wanted)
    gamed = expit(tanh * wanted[0] + difficulty[:, None] * wanted[1])
    baselines = GamedBaselines(
        tanh, 0.1 * (gamed * tanh).sum(), 0.1 * (gamed * difficulty[:, None]).sum(), row_weight=0.1, inverse_penalty=1e4
    )
    assert fit_weights(wins, lengths, difficulty, baselines, difficulty) == pytest.approx(wanted, abs=1e-4)
    assert fit_weights(wins, 0 * lengths, difficulty, baselines, difficulty) is None


def test_each_unreadable_file_is_one_line_and_the_rest_is_told(folder: Folder, tmp_path: Path) -> None:
    folder.file("larch", "annotations").write_text("")
    folder.edit("maple", "annotations", lambda records: [r | {"preference": "the first"} for r in records])
    (folder.path / "derived").mkdir()
    rows, output = reproduced(folder.path, tmp_path)
    assert [row["model"] for row in rows] == ["willow"]
    lines = output.splitlines()
    for told in ("larch", "has the preference 'the first'", "instructions_gamma_order.csv: no such file"):
        assert sum(told in line for line in lines) == 1


def test_preferences_of_another_scale_give_no_rate(folder: Folder, tmp_path: Path) -> None:
    folder.edit("maple", "annotations", lambda records: [r | {"preference": 55.0} for r in records])
    rows, output = reproduced(folder.path, tmp_path)
    assert next(row["win_rate"] for row in rows if row["model"] == "maple") is None
    assert "preferences are from 55 to 55" in output


def test_a_row_that_differs_is_told(folder: Folder, tmp_path: Path) -> None:
    write_table(folder.path, extra={"maple": {"win_rate": 61.25}})
    rows, output = reproduced(folder.path, tmp_path)
    assert {row["model"]: row["is_equal"] for row in rows} == {"larch": True, "maple": False, "willow": True}
    assert "published 61.25" in output
    assert "2 of 3 published rows" in output


def test_one_file_of_many_models_in_json_lines(tmp_path: Path) -> None:
    made = write_folder(tmp_path / "made")
    flat = tmp_path / "flat"
    flat.mkdir()
    records = [record for m in MODELS for record in json.loads(made.file(m, "annotations").read_text())]
    (flat / "annotations.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    rows, _ = reproduced(flat, tmp_path)
    assert {row["model"]: row["win_rate"] for row in rows} == pytest.approx(
        {model: own_rate(made.file(model, "annotations"))[0] for model in MODELS}
    )


def test_a_models_own_folder(folder: Folder, tmp_path: Path) -> None:
    rows, _ = reproduced(folder.path / "results" / "maple", tmp_path)
    assert [(row["model"], row["judge"]) for row in rows] == [("maple", JUDGE)]


@pytest.mark.parametrize("make", [False, True])
def test_a_folder_without_anything_is_one_line(tmp_path: Path, make: bool) -> None:
    if make:
        (tmp_path / "none").mkdir()
    command = [sys.executable, "-m", "pacos", "leaderboard", "reproduce", str(tmp_path / "none")]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert ("no annotations" if make else "no such folder") in done.stderr
