"""A run folder as the stages leave one, made up: real tasks of the builtin skills, plausible numbers."""

import json
import math
import random
from pathlib import Path
from typing import Any

from pacos.core.recipe import load
from pacos.core.stages import STAGES
from pacos.engines.builtin.skills import SKILLS
from pacos.statistics import wilson, win_rate

RECIPE = "[generate]\nnum_examples = 60\n\n[train]\nlearning_rate = 1e-3\nbatch_size = 8\nnum_epochs = 2\n"
OVERRIDES = ("train.batch_size=4", "generate.seed_tasks=my seeds.jsonl")
REJECTED = {"not_novel": 31, "blacklist_word": 4, "too_short": 3, "truncated": 2, "malformed": 1}
HOSTILE = (
    "<script>alert(1)</script><img src=https://evil.example/x onerror=alert(1)> {{ 7*7 }} \u202e $x^2$ \x00 \ud800"
)


def make_run(path: Path, hostile: str = "", seed: int = 1) -> Path:
    """A run with all four stages finished; `hostile` is put wherever a model's or a teacher's text goes."""
    make_recipe(path)
    make_generate(path / "generate", hostile, seed)
    make_train(path / "train")
    make_evaluate(path / "evaluate", hostile, seed)
    make_release(path / "release")
    return path


def make_recipe(path: Path, overrides: tuple[str, ...] = OVERRIDES) -> None:
    path.mkdir(parents=True, exist_ok=True)
    (path / "recipe.toml").write_text(RECIPE)
    write_json(path / "resolved.json", load(path / "recipe.toml", overrides).tables())


def finish(folder: Path, report: dict[str, Any]) -> None:
    """Writes report.json and done.json; release ends last."""
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "report.json", report)
    hour = list(STAGES).index(folder.name)
    write_json(folder / "done.json", {"stage": folder.name, "finished": f"2025-11-22T1{hour}:08:00Z", "outputs": {}})


def write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value))


def write_lines(path: Path, lines: list[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))


def make_generate(folder: Path, hostile: str = "", seed: int = 1) -> None:
    rng = random.Random(seed)
    tasks = [skill.sample(rng) for skill in list(SKILLS.values())[:60]]
    records = [
        {"id": f"{n:016}", "instruction": t.instruction + hostile, "input": t.input, "output": t.output + hostile}
        for n, t in enumerate(tasks)
    ]
    write_lines(folder / "dataset.jsonl", records)
    broken = {"rule": "malformed", "request": 0, "index": 0, "ledger_key": "k", "text": "6. Instruc" + hostile}
    refused = [{"rule": rule, "request": 1, "index": 1, **records[0]} for rule in REJECTED if rule != "malformed"]
    refused[0] |= {"similarity": 0.8124, "nearest": "Count the words." + hostile}
    write_lines(folder / "rejected.jsonl", [broken, *refused])
    verb = {"verb": "write" + hostile, "count": 17, "objects": [{"object": "word" + hostile, "count": 9}]}
    diversity = {
        "instructions": 60, "questions": 12, "with_verb_and_object": 44, "distinct_verbs": 21, "distinct_pairs": 39,
        "verbs": [verb] * 12,
    }  # fmt: skip
    scores = {"nearest": [n % 7 for n in range(20)], "nearest_seed": [n % 5 for n in range(20)]}
    report = {
        "asked": 102, "parsed": 101, "kept": 60, "rejected": REJECTED, "usd": 0.0342, "seconds": 12.4, "requests": 6,
        "unseen_usd": 0.0, "usd_per_example": 0.00057, "seconds_per_example": 0.206667,
        "prompt_tokens": 4210, "completion_tokens": 3999, "teacher": "builtin:teacher", "mode": "alpaca-fixed",
        "seed_tasks": 175, "with_input": 24, "yield_over_time": [[1, 12], [3, 33], [6, 60]],
        "similarities": {"edges": [n / 20 for n in range(21)], **scores},
        "diversity": diversity,
    }  # fmt: skip
    finish(folder, report)


def make_release(folder: Path) -> None:
    sizes = {"bytes": 9_000_000, "weights_bytes": 8_000_000, "weights_diff_bytes": 5_000_000}
    finish(folder, {"files": 9, **sizes, "seconds": 1.5})


