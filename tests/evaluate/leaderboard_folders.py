"""Small folders of outputs and annotations in AlpacaEval's layout, sound until a test spoils them."""

import csv
import hashlib
import json
import math
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

JUDGE = "weighted_alpaca_eval_gpt4_turbo"
MODELS = ("larch", "maple", "willow")
ITEMS = 24
Records = list[dict[str, Any]]


@dataclass(frozen=True)
class Folder:
    path: Path

    def edit(self, model: str, name: str, change: Callable[[Records], Records | None]) -> None:
        """Reads a model's file, changes its records in place or gives others, and writes it again."""
        path = self.file(model, name)
        records = json.loads(path.read_text())
        changed = change(records)
        path.write_text(json.dumps(records if changed is None else changed))

    def file(self, model: str, name: str) -> Path:
        inside = "model_outputs.json" if name == "outputs" else f"{JUDGE}/annotations.json"
        return self.path / "results" / model / inside


def instruction(item: int) -> str:
    return f"Tell me about subject number {item}."


def raw_completion(model_shown_first: bool, model_chance: float) -> str:
    """A judge's reply as AlpacaEval stores it: m is the output shown first."""
    first = model_chance if model_shown_first else 1 - model_chance
    tops = [{"token": t, "bytes": [1], "logprob": math.log(p)} for t, p in (("m", first), ("M", 1 - first))]
    return str({"index": 0, "logprobs": {"content": [{"token": "m", "logprob": -0.1, "top_logprobs": tops}]}})


def preference_of(rng: random.Random) -> float:
    return round(rng.uniform(0.02, 0.98), 6)


def write_folder(path: Path, models: tuple[str, ...] = MODELS, items: int = ITEMS) -> Folder:
    """Every model answers every item, in its own words; display order is drawn for each model and item."""
    rng = random.Random(5)
    for model in models:
        outputs = [
            {
                "instruction": instruction(item),
                "output": f"{model} says {rng.random()} of {item}" + " and more" * rng.randrange(9),
                "generator": model,
            }
            for item in range(items)
        ]
        annotations = []
        for item, answered in enumerate(outputs):
            chance, first = preference_of(rng), rng.random() < 0.5
            annotations.append(
                {
                    "instruction": answered["instruction"],
                    "output_1": f"The baseline on {item}" + " at length" * (item % 7),
                    "generator_1": "oak",
                    "output_2": answered["output"],
                    "generator_2": model,
                    "annotator": JUDGE,
                    "preference": 1 + chance,
                    "raw_completion": raw_completion(first, chance),
                }
            )
        folder = path / "results" / model
        (folder / JUDGE).mkdir(parents=True)
        (folder / "model_outputs.json").write_text(json.dumps(outputs))
        (folder / JUDGE / "annotations.json").write_text(json.dumps(annotations))
    write_table(path, models)
    return Folder(path)


def write_table(
    path: Path, models: tuple[str, ...] = MODELS, extra: Mapping[str, Mapping[str, float]] | None = None
) -> None:
    """The leaderboard that the annotations give, by numpy alone; `extra` columns or other values by model."""
    rows = []
    for model in models:
        records = json.loads((path / "results" / model / JUDGE / "annotations.json").read_text())
        wins = np.array([r["preference"] - 1 for r in records if r["preference"] is not None])
        row = {
            "": model,
            "win_rate": 100 * wins.mean(),
            "standard_error": 100 * wins.std(ddof=1) / math.sqrt(len(wins)),
            "n_wins": (wins > 0.5).sum(),
            "n_wins_base": (wins < 0.5).sum(),
            "n_draws": (wins == 0.5).sum(),
            "n_total": len(wins),
        }
        rows.append(row | dict((extra or {}).get(model, {})))
    write_csv(path / "leaderboards" / "data_AlpacaEval_2" / f"{JUDGE}_leaderboard.csv", rows)


def write_csv(path: Path, rows: Records) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", newline="") as file:
        table = csv.DictWriter(file, list(rows[0]))
        table.writeheader()
        table.writerows(rows)


def write_length_control(path: Path, difficulty: np.ndarray, weights: Mapping[str, tuple[float, float, float]]) -> None:
    """Published weights and the derived tables that they need."""
    items = range(len(difficulty))
    keys = [hashlib.sha1(instruction(item).encode()).hexdigest() for item in items]
    write_csv(
        path / "derived" / "instructions_gamma_order.csv",
        [
            {
                "index": item,
                "instruction_sha1": keys[item],
                "instruction_difficulty": difficulty[item],
                "model_shown_first": item % 2,
                "baseline_len": 30,
            }
            for item in items
        ],
    )
    rng = np.random.default_rng(0)
    tanh = np.tanh(rng.normal(size=(len(difficulty), 2)))
    columns = ("tanh_std_delta_len_verbose", "tanh_std_delta_len_concise")
    write_csv(
        path / "derived" / "gamed_baseline_tanh.csv",
        [{"index": item} | dict(zip(columns, tanh[item], strict=True)) for item in items],
    )
    sums = {"T_tanh": 0.05 * tanh.sum(), "T_gamma": 0.1 * difficulty.sum(), "row_weight": 0.1, "C_grid": [0.1, 10000.0]}
    (path / "derived" / "gamed_sufficient_stats.json").write_text(json.dumps(sums))
    write_csv(
        path / "weights" / "baseline_oak.csv",
        [{"": model, "length": a, "difficulty": b, "model": c} for model, (a, b, c) in weights.items()],
    )
