"""lm-evaluation-harness: instructions by chat, with exact match and ROUGE-L; questions by log-likelihood."""

import json
import shutil
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pacos.core.errors import PacosError
from pacos.core.files import read_json, read_json_lines, write_json_lines, write_text
from pacos.evaluate.harness.asked import Asked, require_all
from pacos.evaluate.harness.programs import Command, Endpoint
from pacos.evaluate.harness.report import HarnessScore

_TASK = """\
task: {task}
dataset_path: json
dataset_kwargs: {{data_files: {file}}}
test_split: train
"""
# Our exact match drops one full stop at the end too.
_INSTRUCTIONS = """\
output_type: generate_until
doc_to_text: text
doc_to_target: reference
generation_kwargs: {{until: [], max_gen_toks: {max_tokens}, temperature: 0}}
metric_list:
  - {{metric: exact_match, aggregation: mean, higher_is_better: true, regexes_to_ignore: ['^\\s+', '\\.?\\s*$']}}
  - {{metric: !function rouge.rougeL, aggregation: mean, higher_is_better: true}}
"""
_QUESTIONS = """\
output_type: multiple_choice
doc_to_text: prompt
doc_to_choice: choices
doc_to_target: answer
target_delimiter: ""
metric_list:
  - {metric: acc, aggregation: mean, higher_is_better: true}
  - {metric: acc_norm, aggregation: mean, higher_is_better: true}
"""
_ABOUT = {
    "exact_match": "greedy answers by chat, equal to the reference but for outer spaces and a last full stop",
    "rougeL": "greedy answers by chat, mean F-measure against the reference by the package rouge-score",
    "acc": "the right choice has the highest log-likelihood after the prompt the model was trained on",
    "acc_norm": "the same, log-likelihoods divided by the choices' lengths in characters",
}


def write_files(folder: Path, asked: Asked, model: Endpoint, judge: Endpoint | None) -> list[Command]:
    """Writes tasks/ and what they read; the commands are to be run in `folder`."""
    commands = []
    chat, completions = f"{model.url}/chat/completions", f"{model.url}/completions"
    common = f"model={model.model},num_concurrent=4,max_retries=2"
    if asked.has_references:
        _write_task(folder, "instructions", asked.items, _INSTRUCTIONS.format(max_tokens=asked.max_tokens))
        shutil.copyfile(Path(__file__).parent / "lm_eval_rouge.py", folder / "tasks" / "rouge.py")
        by_chat = ("--model", "local-chat-completions", "--apply_chat_template")
        commands.append(_command("instructions", *by_chat, "--model_args", f"{common},base_url={chat}"))
    _write_task(folder, "multiple_choice", asked.questions, _QUESTIONS)
    given = f"{common},base_url={completions},max_length={asked.context_tokens}"
    by_likelihood = ("--model", "local-completions", "--batch_size", "8", "--model_args", given)
    return [*commands, _command("multiple_choice", *by_likelihood)]


def _write_task(folder: Path, name: str, rows: Sequence[Any], lines: str) -> None:
    data = folder / "tasks" / f"{name}.jsonl"
    write_json_lines(data, map(asdict, rows))
    head = _TASK.format(task=f"pacos_{name}", file=json.dumps(str(data.absolute())))
    write_text(folder / "tasks" / f"{name}.yaml", head + lines)


def _command(name: str, *arguments: str) -> Command:
    told = ("--include_path", "tasks", "--tasks", f"pacos_{name}", "--output_path", f"out/{name}", "--log_samples")
    return Command(("lm_eval", *arguments, *told), {"OPENAI_API_KEY": "none"})


def read_numbers(folder: Path, asked: Asked, has_judge: bool) -> tuple[list[HarnessScore], dict[str, str]]:
    """What lm-eval measured, and its answers by item id. PacosError where it has not scored every item."""
    scores, answers = [], {}
    for name, rows in asked.rows(has_judge=False).items():
        samples = [row for _, row in read_json_lines(_only(folder / "out" / name, "*/samples_*.jsonl"), "samples")]
        require_all(name, [row["doc"]["id"] for row in samples], rows)
        if name == "instructions":
            answers = {row["doc"]["id"]: row["resps"][0][0] for row in samples}
        results = read_json(_only(folder / "out" / name, "*/results_*.json"), "results of lm-eval")
        found = results["results"][f"pacos_{name}"]
        for metric, about in _ABOUT.items():
            if f"{metric},none" in found:
                value, error = float(found[f"{metric},none"]), float(found[f"{metric}_stderr,none"])
                scores.append(HarnessScore(name, metric, about, len(rows), value, error))
    return scores, answers


def _only(folder: Path, pattern: str) -> Path:
    found = list(folder.glob(pattern))
    if len(found) != 1:
        raise PacosError(
            f"{folder}: has {len(found)} files {pattern}; expected one, as lm-eval 0.4.13 writes it; "
            "install that version."
        )
    return found[0]
