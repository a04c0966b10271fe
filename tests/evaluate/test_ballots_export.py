"""`pacos ballots export`: a run's answers and votes as the harnesses themselves read them, vote by vote."""

import json
import os
import subprocess
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2
import pytest
from typer.testing import CliRunner

from pacos.cli.main import app
from pacos.core.files import sha256_file
from pacos.core.prompts import render_prompt
from pacos.evaluate.formats.kept_votes import read_folder
from pacos.evaluate.formats.scored import vote_row
from pacos.evaluate.formats.votes import Reading
from tests.conftest import ROOT, missing_part
from tests.evaluate.annotating import Annotator, annotate, serving
from tests.evaluate.test_old_databases import make_old

READ_INSPECT = """
import json, sys
from inspect_ai.log import list_eval_logs, read_eval_log
for info in list_eval_logs(sys.argv[1]):
    log = read_eval_log(info)
    print(json.dumps({
        "model": log.eval.model, "status": log.status,
        "means": {s.name: s.metrics["mean"].value for s in log.results.scores},
        "samples": [[s.id, s.input, s.output.completion, s.target, s.metadata["votes"],
                     {k: v.as_float() for k, v in s.scores.items()}] for s in log.samples],
    }))
"""
READ_LM_EVAL = """
import json, sys
from glob import glob
from lm_eval.utils import get_results_filenames, get_sample_results_filenames, hash_string, make_table
for file in get_results_filenames(glob(sys.argv[1] + "/*/*")):
    results = json.load(open(file))
    make_table(results)
    (path,) = get_sample_results_filenames(glob(file.rsplit("/", 1)[0] + "/*"))
    samples = [json.loads(line) for line in open(path)]
    for s in samples:
        assert s["doc_hash"] == hash_string(json.dumps(s["doc"], indent=2, ensure_ascii=False))
    print(json.dumps({
        "model": results["model_name"], "status": "success",
        "means": {k.split(",")[0]: v for k, v in results["results"]["pacos"].items() if k.endswith("none")},
        "samples": [[s["doc"]["id"], s["arguments"]["gen_args_0"]["arg_0"], s["filtered_resps"][0], s["target"],
                     s["doc"]["votes"], {m: s[m] for m in s["metrics"]}] for s in samples],
    }))
"""


def export(run: Path, target: str, out: Path) -> str:
    result = CliRunner().invoke(app, ["ballots", "export", str(run), "--format", target, "--out", str(out)])
    return str(result.exception) if result.exit_code else result.output


def reproduced(folder: Path) -> list[dict[str, Any]]:
    """The rows of `pacos leaderboard reproduce`."""
    file = folder.parent / "rows.json"
    result = CliRunner().invoke(app, ["leaderboard", "reproduce", str(folder), "--json", str(file)])
    assert result.exit_code == 0, result.output
    return list(json.loads(file.read_text()))


