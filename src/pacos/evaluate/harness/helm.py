"""HELM: instructions by its reference metrics and a model as critic; questions by the letter that is written."""

import math
import shutil
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np

from pacos.core.errors import PacosError
from pacos.core.files import read_json, write_json, write_json_lines, write_text
from pacos.engines.local.tokenizer import load_tokenizer
from pacos.evaluate.harness.asked import Asked, AskedItem, AskedQuestion, require_all
from pacos.evaluate.harness.programs import Command, Endpoint
from pacos.evaluate.harness.report import HarnessScore

_CRITIC = "of 1 to 5, mean grade of greedy answers by the critic"
_ABOUT = {
    "exact_match": "greedy answers equal to the reference but for outer spaces",
    "quasi_exact_match": "the same, case, punctuation and articles left out",
    "f1_score": "mean F1 of the words of greedy answers and reference",
    "rouge_l": "mean ROUGE-L F-measure of greedy answers against the reference, words stemmed",
    "Helpfulness": _CRITIC,
    "Understandability": _CRITIC,
    "Completeness": _CRITIC,
    "Conciseness": _CRITIC,
    "Harmlessness": _CRITIC,
}
_LETTER = "the right letter as the one token of a greedy answer; guessing scores 0.25"


def write_files(folder: Path, asked: Asked, model: Endpoint, judge: Endpoint | None) -> list[Command]:
    """Writes the plug-in, prod_env/ and both sets; the command is to be run in `folder`."""
    write_json_lines(folder / "instructions.jsonl", map(asdict, asked.items))
    write_json_lines(folder / "multiple_choice.jsonl", map(asdict, asked.questions))
    shutil.copyfile(Path(__file__).parent / "helm_plugin.py", folder / "pacos_helm_plugin.py")
    _write_environment(folder / "prod_env", asked, model, judge)
    told = f"max_tokens={asked.max_tokens},references={int(asked.has_references)},critic={int(judge is not None)}"
    about = {"instructions": f"pacos_instructions:{told},", "multiple_choice": "pacos_multiple_choice:"}
    entries = [f"{about[name]}model=pacos/student" for name in asked.rows(judge is not None)]
    most = str(max(len(asked.items), len(asked.questions)))
    arguments = ("helm-run", "--run-entries", *entries, "--plugins", "./pacos_helm_plugin.py", "--suite", "pacos")
    told_all = (*arguments, "--max-eval-instances", most, "--num-threads", "4", "--exit-on-error")
    return [Command(told_all, keys={"OPENAI_API_KEY": judge.key_env} if judge else {})]


def _write_environment(folder: Path, asked: Asked, model: Endpoint, judge: Endpoint | None) -> None:
    """As JSON, which is YAML, too. HELM cuts a prompt that leaves no room for the longest answer; our server does not
    need it, and prompts too long for the model were left out before."""
    clients: dict[str, tuple[str, Endpoint]] = {"student": ("vllm_client.VLLMChatClient", model)}
    if judge:
        # The client that takes a key, from the environment.
        clients["judge"] = ("openai_client.OpenAIClient", judge)
    deployments = [
        {
            "name": f"pacos/{role}",
            "model_name": f"pacos/{role}",
            "tokenizer_name": "pacos/student",
            "max_sequence_length": asked.context_tokens + asked.max_tokens,
            "client_spec": {
                "class_name": f"helm.clients.{client}",
                "args": {"base_url": endpoint.url, _NAMES[client]: endpoint.model},
            },
        }
        for role, (client, endpoint) in clients.items()
    ]
    models = [
        {
            "name": f"pacos/{role}",
            "display_name": role,
            "description": role,
            "creator_organization_name": "pacos",
            "access": "open",
            "release_date": None,
            "tags": ["TEXT_MODEL_TAG", "INSTRUCTION_FOLLOWING_MODEL_TAG"],
        }
        for role in clients
    ]
    tokenizer = load_tokenizer(asked.model)
    spec = {
        "class_name": "helm.tokenizers.huggingface_tokenizer.HuggingFaceTokenizer",
        "args": {"pretrained_model_name_or_path": str(Path(asked.model).absolute())},
    }
    ends = {"end_of_text_token": tokenizer.eos_token or "", "prefix_token": tokenizer.bos_token or ""}
    write_json(folder / "model_deployments.yaml", {"model_deployments": deployments})
    write_json(folder / "model_metadata.yaml", {"models": models})
    write_json(
        folder / "tokenizer_configs.yaml",
        {"tokenizer_configs": [{"name": "pacos/student", "tokenizer_spec": spec, **ends}]},
    )
    critic = "critiqueType: model\ncritiqueModelName: pacos/judge\n" if judge else ""
    write_text(folder / "credentials.conf", critic)


