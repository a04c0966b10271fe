"""Other harnesses, unmodified and offline, on a run's model: `pacos harness NAME RUN`."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from pacos.core.errors import PacosError
from pacos.core.files import write_json_lines
from pacos.core.models import MINI
from pacos.core.recipe import Recipe, load_run
from pacos.core.run_folder import RunFolder
from pacos.evaluate.harness.report import HarnessReport, HarnessScore, read, read_all
from pacos.evaluate.harness.run import run as measure
from pacos.evaluate.report import EvaluateReport
from tests.conftest import ROOT, missing_part
from tests.evaluate.judge_server import judge_server

HARNESSES = ROOT / ".harnesses"
# HELM needs a compiler and a minute to install, so it is tried where somebody made this environment: docs/harnesses.md.
HELM = Path(os.environ.get("PACOS_HELM") or ROOT / ".helm")
ITEMS = [
    ("Name the animal.", "the quick brown fox"),
    ("Write a list.", ""),
    ("Say {{instruction}} in one word.\n\nDo it now.", "a\n\nb"),
    ("Greet the reader.", ""),
    ("Sum up what follows.", "word " * 3000),
]
# What a harness might take for more than text.
LIST = "[1, 2]"


def harness(name: str, run: Path, *arguments: object) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "pacos", "harness", name, run, *arguments]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(list(map(str, command)), capture_output=True, text=True, env=environment, timeout=900)


def installed(program: str) -> tuple[str, Path]:
    if not (HARNESSES / "bin" / program).exists():
        missing_part(f"{program} is not installed: tools/harnesses.sh .harnesses")
    return "--environment", HARNESSES


def by_metric(report: HarnessReport) -> dict[tuple[str, str], HarnessScore]:
    return {(score.task, score.metric): score for score in report.scores}


@pytest.fixture
def evaluated(
    tmp_path: Path,
    trained: Path,
    recipe_for: Callable[..., Recipe],
    evaluate_in: Callable[[Recipe], EvaluateReport],
) -> Path:
    """A run whose evaluation has asked the items, the last of which is too long for the model; of the others' reference
    answers one is the student's own, one a part of it, and one looks like a list."""
    # One whose answers have words in them.
    (trained / "train" / "model").unlink()
    (trained / "train" / "model").symlink_to(MINI)
    path = tmp_path / "items.jsonl"
    recipe = recipe_for(f"evaluate.instructions={path}", "evaluate.max_tokens=12")
    rows = [{"instruction": instruction, "input": given, "output": "Words."} for instruction, given in ITEMS]
    write_json_lines(path, rows)
    evaluate_in(recipe)
    answers = [
        json.loads(line)["text"] for line in (trained / "evaluate/answers/student.jsonl").read_text().splitlines()
    ]
    shutil.rmtree(trained / "evaluate")
    outputs = [answers[0].strip() + ".", LIST, "fox " + answers[2], "Hello, reader!", "Words."]
    write_json_lines(path, [row | {"output": output} for row, output in zip(rows, outputs, strict=True)])
    evaluate_in(recipe)
    return trained


def test_lm_eval_and_pacos_measure_the_same_on_the_same_answers(evaluated: Path) -> None:
    done = harness("lm-eval", evaluated, *installed("lm_eval"), "--limit", 8)
    assert done.returncode == 0, done.stderr
    (report,) = read_all(evaluated)
    assert (report.harness, report.version, report.model) == ("lm-eval", "0.4.13", "student")
    scores = by_metric(report)
    assert set(scores) == {
        ("instructions", "exact_match"),
        ("instructions", "rougeL"),
        ("multiple_choice", "acc"),
        ("multiple_choice", "acc_norm"),
    }
    for metric in ("exact_match", "rougeL"):
        score = scores["instructions", metric]
        assert score.items == 4
        assert 0 < score.value < 1
        assert score.value == pytest.approx(score.same_answers, abs=1e-9)
    # The one item with an empty line in its instruction is another question by chat.
    disagreement = scores["instructions", "rougeL"].disagreement
    assert not disagreement or disagreement.endswith("1 of 4 answers are other ones."), disagreement
    assert scores["multiple_choice", "acc"].items == 8
    assert "the model holds 1,024: 'Sum up what follows.'" in report.left_out[0]
    assert "1 of the instructions have an empty line" in report.notes[0]

    again = harness("lm-eval", evaluated, "--limit", 8)
    assert (again.returncode, "done before" in again.stdout) == (0, True)
    other = harness("lm-eval", evaluated, "--limit", 7)
    assert other.returncode == 2
    assert "items was 4 instructions, 8 questions, is now 4 instructions, 7 questions" in other.stderr


