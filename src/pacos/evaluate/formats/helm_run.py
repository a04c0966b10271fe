"""HELM's run folders, one a model, and the schema and model names that helm-summarize wants of them."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pacos.core.files import write_json
from pacos.evaluate.formats.records import file_name
from pacos.evaluate.formats.scored import EXACT, PEOPLE, WIN_RATE, ScoredAnswer, scored_answers
from pacos.evaluate.formats.votes import Reading

GROUP, SPLIT = "pacos", "test"
SCENARIO = {"class_name": "pacos.evaluate.Items", "args": {}}
METRICS = {
    WIN_RATE: "How often this answer is preferred, ties half.",
    PEOPLE: "How often people prefer this answer, ties half.",
    EXACT: "Equal to the known right answer.",
}


def write_helm(reading: Reading, folder: Path) -> list[Path]:
    """Writes benchmark_output/runs/pacos/RUN for every model, schema.yaml and prod_env/; returns what was written."""
    written: dict[Path, Any] = {}
    answers_of = scored_answers(reading)
    for model, answers in answers_of.items():
        # HELM flattens a path in a run's name.
        place = folder / "benchmark_output/runs/pacos" / f"{GROUP}:model=pacos_{file_name(model)}"
        adapter = _adapter(model)
        per_instance = [
            {
                "instance_id": answer.item.id, "train_trial_index": 0,
                "stats": [_stat(name, [value]) for name, value in answer.scores.items()],
            }
            for answer in answers
        ]  # fmt: skip
        names = dict.fromkeys(name for answer in answers for name in answer.scores)
        written |= {
            place / "run_spec.json": {
                "name": place.name, "scenario_spec": SCENARIO, "adapter_spec": adapter, "metric_specs": [],
                "data_augmenter_spec": {"perturbation_specs": []}, "groups": [GROUP],
            },
            place / "scenario.json": {"name": GROUP, "description": "Items of a pacos run.", "tags": []},
            place / "scenario_state.json": {
                "adapter_spec": adapter, "request_states": [_state(model, answer) for answer in answers],
            },
            place / "stats.json": [
                _stat(name, [answer.scores[name] for answer in answers if name in answer.scores]) for name in names
            ],
            place / "per_instance_stats.json": per_instance,
        }  # fmt: skip
    # JSON is YAML, too.
    written[folder / "schema.yaml"] = _schema({name for each in answers_of.values() for a in each for name in a.scores})
    written[folder / "prod_env/model_metadata.yaml"] = {"models": [_metadata(model) for model in answers_of]}
    for path, value in written.items():
        write_json(path, value)
    return list(written)


def _adapter(model: str) -> dict[str, Any]:
    empty = dict.fromkeys(("input_prefix", "input_suffix", "output_prefix", "output_suffix", "instance_prefix"), "")
    name = {"model": f"pacos/{model}", "model_deployment": f"pacos/{model}"}
    return {"method": "generation", **empty, **name, "max_train_instances": 0, "num_outputs": 1, "temperature": 0.0}


def _state(model: str, answer: ScoredAnswer) -> dict[str, Any]:
    reference = [{"output": {"text": answer.item.reference}, "tags": ["correct"]}] if answer.item.reference else []
    return {
        "instance": {
            "input": {"text": answer.item.asked}, "references": reference, "split": SPLIT, "id": answer.item.id,
        },
        "train_trial_index": 0,
        "request": {
            "model": f"pacos/{model}", "model_deployment": f"pacos/{model}", "prompt": answer.item.asked,
            "temperature": 0.0, "num_completions": 1,
        },
        "result": {
            "success": True, "embedding": [], "cached": False,
            "completions": [{"text": answer.text, "logprob": 0.0, "tokens": []}],
        },
        "num_train_instances": 0, "prompt_truncated": False, "num_conditioning_tokens": 0,
        "annotations": {"pacos": {"votes": list(answer.votes)}},
    }  # fmt: skip


def _stat(name: str, values: Sequence[float]) -> dict[str, Any]:
    mean = sum(values) / len(values)
    squares = sum(value * value for value in values)
    variance = max(squares / len(values) - mean**2, 0.0)
    return {
        "name": {"name": name, "split": SPLIT}, "count": len(values), "sum": sum(values), "sum_squared": squares,
        "min": min(values), "max": max(values), "mean": mean, "variance": variance, "stddev": math.sqrt(variance),
    }  # fmt: skip


def _schema(names: set[str]) -> dict[str, Any]:
    metrics = [name for name in METRICS if name in names]
    shown = {name: {"name": name, "display_name": name.replace("_", " ").capitalize()} for name in metrics}
    return {
        "metrics": [
            shown[name] | {"description": METRICS[name], "lower_is_better": False} for name in metrics
        ],
        "perturbations": [],
        "metric_groups": [
            {
                "name": "pacos_metrics", "display_name": "pacos",
                "metrics": [{"name": name, "split": SPLIT} for name in metrics],
            }
        ],
        "run_groups": [
            {
                "name": GROUP, "display_name": "pacos", "description": "Answers and votes of a pacos run.",
                "metric_groups": ["pacos_metrics"], "environment": {"main_name": metrics[0], "main_split": SPLIT},
                "taxonomy": {
                    "task": "instruction following", "what": "n/a", "who": "n/a", "when": "n/a", "language": "n/a",
                },
            }
        ],
    }  # fmt: skip


def _metadata(model: str) -> dict[str, Any]:
    return {
        "name": f"pacos/{model}", "display_name": model, "description": "A model of a pacos run.",
        "creator_organization_name": "pacos", "access": "open",
        "tags": ["TEXT_MODEL_TAG", "INSTRUCTION_FOLLOWING_MODEL_TAG"],
    }  # fmt: skip
