"""Inspect: instructions by exact match, F1 and a judge's grade; questions by the letter that is written."""

import math
import shutil
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pacos.core.errors import PacosError
from pacos.core.files import read_json, write_json, write_json_lines
from pacos.evaluate.harness.asked import Asked, AskedItem, AskedQuestion, require_all
from pacos.evaluate.harness.programs import Command, Endpoint
from pacos.evaluate.harness.report import HarnessScore

_ABOUT = {
    "exact": "greedy answers equal to the reference but for case, punctuation, articles and spaces",
    "f1": "mean F1 of the words of greedy answers and reference, case, punctuation and articles left out",
    "model_graded_qa": "share of greedy answers that the judge graded C against the reference",
    "choice": "the right letter, written as 'ANSWER: A' in a greedy answer; guessing scores 0.25",
}


def write_files(folder: Path, asked: Asked, model: Endpoint, judge: Endpoint | None) -> list[Command]:
    """Writes the tasks and what they read; the command is to be run in `folder`."""
    write_json_lines(folder / "instructions.jsonl", map(asdict, asked.items))
    write_json_lines(folder / "multiple_choice.jsonl", map(asdict, asked.questions))
    settings = {
        "has_references": asked.has_references,
        "judge": f"openai-api/judge/{judge.model}" if judge else "",
        "judge_max_tokens": judge.max_tokens if judge else 0,
        "judge_temperature": judge.temperature if judge else 0,
        "max_tokens": asked.max_tokens,
    }
    write_json(folder / "settings.json", settings)
    shutil.copyfile(Path(__file__).parent / "inspect_tasks.py", folder / "inspect_tasks.py")
    tasks = [f"inspect_tasks.py@pacos_{name}" for name in asked.rows(judge is not None)]
    arguments = ("inspect", "eval", *tasks, "--model", f"openai-api/pacos/{model.model}", "--cache", "30D")
    told = ("--max-retries", "3", "--log-dir", "logs", "--log-format", "json", "--display", "none")
    variables = {"PACOS_BASE_URL": model.url, "PACOS_API_KEY": "none", "INSPECT_CACHE_DIR": "cache/inspect"}
    keys = {}
    if judge:
        variables["JUDGE_BASE_URL"] = judge.url
        keys["JUDGE_API_KEY"] = judge.key_env
    return [Command((*arguments, *told), variables, keys)]


def read_numbers(folder: Path, asked: Asked, has_judge: bool) -> tuple[list[HarnessScore], dict[str, str]]:
    """What Inspect measured, and its answers by item id. PacosError where a log is not a whole measurement."""
    scores, answers = [], {}
    logs = {log["eval"]["task"]: log for log in (read_json(path, "log") for path in folder.glob("logs/*.json"))}
    for name, rows in asked.rows(has_judge).items():
        log = logs.get(f"pacos_{name}")
        if log is None:
            raise PacosError(f"{folder / 'logs'}: Inspect left no log of the task pacos_{name}; it was not run.")
        samples = _samples(log, name, rows, folder)
        if name == "instructions":
            answers = {sample["id"]: sample["output"]["completion"] for sample in samples}
        for scorer in log["results"]["scores"]:
            metrics = {metric["name"]: float(metric["value"]) for metric in scorer["metrics"].values()}
            value = metrics.get("accuracy", metrics.get("mean", math.nan))
            about = _ABOUT.get(scorer["name"], "")
            if unread := sum(not each["scores"]["choice"]["answer"] for each in samples if scorer["name"] == "choice"):
                about += f"; {unread} answers have no letter, and count as wrong"
            scores.append(HarnessScore(name, scorer["name"], about, len(rows), value, metrics.get("stderr")))
    return scores, answers


def _samples(
    log: dict[str, Any], name: str, rows: Sequence[AskedItem | AskedQuestion], folder: Path
) -> list[dict[str, Any]]:
    """The samples of a log in which each was answered and scored; Inspect calls others a success, too."""
    where = f"{folder / 'logs'}: {name}"
    if log["status"] != "success":
        error = (log.get("error") or {}).get("message", "no reason given")
        raise PacosError(f"{where}: Inspect's status is {log['status']}: {' '.join(error.split())[:200]}.")
    samples: list[dict[str, Any]] = log["samples"] or []
    require_all(name, [sample["id"] for sample in samples], rows)
    failed = [sample for sample in samples if sample.get("error")]
    cut = [s for s in samples if s["output"]["choices"] and s["output"]["choices"][0]["stop_reason"] == "model_length"]
    for what, bad in (("ended in an error", failed), ("did not fit into the model's context", cut)):
        if bad:
            raise PacosError(f"{where}: {len(bad)} of {len(samples)} samples {what}, the first is {bad[0]['id']}.")
    for scorer in {key for sample in samples for key in sample["scores"] or {}}:
        given = [(sample.get("scores") or {}).get(scorer) or {} for sample in samples]
        unread = [score for score in given if not _is_score(score.get("value"))]
        if unread:
            said = " ".join(str(unread[0].get("explanation") or "no score").split())[:120]
            raise PacosError(
                f"{where}: {scorer} has no score for {len(unread)} of {len(samples)} samples ({said}); the mean of the "
                "others would not be that of the set. Give --judge a model that grades as it is asked to."
            )
    return samples


def _is_score(value: Any) -> bool:
    return value is not None and not (isinstance(value, float) and math.isnan(value)) and value != "N"
