"""`pacos generate --explain ID` through the command line: prompt, reply, verdicts and neighbours of one record."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.generate.stage import generate, lines, overrides
from tests.servers.openai_server import OpenAIServer


def explain(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pacos", "generate", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=60)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("explained")
    recipe = folder / "recipe.toml"
    recipe.write_text("")
    evaluation = folder / "questions.json"
    evaluation.write_text(json.dumps([{"instruction": "Explain the tides to a sailor.", "output": ""}]))
    with OpenAIServer() as server:
        keys = overrides(server, generate__num_examples=120, generate__decontaminate=f'["{evaluation}"]')
        generate(recipe, folder / "run", keys)
    return folder / "run"


def test_a_kept_record_is_told_with_its_prompt_reply_and_neighbours(finished: Path) -> None:
    record = lines(finished / "generate" / "dataset.jsonl")[100]
    told = explain("--explain", record["id"][:10], "--run", finished).stdout
    assert f"record {record['id']}: kept" in told
    assert "###\n1. Instruction: " in told
    assert record["instruction"] in told.split("-- reply")[1]
    verdicts = told.split("-- verdicts\n")[1].split("\n\n")[0].splitlines()
    assert {line.split()[0] for line in verdicts} == {"passes"}
    assert {"too_short", "contaminated", "not_novel"} <= {line.split()[1] for line in verdicts}
    nearest = told.split("-- nearest")[1].splitlines()[1]
    assert nearest.split("  ", 1) == [f"{record['similarity']:.4f}", " ".join(record["nearest"].split())]


@pytest.mark.parametrize("rule", ["not_novel", "blacklist_word", "too_short"])
def test_a_rejected_record_names_the_rule_it_breaks(finished: Path, rule: str) -> None:
    record = next(r for r in lines(finished / "generate" / "rejected.jsonl") if r["rule"] == rule)
    told = explain("--explain", record["id"], "--run", finished).stdout
    assert f"rejected by {rule}" in told
    assert f"BREAKS  {rule}" in told


def test_what_is_not_there_is_one_line(finished: Path, tmp_path: Path) -> None:
    for arguments, message in (
        (("--explain", "zzzz", "--run", finished), "no kept or rejected record has an id that begins with 'zzzz'"),
        (("--explain", "", "--run", finished), "records have ids that begin with ''"),
        (("--explain", "ab", "--run", tmp_path), "not a run folder"),
        (("--explain", "ab"), "which run?"),
        ((), "no recipe given"),
        (("--out", tmp_path), "belong to --audit FILE"),
        (("--audit", tmp_path / "x.json", "--explain", "ab"), "takes no recipe, no --run and no --explain"),
    ):
        result = explain(*arguments)
        assert result.returncode == 2
        assert message in result.stderr
        assert result.stderr.count("\n") == 1
