"""Other people's programs, unmodified, against a server of a real checkpoint."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

HARNESSES = Path(__file__).parents[2] / ".harnesses" / "bin"
QUESTIONS = [
    {"question": "the cat and the", "choices": [" dog", " fox", " words"], "answer": 0},
    {"question": "a list of", "choices": [" words", " more"], "answer": 1},
]


def run_harness(name: str, *arguments: str, folder: Path, **environment: str) -> str:
    """What the program says; it reaches no hub, and knows nothing of this machine's own settings."""
    program = HARNESSES / name
    if not program.exists():
        message = f"{name} is not installed: tools/harnesses.sh .harnesses"
        (pytest.fail if os.environ.get("CI") else pytest.skip)(message)
    offline = {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "HF_HOME": str(folder), "HOME": str(folder)}
    done = subprocess.run(
        [program, *arguments],
        cwd=folder,
        env={"PATH": os.environ["PATH"], "OPENAI_API_KEY": "none", **offline, **environment},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


def write_task(folder: Path, name: str, lines: str) -> None:
    (folder / "questions.jsonl").write_text("".join(json.dumps(each) + "\n" for each in QUESTIONS))
    (folder / f"{name}.yaml").write_text(
        f"task: {name}\ndataset_path: json\ndataset_kwargs: {{data_files: {folder}/questions.jsonl}}\n"
        'test_split: train\ndoc_to_text: "{{question}}"\ntarget_delimiter: ""\n' + lines
    )


def lm_eval(url: str, folder: Path, kind: str, path: str, task: str, *more: str) -> list[dict[str, Any]]:
    run_harness(
        "lm_eval", "--model", kind, "--model_args", f"model=model,base_url={url}/v1/{path},num_concurrent=2",
        "--include_path", str(folder), "--tasks", task, "--output_path", "out", "--log_samples", *more, folder=folder,
    )  # fmt: skip
    (samples,) = folder.glob(f"out/*/samples_{task}_*.jsonl")
    return [json.loads(line) for line in samples.read_text().splitlines()]


def test_lm_eval_scores_choices_by_their_log_likelihood(tiny_url: str, tiny_model: Path, tmp_path: Path) -> None:
    write_task(
        tmp_path, "choices", 'output_type: multiple_choice\ndoc_to_choice: "{{choices}}"\ndoc_to_target: answer\n'
    )
    samples = lm_eval(tiny_url, tmp_path, "local-completions", "completions", "choices", "--batch_size", "3")
    tokenizer, network = AutoTokenizer.from_pretrained(tiny_model), AutoModelForCausalLM.from_pretrained(tiny_model)
    assert len(samples) == len(QUESTIONS)
    for sample in samples:
        for choice, ((told, is_greedy),) in zip(sample["doc"]["choices"], sample["resps"], strict=True):
            context = tokenizer(sample["doc"]["question"])["input_ids"]
            ids = tokenizer(sample["doc"]["question"] + choice)["input_ids"]
            with torch.no_grad():
                logprobs = network(torch.tensor([ids])).logits[0].float().log_softmax(-1)
            places = range(len(context) - 1, len(ids) - 1)
            expected = sum(float(logprobs[at, ids[at + 1]]) for at in places)
            assert float(told) == pytest.approx(expected, abs=0.1)
            greedy = all(int(logprobs[at].argmax()) == ids[at + 1] for at in places)
            assert str(is_greedy) == str(greedy)


def test_lm_eval_generates_by_chat(tiny_url: str, tmp_path: Path) -> None:
    write_task(
        tmp_path,
        "writing",
        'output_type: generate_until\ndoc_to_target: "x"\ngeneration_kwargs: {until: ["q", "z"], max_gen_toks: 8}\n'
        "metric_list: [{metric: exact_match}]\n",
    )
    arguments = ("local-chat-completions", "chat/completions", "writing", "--apply_chat_template")
    samples = lm_eval(tiny_url, tmp_path, *arguments)
    assert len(samples) == len(QUESTIONS)
    assert all(isinstance(sample["resps"][0][0], str) for sample in samples)


def test_inspect_tells_a_prompt_that_is_too_long_from_a_fault(tiny_url: str, tmp_path: Path) -> None:
    (tmp_path / "task.py").write_text(
        "from inspect_ai import Task, task\n"
        "from inspect_ai.dataset import MemoryDataset, Sample\n"
        "from inspect_ai.scorer import includes\n"
        "from inspect_ai.solver import generate\n"
        "@task\n"
        "def two():\n"
        "    samples = [Sample(input='the fox', target='x'), Sample(input='word ' * 3000, target='x')]\n"
        "    return Task(dataset=MemoryDataset(samples), solver=generate(), scorer=includes())\n"
    )
    run_harness(
        "inspect", "eval", "task.py", "--model", "openai-api/pacos/model", "--max-tokens", "8", "--log-dir", "logs",
        "--log-format", "json", "--display", "none",
        folder=tmp_path, PACOS_BASE_URL=f"{tiny_url}/v1", PACOS_API_KEY="none",
    )  # fmt: skip
    (log,) = (tmp_path / "logs").glob("*.json")
    told = json.loads(log.read_text())
    assert told["status"] == "success"
    reasons = [sample["output"]["choices"][0]["stop_reason"] for sample in told["samples"]]
    assert reasons[0] in ("stop", "max_tokens")
    assert reasons[1] == "model_length"


@pytest.mark.parametrize("is_legacy", [False, True], ids=["chat", "completions"])
def test_llm_asks_and_streams(tiny_url: str, tmp_path: Path, is_legacy: bool) -> None:
    (tmp_path / "extra-openai-models.yaml").write_text(
        f"- {{model_id: mine, model_name: model, api_base: {tiny_url}/v1, completion: {str(is_legacy).lower()}}}\n"
    )
    options = ("--no-log", "-o", "temperature", "0", "-o", "max_tokens", "8")
    said = [
        run_harness("llm", "-m", "mine", "the fox", *options, *more, folder=tmp_path, LLM_USER_PATH=str(tmp_path))
        for more in ((), ("--no-stream",))
    ]
    assert said[0].strip()
    assert said[0] == said[1]
