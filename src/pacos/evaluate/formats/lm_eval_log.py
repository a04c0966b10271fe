"""lm-eval's results_*.json and samples_*.jsonl in a folder a model, as `lm_eval --log_samples` writes them."""

import json
import time
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

import pacos
from pacos.core.files import sha256_text, write_json, write_json_lines
from pacos.evaluate.formats.records import file_name
from pacos.evaluate.formats.scored import ScoredAnswer, means_of, scored_answers
from pacos.evaluate.formats.votes import Reading

TASK = "pacos"


def write_lm_eval(reading: Reading, folder: Path) -> list[Path]:
    """Writes a folder a model; returns what was written."""
    written = []
    date = datetime.now().isoformat().replace(":", "-")
    for model, answers in scored_answers(reading).items():
        rows = [_sample(number, answer) for number, answer in enumerate(answers)]
        written += [folder / file_name(model) / f"{stem}_{date}.{end}" for stem, end in _FILES]
        write_json(written[-2], _results(model, answers, rows))
        write_json_lines(written[-1], rows)
    return written


_FILES = (("results", "json"), (f"samples_{TASK}", "jsonl"))


def _sample(number: int, answer: ScoredAnswer) -> dict[str, Any]:
    doc = asdict(answer.item) | {"votes": list(answer.votes)}
    return {
        "doc_id": number, "doc": doc, "target": answer.item.reference,
        "arguments": {"gen_args_0": {"arg_0": answer.item.asked, "arg_1": {}}},
        "resps": [[answer.text]], "filtered_resps": [answer.text], "filter": "none", "metrics": list(answer.scores),
        "doc_hash": sha256_text(json.dumps(doc, indent=2, ensure_ascii=False)),
        "prompt_hash": sha256_text(answer.item.asked), "target_hash": sha256_text(answer.item.reference),
        **answer.scores,
    }  # fmt: skip


def _results(model: str, answers: Sequence[ScoredAnswer], rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    scores: dict[str, Any] = {"name": TASK, "alias": TASK, "sample_len": len(answers)}
    means = means_of(answers)
    for name, mean in means.items():
        error = "N/A" if mean.standard_error is None else mean.standard_error
        scores |= {f"{name},none": mean.value, f"{name}_stderr,none": error}
    hashes = "".join(row["doc_hash"] + row["prompt_hash"] + row["target_hash"] for row in rows)
    return {
        "results": {TASK: scores},
        "group_subtasks": {TASK: []},
        "configs": {TASK: {"task": TASK, "output_type": "generate_until", "metadata": {"version": pacos.__version__}}},
        "versions": {TASK: pacos.__version__},
        "n-shot": {TASK: 0},
        "higher_is_better": {TASK: dict.fromkeys(means, True)},
        "n-samples": {TASK: {"original": len(answers), "effective": len(answers)}},
        "config": {"model": "pacos", "model_args": {"model": model}},
        "date": time.time(),
        "task_hashes": {TASK: sha256_text(hashes)},
        "model_source": "pacos", "model_name": model, "model_name_sanitized": file_name(model),
    }  # fmt: skip