def test_inspect_measures_with_a_judge_and_a_judge_that_does_not_grade_is_a_failure(evaluated: Path) -> None:
    environment = installed("inspect")
    with judge_server(lambda prompt: "It was a pleasant evening.") as url:
        failed = harness("inspect", evaluated, *environment, "--limit", 4, "--judge", f"http:{url}")
    assert failed.returncode == 2
    assert len(failed.stderr.strip().splitlines()) == 1
    assert "model_graded_qa has no score for 4 of 4 samples" in failed.stderr
    assert read_all(evaluated) == []

    with judge_server(lambda prompt: "GRADE: C" if "[Task]: Name the" in prompt else "GRADE: I") as url:
        done = harness("inspect", evaluated, *environment, "--limit", 4, "--judge", f"http:{url}")
    assert done.returncode == 0, done.stderr
    scores = by_metric(read(evaluated / "harness" / "inspect"))
    assert scores["instructions", "model_graded_qa"].value == 0.25
    assert {("instructions", "exact"), ("instructions", "f1"), ("multiple_choice", "choice")} < set(scores)


def letters(prompt: str) -> str:
    return "ABCDE"[len(prompt) % 5]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("judge", "line"),
    [
        (letters, ""),
        (lambda prompt: "The answer is good.", "HELM's statistics are empty, none of the critic"),
        (lambda prompt: " ", "answered every question about every item alike (grade 1)"),
    ],
    ids=["letters", "prose", "nothing"],
)
def test_helm_measures_with_a_critic(evaluated: Path, judge: Callable[[str], str], line: str) -> None:
    if not (HELM / "bin" / "helm-run").exists():
        pytest.skip("HELM is not installed: docs/harnesses.md")
    with judge_server(judge) as url:
        done = harness("helm", evaluated, "--environment", HELM, "--limit", 4, "--judge", f"http:{url}")
    if line:
        assert done.returncode == 2
        assert line in done.stderr
        assert read_all(evaluated) == []
        return
    assert done.returncode == 0, done.stderr
    scores = by_metric(read(evaluated / "harness" / "helm"))
    assert 1 < scores["instructions", "Helpfulness"].value < 5
    assert scores["instructions", "rouge_l"].items == 4
    assert scores["multiple_choice", "exact_match"].items == 4
    state = next((evaluated / "harness" / "helm").glob("benchmark_output/runs/pacos/pacos_inst*/scenario_state.json"))
    prompts = [each["request"]["prompt"] for each in json.loads(state.read_text())["request_states"]]
    assert "Name the animal.\n\nthe quick brown fox" in prompts


def test_where_a_harness_is_not_installed_its_files_and_commands_are_there(evaluated: Path, tmp_path: Path) -> None:
    told = {}
    for name, file in (("lm-eval", "tasks/instructions.yaml"), ("inspect", "inspect_tasks.py"), ("helm", "prod_env")):
        done = harness(name, evaluated, "--environment", tmp_path / "none")
        assert done.returncode == 2
        assert f"harness {name}: {tmp_path / 'none'}: no such folder; expected an environment" in done.stdout
        assert (evaluated / "harness" / name / file).exists()
        assert not (evaluated / "harness" / name / "report.json").exists()
        told[name] = done.stdout
    assert 'pip install "lm-eval[api]==0.4.13"' in told["lm-eval"]
    assert "lm_eval --model local-chat-completions" in told["lm-eval"]
    assert "inspect eval inspect_tasks.py" in told["inspect"]
    assert "helm-run --run-entries pacos_instructions:" in told["helm"]


def broken(folder: Path, name: str, script: str) -> Path:
    """An environment whose package is there, and whose program does what the script says."""
    shutil.copytree(HARNESSES / "bin", folder / "bin", symlinks=True, ignore=lambda _, names: {*names} - {"python"})
    program = folder / "bin" / name
    program.write_text(f"#!{HARNESSES / 'bin' / 'python'}\n{script}\n")
    program.chmod(0o755)
    return folder