_NAMES = {"vllm_client.VLLMChatClient": "vllm_model_name", "openai_client.OpenAIClient": "openai_model_name"}


def read_numbers(folder: Path, asked: Asked, has_judge: bool) -> tuple[list[HarnessScore], dict[str, str]]:
    """What HELM measured, and its answers by item id. PacosError where it has no number, or not of every item."""
    scores, answers = [], {}
    for name, rows in asked.rows(has_judge).items():
        found = _run(folder / "benchmark_output" / "runs" / "pacos", f"pacos_{name}")
        texts = _answers(found / "scenario_state.json", name, rows)
        values = _values(found, len(rows), is_graded=has_judge and name == "instructions")
        if name == "instructions":
            answers = texts
        else:
            unread = sum(text.strip() not in set("ABCD") for text in texts.values())
            about = _LETTER + (f"; {unread} answers are no letter, and count as wrong" if unread else "")
            values = {"exact_match": values["exact_match"]}
        for metric, each in values.items():
            error = float(np.std(each, ddof=1)) / math.sqrt(len(each)) if len(each) > 1 else None
            told = _ABOUT[metric] if name == "instructions" else about
            scores.append(HarnessScore(name, metric, told, len(rows), float(np.mean(each)), error))
    return scores, answers


def _run(runs: Path, scenario: str) -> Path:
    found = list(runs.glob(f"{scenario}*"))
    if len(found) != 1:
        raise PacosError(f"{runs}: has {len(found)} folders {scenario}*; expected one, as HELM 0.5.16 writes it.")
    return found[0]


def _answers(path: Path, task: str, rows: Sequence[AskedItem | AskedQuestion]) -> dict[str, str]:
    """By item id; PacosError where a request failed or a prompt was cut, which HELM counts like any other."""
    states = read_json(path, "state of HELM's scenario")["request_states"]
    require_all(task, [each["instance"]["id"] for each in states], rows)
    for what, bad in (
        ("requests failed", [each for each in states if not each["result"]["success"]]),
        ("prompts were truncated by HELM", [each for each in states if each.get("prompt_truncated")]),
    ):
        if bad:
            raise PacosError(f"{path}: {len(bad)} of {len(states)} {what}, the first is {bad[0]['instance']['id']}.")
    return {each["instance"]["id"]: each["result"]["completions"][0]["text"] for each in states}


def _values(folder: Path, items: int, is_graded: bool) -> dict[str, list[float]]:
    """By metric the value of every item. PacosError where HELM has none, or not of each: it says "Done" then, too."""
    stats = {stat["name"]["name"] for stat in read_json(folder / "stats.json", "statistics of HELM")}
    if not stats & _ABOUT.keys() or (is_graded and "Helpfulness" not in stats):
        what = "none of the critic" if stats else "none at all"
        raise PacosError(f"{folder / 'stats.json'}: HELM's statistics are empty, {what}, and it says Done; {_UNREAD}.")
    values: dict[str, list[float]] = {}
    for item in read_json(folder / "per_instance_stats.json", "statistics of HELM"):
        for stat in item["stats"]:
            if stat["name"]["name"] in _ABOUT:
                values.setdefault(stat["name"]["name"], []).append(float(stat.get("mean", math.nan)))
    for metric, found in values.items():
        if len(found) != items:
            raise PacosError(f"{folder}: HELM has {metric} of {len(found)} of {items} items; {_UNREAD}.")
    grades = {grade for metric, found in values.items() if _ABOUT[metric] == _CRITIC for grade in found}
    if items > 1 and len(grades) == 1:
        raise PacosError(
            f"{folder}: the critic answered every question about every item alike (grade {grades.pop():.0f}), so it "
            "judges nothing; HELM takes an empty reply for A, the lowest grade. Give --judge another model."
        )
    return values


_UNREAD = "the critic's replies were not one letter each. Give --judge a model that answers with one"