def harness(code: str, folder: Path) -> list[dict[str, Any]]:
    """What a harness's own reader finds in the folder."""
    python = ROOT / ".harnesses" / "bin" / "python"
    if not python.exists():
        missing_part("the harnesses are not installed: tools/harnesses.sh .harnesses")
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder.parent), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run([python, "-c", code, folder], capture_output=True, text=True, env=environment, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


@pytest.fixture
def judged(
    tmp_path: Path, engines: Any, recipe_for: Any, evaluate_in: Any, trained: Path, fair_judge: Any, monkeypatch: Any
) -> Path:
    """A finished run on ten items with known answers: the student knows five, the base two, and a fair judge."""
    path = tmp_path / "items.json"
    path.write_text(
        json.dumps([{"instruction": f"Say {n}.", "input": f"in {n}" * (n % 2), "output": f"{n}"} for n in range(10)])
    )

    def knows(*numbers: int) -> Callable[[str], str]:
        return lambda prompt: next((f"{n}" for n in numbers if f"Say {n}." in prompt), "no idea")

    engines(knows(0, 1, 2, 3, 4), knows(4, 5), fair_judge).install(monkeypatch)
    evaluate_in(recipe_for(f"evaluate.instructions={path}"))
    return trained


def vote_a(run: Path) -> None:
    """Two people vote for the first answer they see, each time; one takes a vote back and ties. Then it is closed."""
    with serving(run, "--annotators", 2) as served, httpx2.Client(timeout=20) as client:
        for number, link in served.links.items():
            annotator = Annotator(client, link)
            annotator.begin()
            for cast in range(1000):
                annotator.page()
                if not (showing := annotator.showing()):
                    break
                annotator.post("vote", showing=showing, choice="bad" if cast == number else "A")
    # While it is open nobody's vote leaves it.
    assert {vote.voter for vote in read_folder(run).votes} == {"builtin:judge"}
    assert annotate(run, "--close").returncode == 0


def test_every_harness_reads_the_answers_scores_and_votes_of_a_run(judged: Path, tmp_path: Path) -> None:
    vote_a(judged)
    reading = read_folder(judged)
    people = [vote for vote in reading.votes if vote.voter.startswith("annotator")]
    log = (judged / "evaluate" / "annotation" / "votes.jsonl").read_text().splitlines()
    assert len(people) == sum(not json.loads(line)["attention"] for line in log)
    assert len(reading.votes) == 20 + len(people)
    assert {vote.said for vote in people} == {"", "bad"}
    for target, code in (("inspect", READ_INSPECT), ("lm-eval", READ_LM_EVAL)):
        assert "2 models" in export(judged, target, tmp_path / target)
        logs = {each["model"].removeprefix("pacos/"): each for each in harness(code, tmp_path / target)}
        assert logs.keys() == {"student", "base"}
        check_logs(logs, reading)
        # Judges and people are apart, as in the reports.
        for score, report in (("win_rate", "evaluate"), ("win_rate_people", "evaluate/annotation")):
            figures = json.loads((judged / report / "report.json").read_text())
            figure = (figures["pairwise"] if score == "win_rate" else figures["main"])["win_rate"]
            assert logs["student"]["means"][score] == pytest.approx(figure)


def test_reading_leaves_a_finished_evaluation_as_it_is_one_of_an_older_pacos_too(judged: Path, tmp_path: Path) -> None:
    evaluate = judged / "evaluate"
    votes = read_folder(judged).votes
    make_old(evaluate / "ballots.sqlite", "ballots", "votes", "preference")
    done = json.loads((evaluate / "done.json").read_text())
    done["outputs"]["ballots.sqlite"] = sha256_file(evaluate / "ballots.sqlite")
    (evaluate / "done.json").write_text(json.dumps(done))
    before = {path: sha256_file(path) for path in evaluate.rglob("*") if path.is_file()}
    for target in ("alpaca-eval", "helm", "inspect", "lm-eval"):
        assert "20 votes" in export(judged, target, tmp_path / target)
    # What stands in for these stages has no report to show.
    for stage in ("generate", "train"):
        (judged / stage / "done.json").unlink()
    result = CliRunner().invoke(app, ["report", str(judged)])
    assert result.exit_code == 0, result.output
    assert read_folder(judged).votes == votes
    assert {path: sha256_file(path) for path in evaluate.rglob("*") if path.is_file()} == before


def check_logs(logs: dict[str, Any], reading: Reading) -> None:
    """Each log has its model's answers and scores, and every vote stands in the two logs that it is of."""
    assert logs["student"]["means"]["exact_match"] == 0.5
    assert logs["base"]["means"]["exact_match"] == pytest.approx(0.2)
    wins = [log["means"]["win_rate"] for log in logs.values()]
    assert sum(wins) == pytest.approx(1)
    found: Counter[str] = Counter()
    for model, log in logs.items():
        assert log["status"] == "success"
        for item, asked, answer, target, votes, scores in log["samples"]:
            known = reading.items[item]
            assert asked == f"{known.instruction}\n\n{known.input}".strip()
            assert (answer, target) == (reading.outputs[model][item], known.reference)
            assert scores["exact_match"] == float(answer == target)
            found.update(json.dumps([item, vote]) for vote in votes)
    assert found == Counter(json.dumps([vote.item.id, vote_row(vote)]) for vote in reading.votes for _ in range(2))


def test_alpaca_evals_leaderboard_gives_the_runs_own_win_rate(judged: Path, tmp_path: Path) -> None:
    report = json.loads((judged / "evaluate" / "report.json").read_text())
    export(judged, "alpaca-eval", tmp_path / "out")
    (row,) = reproduced(tmp_path / "out")
    pairwise = report["pairwise"]
    assert row["win_rate"] == pytest.approx(100 * pairwise["win_rate"])
    assert [row[key] for key in ("n_wins", "n_wins_base", "n_draws")] == [
        pairwise[k] for k in ("wins", "losses", "ties")
    ]
    audit = CliRunner().invoke(app, ["leaderboard", "audit", str(tmp_path / "out")])
    assert audit.exit_code == 0
    assert "judged-text" not in audit.output


def test_main_and_harder_items_go_out_apart_with_the_reports_figures(
    tmp_path: Path, engines: Any, recipe_for: Any, evaluate_in: Any, trained: Path, fair_judge: Any, monkeypatch: Any
) -> None:
    answers: dict[str, str] = {}

    def student(prompt: str) -> str:
        """Knows the main items alone, so that the two rates differ."""
        if not answers:
            items = map(json.loads, (trained / "evaluate" / "items.jsonl").read_text().splitlines())
            answers.update(
                (render_prompt(each["instruction"], each["input"]), each["reference"])
                for each in items
                if each["set"] == "main"
            )
        return answers.get(prompt, "no idea")

    engines(student, lambda prompt: "no idea", fair_judge).install(monkeypatch)
    report = evaluate_in(recipe_for("evaluate.items_per_skill=2"))
    told = export(trained, "alpaca-eval", tmp_path / "out")
    export(trained, "lm-eval", tmp_path / "lm")
    comparison = report.comparisons["student"]
    assert comparison.harder
    assert comparison.main.win_rate != comparison.harder.win_rate
    for name, compared in (("main", comparison.main), ("harder", comparison.harder)):
        assert f"{compared.judged:,} {name} items; {tmp_path / 'out' / name}" in told
        assert f"pacos leaderboard reproduce {tmp_path / 'out' / name}" in told
        (row,) = reproduced(tmp_path / "out" / name)
        assert row["win_rate"] == pytest.approx(100 * (compared.win_rate or 0))
        assert row["n_total"] == compared.judged
        (results,) = (tmp_path / "lm" / name / "student").glob("results_*.json")
        scores = json.loads(results.read_text())["results"]["pacos"]
        assert scores["win_rate,none"] == pytest.approx(compared.win_rate)


def test_an_export_with_several_baselines_is_read_by_the_command_that_is_named(tmp_path: Path) -> None:
    """One judge compares two models with two baselines, with one of them on fewer items and on one twice."""
    rows = [
        {
            "instruction": f"Do {n}.", "output_1": f"{baseline} {n}", "generator_1": baseline, "annotator": "one",
            "output_2": f"{model} {n}", "generator_2": model, "preference": 2 if n < won else 1,
        }
        for model, baseline, won in (("oak", "elm", 3), ("oak", "ash", 8), ("larch", "ash", 5))
        for n in range(10 if baseline == "ash" else 9)
    ]  # fmt: skip
    (tmp_path / "annotations.json").write_text(json.dumps([*rows, rows[0]]))
    command = ["ballots", "import", str(tmp_path / "annotations.json"), "--format", "alpaca-eval", "--out"]
    assert CliRunner().invoke(app, [*command, str(tmp_path / "votes")]).exit_code == 0
    export(tmp_path / "votes", "alpaca-eval", tmp_path / "out")
    found = {(row["model"], row["baseline"]): row["win_rate"] for row in reproduced(tmp_path / "out")}
    assert found == {("oak", "elm"): pytest.approx(40), ("oak", "ash"): 80, ("larch", "ash"): 50}
    printed = CliRunner().invoke(app, ["leaderboard", "reproduce", str(tmp_path / "out")]).output
    assert "against" in printed
    assert "remove one of them" not in printed
    audit = CliRunner().invoke(app, ["leaderboard", "audit", str(tmp_path / "out")]).output
    assert "1 instruction stands in the annotations against elm more than once (1 row too many)" in audit
    assert "1 of 1 models lack verdicts on some of 10 items against elm: oak 1" in audit
    assert "missing-or-unreadable" not in audit


def test_alpaca_evals_own_library_agrees(judged: Path, tmp_path: Path) -> None:
    metrics = pytest.importorskip("alpaca_eval.metrics")
    export(judged, "alpaca-eval", tmp_path / "out")
    (path,) = (tmp_path / "out").rglob("annotations.json")
    pairwise = json.loads((judged / "evaluate" / "report.json").read_text())["pairwise"]
    assert metrics.get_winrate(json.loads(path.read_text()))["win_rate"] == pytest.approx(100 * pairwise["win_rate"])


def test_helms_files_hold_every_answer_score_and_vote(judged: Path, tmp_path: Path) -> None:
    reading = read_folder(judged)
    assert "helm-summarize" in export(judged, "helm", tmp_path / "out")
    logs = {}
    for folder in (tmp_path / "out" / "benchmark_output" / "runs" / "pacos").iterdir():
        state = json.loads((folder / "scenario_state.json").read_text())
        stats = {each["name"]["name"]: each for each in json.loads((folder / "stats.json").read_text())}
        per_instance = json.loads((folder / "per_instance_stats.json").read_text())
        assert json.loads((folder / "run_spec.json").read_text())["name"] == folder.name
        samples = [
            [
                one["instance"]["id"], one["instance"]["input"]["text"], one["result"]["completions"][0]["text"],
                one["instance"]["references"][0]["output"]["text"], one["annotations"]["pacos"]["votes"],
                {stat["name"]["name"]: stat["mean"] for stat in scored["stats"]},
            ]
            for one, scored in zip(state["request_states"], per_instance, strict=True)
        ]  # fmt: skip
        model = folder.name.removeprefix("pacos:model=pacos_")
        means = {name: stat["mean"] for name, stat in stats.items()}
        logs[model] = {"status": "success", "means": means, "samples": samples}
    check_logs(logs, reading)


def test_refusals_are_one_line(judged: Path, tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").write_text("")
    assert "not empty; nothing is overwritten" in export(judged, "helm", tmp_path / "full")
    assert "no such run folder" in export(tmp_path / "none", "helm", tmp_path / "out")
    (judged / "evaluate" / "done.json").unlink()
    assert "evaluate stage is not finished" in export(judged, "helm", tmp_path / "out")
    assert not (tmp_path / "out").exists()
