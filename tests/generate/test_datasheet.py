"""The datasheet answers for the very run it stands in: its numbers are those of the run's other files."""

import json
import re
from collections import Counter
from pathlib import Path

import pytest

from pacos.asking import Call, Totals
from pacos.core.recipe import load
from pacos.core.records import read_seed_tasks
from pacos.engines import Reply, Request, Sampling
from pacos.generate.datasheet import FILL_IN, UNKNOWN, write_datasheet
from pacos.generate.filters import MEANINGS
from pacos.generate.inputs import OWN_SEED_TASKS
from pacos.generate.modes import MODES
from pacos.generate.pool import Pool
from pacos.text import Contamination
from tests.generate.stage import generate, lines, overrides
from tests.servers.openai_server import OpenAIServer

SECTIONS = [
    "Motivation",
    "Composition",
    "Collection",
    "Preprocessing, cleaning and labelling",
    "Uses",
    "Distribution",
    "Maintenance",
]


def answers(sheet: str) -> dict[str, str]:
    """Question -> its answer."""
    parts = re.split(r"^\*\*(.+\?)\*\*$", re.sub(r"^## .*$", "", sheet, flags=re.M), flags=re.M)
    return {question: answer.strip() for question, answer in zip(parts[1::2], parts[2::2], strict=True)}


def table(answer: str) -> dict[str, int]:
    """First column -> the number in the second."""
    rows = re.findall(r"^\| `(.+?)` \| ([\d,]+)", answer, re.M)
    return {name: int(count.replace(",", "")) for name, count in rows}


def test_every_section_is_answered_with_the_runs_own_numbers(recipe_path: Path, tmp_path: Path) -> None:
    evaluation = tmp_path / "evaluation.json"
    with OpenAIServer() as server:
        # What the teacher is going to write is an evaluation question.
        generate(recipe_path, tmp_path / "first", overrides(server))
        kept = json.loads((tmp_path / "first" / "generate" / "dataset.json").read_text())
        evaluation.write_text(json.dumps(kept[:3]))
        settings = overrides(server, generate__decontaminate=json.dumps([str(evaluation)]))
        report = generate(recipe_path, tmp_path / "run", settings)
    folder = tmp_path / "run" / "generate"
    sheet = (folder / "datasheet.md").read_text()
    assert re.findall(r"^## (.*)$", sheet, re.M) == SECTIONS
    answered = answers(sheet)
    assert len(answered) > 30
    assert all(answered.values())
    rejected = lines(folder / "rejected.jsonl")
    assert table(answered["What was done to the data?"]) == Counter(line["rule"] for line in rejected)
    contaminated = [line for line in rejected if line["rule"] == "contaminated"]
    assert len(contaminated) >= 3
    assert table(answered["Were evaluation questions kept out?"]) == {str(evaluation): len(contaminated)}
    instruments = answered["With which instruments?"]
    assert f"{report.requests:,} replies, {report.prompt_tokens:,} tokens of prompts" in instruments
    assert server.base_url in answered["How did each record come about?"]
    assert "terms govern" in answered["Under which licence and terms?"]
    assert FILL_IN in answered["Who made it, and for whom?"]
    assert UNKNOWN in answered["Does it hold anything confidential?"]


def sheet_of(settings: list[str], recipe_path: Path, text: str) -> str:
    """The datasheet of a run whose teacher wrote this one reply."""
    recipe, seeds = load(recipe_path, settings), read_seed_tasks(OWN_SEED_TASKS)
    pool = Pool(MODES[recipe.generate.mode], seeds, 100, 0.7, Contamination())
    pool.take(Call(0, "", Request("0", "", Sampling(max_tokens=1))), Reply("0", text, "stop"))
    totals = Totals(1, 0.25, 0.0, 10, 20, 1.0, "2026-01-01T00:00:00Z", "2026-01-01T00:00:00Z", ("teacher",), ())
    return write_datasheet(recipe, "a teacher", "some seeds", len(seeds), pool, totals)


def test_defects_that_the_mode_lets_through_are_counted(recipe_path: Path) -> None:
    reply = (
        " Recite something of about ten words for me.\n4. Input:\nNone\n4. Output:\n\n###\n"
        "5. Instruction: Weigh up the pros and cons of trains.\n5. Input:\n<noinput>\n5. Output:\nThey are fine."
    )
    sheet = sheet_of(["generate.mode=alpaca"], recipe_path, reply)
    defects = table(answers(sheet)["What errors, noise and repetitions are known?"])
    assert defects == {"empty_output": 1, "no_input_spelling": 1}
    assert "0.2500 US dollars" in answers(sheet)["Who paid?"]
    assert "names no evaluation set" in answers(sheet)["Were evaluation questions kept out?"]


@pytest.mark.parametrize("engine", ["builtin", "http", "local"])
def test_each_kind_of_teacher_has_its_terms(recipe_path: Path, engine: str) -> None:
    reply = " Recite something of about ten words for me.\n4. Input:\n<noinput>\n4. Output:\nVery well, here it is."
    terms = answers(sheet_of([f"teacher.engine={engine}"], recipe_path, reply))["Under which licence and terms?"]
    assert ("Apache-2.0" in terms) == (engine == "builtin")
    assert ("not known to pacos" in terms) == (engine != "builtin")


def test_every_rule_of_every_mode_has_its_line() -> None:
    assert {rule.name for mode in MODES.values() for rule in mode.rules} <= set(MEANINGS)