def make_train(folder: Path, num_steps: int = 30) -> None:
    rng = random.Random(0)
    write_lines(folder / "steps.jsonl", [
        {
            "step": step, "loss": 0.4 + 3 * math.exp(-4 * step / num_steps) + rng.gauss(0, 0.06), "grad_norm": 0.9,
            "learning_rate": 1e-3 * 0.5 * (1 + math.cos(math.pi * (step - 1) / num_steps)),
            "real_tokens": 1800, "real_tokens_per_second": 5200 + 300 * rng.random(), "seconds": 0.35,
        }
        for step in range(1, num_steps + 1)
    ])  # fmt: skip
    finish(folder, {
        "steps": num_steps, "examples": 57, "real_tokens": 54321, "real_tokens_per_second": 5321.4,
        "final_loss": 0.4567, "seconds": 92.25, "weights_sha256": "ab" * 32, "base": "pacos-mini",
        "base_sha256": "cd" * 32, "dataset": "generate/dataset.json",
        "counts": {
            "records": 60, "heldout": 3, "heldout_wholly_masked": 0, "examples": 57, "truncated": 1, "empty_outputs": 0,
            "wholly_masked": 0, "merged": 0, "tokens": 2345, "supervised_tokens": 678, "longest_tokens": 32,
            "max_length": 512, "histogram": {"1-32": 57}, "planned_steps": num_steps,
        },
        "heldout_loss_before": 3.3456, "heldout_loss_after": 0.7891, "device": "cpu", "precision": "bf16",
        "parameters": 3_051_072, "trained_parameters": 3_051_072,
        "peak_memory_bytes": 1_234_567_890, "estimated_memory_bytes": 1_200_000_000,
        "processes": 1, "optimizer": "adamw",
    })  # fmt: skip


def make_evaluate(folder: Path, hostile: str = "", seed: int = 1, per_skill: int = 4) -> None:
    rng = random.Random(seed)
    rows = [_skill_row(skill, per_skill, rng) for skill in SKILLS.values()]
    items = per_skill * len(rows)
    right = sum(round(row["exact_match"]["student"] * per_skill) for row in rows)
    wins, losses, ties = round(0.87 * items), round(0.04 * items), items - round(0.87 * items) - round(0.04 * items)
    half = items // 2
    finish(folder, {
        "items": items, "items_harder": half, "baseline": "base", "candidates": ["student"],
        "judges": ["builtin:judge"], "exact_match_items": items, "exact_match_harder_items": half,
        "exact_match": {"base": 0.0, "student": right / items},
        "exact_match_intervals": {"base": wilson(0, items), "student": wilson(right, items)},
        "exact_match_chance_corrected": {"base": -0.02, "student": right / items - 0.01},
        "exact_match_harder": {"base": 0.0, "student": 0.41},
        "exact_match_harder_intervals": {"base": wilson(0, half), "student": wilson(round(0.41 * half), half)},
        "per_skill": rows, "per_skill_harder": rows,
        "pairwise": _pairwise(wins, losses, ties),
        "comparisons": {"student": {"main": _pairwise(wins, losses, ties), "harder": _pairwise(half - 20, 6, 14)}},
        "slot_effect": {"builtin:judge": {"votes": 2 * items, "first_shown_win_rate": 0.503, "interval": [0.49, 0.52]}},
        "judge_agreement": None, "examples": _examples(hostile, rng), "usd": 0.01, "seconds": 61.5,
    })  # fmt: skip


def _skill_row(skill: Any, items: int, rng: random.Random) -> dict[str, Any]:
    rate = min(items, round(items * rng.betavariate(3, 1.2))) / items
    rates = {"base": 0.0, "student": rate}
    corrected = {label: (value - skill.chance) / (1 - skill.chance) for label, value in rates.items()}
    row = {"skill": skill.name, "group": skill.group, "items": items, "chance": skill.chance}
    return row | {"exact_match": rates, "chance_corrected": corrected}


def _pairwise(wins: int, losses: int, ties: int) -> dict[str, Any]:
    rate = win_rate(wins, losses, ties)
    return {
        "wins": wins, "losses": losses, "ties": ties, "unparsable": 0, "conflicts": 1, "win_rate": rate.rate,
        "interval": rate.interval, "decisive_win_rate": wins / (wins + losses),
        "decisive_interval": wilson(wins, wins + losses), "sign_test_p": 0.001,
    }  # fmt: skip


def _examples(hostile: str, rng: random.Random) -> list[dict[str, Any]]:
    examples = []
    for number, skill in enumerate(rng.sample(list(SKILLS.values()), 5)):
        task = skill.sample(rng)
        right = number not in (1, 3)
        student = task.output if right else " ".join(reversed(task.output.split())) + " and"
        examples.append({
            "skill": skill.name, "instruction": task.instruction + hostile, "input": task.input,
            "base": "" if number == 4 else f"{task.instruction[-30:]} the the the the the of a the" + hostile,
            "student": student + hostile, "reference": task.output, "right": right,
        })  # fmt: skip
    return examples
