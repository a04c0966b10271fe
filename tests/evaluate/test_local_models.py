"""The stage with checkpoints on this machine: what they are asked, and what a kill or a long wait leaves to see."""

import json
import re
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from pacos.core.prompts import chat_template
from tests.conftest import ROOT

# Says of each answer when the stage has taken it.
DRIVER = """
import sys
from pathlib import Path
from pacos.core.recipe import load
from pacos.core.run_folder import RunFolder
from pacos.engines.local.engine import LocalEngine
from pacos.evaluate.run import run
complete = LocalEngine.complete
async def told(self, requests, stop=None):
    async for answer in complete(self, requests, stop):
        yield answer
        print("student" if "train/model" in self.path else "base", answer.id, flush=True)
LocalEngine.complete = told
recipe = load(sys.argv[1], sys.argv[3:])
with RunFolder(Path(sys.argv[2]), recipe) as folder:
    run(recipe, folder)
"""
NUM_ITEMS = 40


@pytest.fixture
def questions(tmp_path: Path) -> Path:
    path = tmp_path / "items.json"
    items = [{"instruction": f"Say {n}{' again' * (n % 9)}.", "input": "", "output": f"{n}"} for n in range(NUM_ITEMS)]
    path.write_text(json.dumps(items))
    return path


@pytest.fixture
def process(recipe_for: Any, trained: Path, tmp_path: Path) -> Callable[..., subprocess.Popen[str]]:
    def start(*overrides: str) -> subprocess.Popen[str]:
        recipe_for()
        command = [sys.executable, "-c", DRIVER, str(tmp_path / "test.toml"), str(trained), *overrides]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT)

    return start


def taken(text: str) -> set[tuple[str, str]]:
    return {(model, item) for model, item in re.findall(r"^(student|base) (\w+)$", text, re.M)}


def in_ledger(run: Path) -> set[tuple[str, str]]:
    items = [json.loads(line)["id"] for line in (run / "evaluate" / "items.jsonl").read_text().splitlines()]
    with closing(sqlite3.connect(run / "evaluate" / "ledger.sqlite")) as ledger:
        rows = ledger.execute("select role, number from replies where role like 'candidate %'").fetchall()
    return {(role.removeprefix("candidate "), items[number]) for role, number in rows}


def test_a_kill_loses_no_answer_that_had_ended_and_none_is_asked_again(
    process: Any, questions: Path, trained: Path, tiny_model: Path
) -> None:
    settings = (f"train.base={tiny_model}", f"evaluate.instructions={questions}", "evaluate.max_tokens=120")
    with process(*settings) as child:
        first = "".join(child.stdout.readline() for _ in range(5))
        child.kill()
        first += child.stdout.read()
    before = in_ledger(trained)
    assert 5 <= len(taken(first)) <= len(before) < 2 * NUM_ITEMS
    assert taken(first) <= before
    with process(*settings) as child:
        second, errors = child.communicate(timeout=300)
    assert child.returncode == 0, errors
    assert not taken(second) & before
    assert len(taken(second) | before) == 2 * NUM_ITEMS


def test_a_plain_line_counts_tokens_before_the_first_answer(process: Any, questions: Path, endless_model: Path) -> None:
    with process(
        f"train.base={endless_model}", f"evaluate.instructions={questions}", "evaluate.max_tokens=150000"
    ) as child:
        line = next((line for line in child.stderr if line.startswith("answers of base")), "")
        child.kill()
    assert re.fullmatch(rf"answers of base: 0/{NUM_ITEMS} answers, [1-9][\d,]* tokens written, [\d,]+/s\n", line)


def test_a_checkpoint_of_the_recipe_is_asked_and_judges_as_any_other_whatever_its_api(
    evaluate_in: Any, recipe_for: Any, questions: Path, trained: Path, tiny_model: Path, tmp_path: Path
) -> None:
    student = tmp_path / "student-of-one-turn"
    shutil.copytree(tiny_model, student)
    (student / "chat_template.jinja").write_text(chat_template())
    report = evaluate_in(
        recipe_for(
            "engines.templated.engine=local", f"engines.templated.path={student}",
            "engines.bare.engine=local", f"engines.bare.path={tiny_model}", "engines.bare.max_tokens=20",
            f"evaluate.instructions={questions}", "evaluate.max_tokens=8",
            'evaluate.candidates=["templated", "bare"]', 'evaluate.judges=["bare"]',
        )
    )  # fmt: skip
    texts = {
        name: [
            json.loads(line)["text"] for line in (trained / f"evaluate/answers/{name}.jsonl").read_text().splitlines()
        ]
        for name in ("templated", "bare", "base")
    }
    assert texts["templated"] == texts["bare"] == texts["base"]
    # A judge that babbles was asked all the same, and gave no verdict.
    assert report.pairwise.unparsable == report.items == NUM_ITEMS
