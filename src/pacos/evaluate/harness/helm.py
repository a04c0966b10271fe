"""HELM: instructions by its reference metrics and a model as critic; questions by the letter that is written."""

import math
import shutil
from dataclasses import asdict
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from pacos.core.errors import PacosError
from pacos.core.files import read_json, write_json, write_json_lines, write_text
from pacos.engines.local.tokenizer import load_tokenizer
from pacos.evaluate.harness.asked import Asked, AskedQuestion, require_all
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
    # Where custom_mcqa looks for a path that is not absolute.
    write_json_lines(
        folder / "benchmark_output" / "scenarios" / "custom_mcqa" / "multiple_choice.jsonl",
        map(_instance, asked.questions),
    )
    shutil.copyfile(Path(__file__).parent / "helm_plugin.py", folder / "pacos_helm_plugin.py")
    _write_environment(folder / "prod_env", asked, model, judge)
    entries = ["custom_mcqa:path=multiple_choice.jsonl,model=pacos/student"]
    if asked.items and (asked.has_references or judge):
        told = f"max_tokens={asked.max_tokens},references={int(asked.has_references)},critic={int(judge is not None)}"
        entries.insert(0, f"pacos_instructions:{told},model=pacos/student")
    most = str(max(len(asked.items), len(asked.questions)))
    arguments = ("helm-run", "--run-entries", *entries, "--plugins", "./pacos_helm_plugin.py", "--suite", "pacos")
    told_all = (*arguments, "--max-eval-instances", most, "--num-threads", "4", "--exit-on-error")
    return [Command(told_all, keys={"OPENAI_API_KEY": judge.key_env} if judge else {})]


def _instance(question: AskedQuestion) -> dict[str, Any]:
    choices = enumerate(question.choices)
    references = [{"output": {"text": text}, "tags": ["correct"] * (n == question.answer)} for n, text in choices]
    return {"input": {"text": question.question}, "references": references, "split": "test", "id": question.id}


def _write_environment(folder: Path, asked: Asked, model: Endpoint, judge: Endpoint | None) -> None:
    """As JSON, which is YAML, too. HELM cuts a prompt that does not leave room for the longest answer; our server does not
    need that room, and prompts too long for it were left out before."""
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
            "release_date": "2023-03-13",
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


def read_numbers(folder: Path, asked: Asked) -> tuple[list[HarnessScore], dict[str, str]]:
    """What HELM measured, and its answers by item id. PacosError where it has no number, or not of every item."""
    runs = folder / "benchmark_output" / "runs" / "pacos"
    scores, answers = [], {}
    has_instructions = (
        "pacos/judge" in (folder / "prod_env" / "model_metadata.yaml").read_text() or asked.has_references
    )
    if asked.items and has_instructions:
        answers = _answers(runs, "pacos_instructions", "instructions", asked)
        scores = _scores(runs, "pacos_instructions", "instructions", asked)
    _answers(runs, "custom_mcqa", "multiple_choice", asked)
    return [*scores, *_scores(runs, "custom_mcqa", "multiple_choice", asked)], answers


def _run(runs: Path, scenario: str) -> Path:
    found = list(runs.glob(f"{scenario}*"))
    if len(found) != 1:
        raise PacosError(f"{runs}: has {len(found)} folders {scenario}*; expected one, as HELM 0.5.16 writes it.")
    return found[0]


def _answers(runs: Path, scenario: str, task: str, asked: Asked) -> dict[str, str]:
    """By item id; PacosError where a request failed or a prompt was cut, which HELM counts like any other."""
    path = _run(runs, scenario) / "scenario_state.json"
    states = read_json(path, "state of HELM's scenario")["request_states"]
    require_all(
        task, [each["instance"]["id"] for each in states], asked.items if task == "instructions" else asked.questions
    )
    for what, bad in (
        ("requests failed", [each for each in states if not each["result"]["success"]]),
        ("prompts were truncated by HELM", [each for each in states if each.get("prompt_truncated")]),
    ):
        if bad:
            raise PacosError(f"{path}: {len(bad)} of {len(states)} {what}, the first is {bad[0]['instance']['id']}.")
    return {each["instance"]["id"]: each["result"]["completions"][0]["text"] for each in states}


def _scores(runs: Path, scenario: str, task: str, asked: Asked) -> list[HarnessScore]:
    """Means over the items. PacosError where HELM has none, or not of each: that ends with "Done", too."""
    folder = _run(runs, scenario)
    rows = len(asked.items if task == "instructions" else asked.questions)
    if not read_json(folder / "stats.json", "statistics of HELM"):
        raise PacosError(f"{folder / 'stats.json'}: HELM has no statistics at all, and says it is done; {_UNREAD}.")
    values: dict[str, list[float]] = {}
    for item in read_json(folder / "per_instance_stats.json", "statistics of HELM"):
        for stat in item["stats"]:
            if stat["name"]["name"] in _ABOUT and "perturbation" not in stat["name"]:
                values.setdefault(stat["name"]["name"], []).append(float(stat.get("mean", math.nan)))
    for metric, found in values.items():
        if len(found) != rows:
            raise PacosError(f"{folder}: HELM has {metric} of {len(found)} of {rows} items; {_UNREAD}.")
    grades = [grade for metric, found in values.items() if _ABOUT[metric] == _CRITIC for grade in found]
    if rows > 1 and len(set(grades)) == 1:
        raise PacosError(
            f"{folder}: the critic answered every question about every item alike (grade {grades[0]:.0f}), so it "
            "judges nothing; HELM takes an empty reply for A, the lowest grade. Give --judge another model."
        )
    wanted = values if task == "instructions" else {"exact_match": values["exact_match"]}
    return [
        HarnessScore(
            task,
            metric,
            _LETTER if task == "multiple_choice" else _ABOUT[metric],
            rows,
            mean(found),
            stdev(found) / math.sqrt(rows) if rows > 1 else None,
        )
        for metric, found in wanted.items()
    ]


_UNREAD = "the critic's replies were not one letter each. Give --judge a model that answers with one"
