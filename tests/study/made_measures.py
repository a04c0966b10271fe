"""Measures without a judge and other harnesses' numbers in a made-up run: the reports' own forms."""

import json
from dataclasses import asdict
from pathlib import Path

from pacos.evaluate.harness.report import HarnessReport, HarnessScore
from pacos.evaluate.harness.report import write as write_harness
from pacos.evaluate.report import Contaminated, Measurement, Memorisation, MultipleChoice, Perplexity, RougeL

MODELS = ("base", "student")


def measured(items: int, base: float, student: float, reach: float = 0.04) -> Measurement:
    values = dict(zip(MODELS, (base, student), strict=True))
    gain = student - base
    return Measurement(
        items,
        values,
        {model: (value - reach, value + reach) for model, value in values.items()},
        {"student": gain},
        {"student": (gain - reach, gain + reach)},
    )


def make_measures(run: Path) -> None:
    """Adds every measure to a finished evaluate/, one of which a rival could not be measured by, and two harnesses."""
    path = run / "evaluate" / "report.json"
    rouge, absent = measured(48, 0.11, 0.42), {"rival": "a server gives no likelihoods of a prompt"}
    both = {"base": 0.31, "student": 0.36}
    values = {
        "rouge_l": RougeL(48, rouge.values, rouge.intervals, rouge.gains, rouge.gain_intervals, absent),
        "multiple_choice": MultipleChoice(
            "builtin", 0.25, measured(120, 0.2667, 0.3417), measured(120, 0.28, 0.33), {"science": 24, "words": 24},
            {"science": both, "words": both}, {"base": "raw", "student": "alpaca"}, absent,
        ),
        "perplexity": [Perplexity(
            "held-out examples", 4096, {"base": 900, "student": 900}, {"base": 41.5, "student": 3.2},
            {"base": (39.0, 44.0), "student": (3.0, 3.4)}, measured(30, 2.345, 0.789), 1, absent,
        )],
        "memorisation": [
            Memorisation("trained", "half output", measured(60, 0.0, 0.25), measured(60, 1.2, 4.6), absent)
        ],
        "contamination": [Contaminated("evaluate/items.jsonl", 48, "generate/dataset.jsonl", 60, 2, 1, 3, "0001")],
        "empty_answers": {"base": 3, "student": 0},
        "certified": {"builtin:judge": False, "stern": True},
    }  # fmt: skip
    report = json.loads(path.read_text()) | values
    path.write_text(json.dumps(report, default=asdict))
    scores = [
        HarnessScore("multiple_choice", "acc", "the likeliest choice", 120, 0.3417, 0.0434, 0.3417, 0.3417, ""),
        HarnessScore("instructions", "exact_match", "as the harness has it", 48, 0.5, None, None, 0.48, "0.02 apart"),
    ]
    for name in ("lm-eval", "helm"):
        folder = run / "harness" / name
        folder.mkdir(parents=True)
        made = HarnessReport(
            name, "1.2", "student", "", scores, ["item 1: too long"], [], {}, 3.0, notes=["2 prompts were cut"]
        )
        write_harness(made, folder)