@pytest.mark.parametrize(
    ("script", "line"),
    [
        ("import no_such_package", "exit code 1: ModuleNotFoundError: No module named 'no_such_package'"),
        ("raise SystemExit(0)", "has 0 files */samples_*.jsonl; expected one, as lm-eval 0.4.13 writes it"),
    ],
)
def test_a_broken_harness_is_one_line(evaluated: Path, tmp_path: Path, script: str, line: str) -> None:
    installed("lm_eval")
    done = harness("lm-eval", evaluated, "--environment", broken(tmp_path / "env", "lm_eval", script), "--limit", 2)
    assert done.returncode == 2
    assert line in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert read_all(evaluated) == []


def test_a_program_without_its_package_is_one_line(evaluated: Path, tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "helm-run").write_text(f"#!{sys.executable}\n")
    (tmp_path / "bin" / "helm-run").chmod(0o755)
    done = harness("helm", evaluated, "--environment", tmp_path)
    assert done.returncode == 2
    assert "installed but broken" in done.stderr
    assert "crfm-helm" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_judges_that_no_harness_can_ask_are_refused(evaluated: Path) -> None:
    done = harness("inspect", evaluated, "--judge", "builtin:judge")
    assert done.returncode == 2
    assert "is no server" in done.stderr
    assert not (evaluated / "harness").exists()


def test_a_run_that_has_asked_nothing_is_refused(trained: Path, recipe_for: Callable[..., Recipe]) -> None:
    RunFolder(trained, recipe_for()).record_recipe()
    done = harness("lm-eval", trained)
    assert done.returncode == 2
    assert "--instructions FILE" in done.stderr


# A program in HELM's place that leaves the files of a good measurement, but for one fault.
FAULTY = """
import json, pathlib, sys
fault = sys.argv[1]
for name in ("instructions", "multiple_choice"):
    rows = [json.loads(line) for line in open(f"{name}.jsonl")]
    folder = pathlib.Path("benchmark_output/runs/pacos") / f"pacos_{name}:model=pacos_student"
    folder.mkdir(parents=True)
    states = [
        {"instance": {"id": row["id"]}, "result": {"success": True, "completions": [{"text": "A"}]},
         "prompt_truncated": False}
        for row in rows
    ]
    stats = [{"name": {"name": "exact_match", "split": "test"}, "count": 1, "mean": 0.5}]
    items = [{"instance_id": row["id"], "stats": stats} for row in rows]
    exec(fault)
    files = {"scenario_state": {"request_states": states}, "stats": stats, "per_instance_stats": items}
    for file, value in files.items():
        (folder / f"{file}.json").write_text(json.dumps(value))
print("Done.")
"""


@pytest.mark.parametrize(
    ("fault", "line"),
    [
        ("", ""),
        ("stats = []", "HELM's statistics are empty, none at all"),
        ("items.pop()", "HELM has exact_match of 3 of 4 items"),
        ("states[1]['prompt_truncated'] = True", "1 of 4 prompts were truncated by HELM"),
        ("states[1]['result'] = {'success': False, 'completions': []}", "1 of 4 requests failed"),
        ("del stats[0]['mean']", "exact_match of the instructions is nan"),
        ("states = [{}]", "not of the form that pacos reads (KeyError: 'instance')"),
    ],
)
def test_what_a_harness_calls_done_is_a_failure(evaluated: Path, tmp_path: Path, fault: str, line: str) -> None:
    environment = tmp_path / "env" / "bin"
    environment.mkdir(parents=True)
    (tmp_path / "faulty.py").write_text(FAULTY)
    command = f'exec {sys.executable} {tmp_path / "faulty.py"} "{fault}"'
    for name, script in (("helm-run", command), ("python", "echo 0.5.16")):
        (environment / name).write_text(f"#!/bin/sh\n{script}\n")
        (environment / name).chmod(0o755)
    with RunFolder(evaluated, load_run(evaluated)) as run_folder:
        if line:
            with pytest.raises(PacosError) as refused:
                measure("helm", run_folder, environment.parent, limit=4)
            assert line in str(refused.value)
            assert "\n" not in str(refused.value)
            assert read_all(evaluated) == []
        else:
            measure("helm", run_folder, environment.parent, limit=4)
            assert {score.value for score in read(evaluated / "harness" / "helm").scores} == {0.5}
