"""Contamination finds what gives an evaluation question away, in every format such sets come in."""

import json
from pathlib import Path

import pytest

from pacos.core.errors import PacosError
from pacos.core.records import Example
from pacos.text import Contamination

QUESTION = "Explain to a new employee why the meeting room must be booked two days ahead."
LONG = "The harbour master wrote that no boat may leave before the bell has rung three times in the evening fog."
PART = "boat may leave before the bell has rung three times in the evening"


@pytest.fixture
def guarded() -> Contamination:
    contamination = Contamination()
    contamination.add(Example(QUESTION, "", ""), "set.json")
    contamination.add(Example("Summarise the text.", LONG, ""), "set.json")
    contamination.add(Example("写一首关于春天和河流的短诗给我的老朋友。", "", ""), "set.json")
    return contamination


@pytest.mark.parametrize(
    ("example", "kind"),
    [
        (Example(QUESTION, "", "Because it is small."), "near"),
        (Example(QUESTION.upper().replace("TWO", "three"), "", "Because."), "near"),
        (Example("写一首关于春天和河流的短诗给我的老朋友吧。", "", "好"), "near"),
        (
            Example("Translate these lines into plain modern Spanish.", f"Years later they said: {PART}.", "…"),
            "overlap",
        ),
        (Example("Write a notice for sailors.", "", f"Notice! {PART}, says the mayor."), "overlap"),
    ],
)
def test_finds(guarded: Contamination, example: Example, kind: str) -> None:
    match = guarded.find(example)
    assert match is not None
    assert (match.kind, match.file) == (kind, "set.json")
    assert match.score > 0.7


@pytest.mark.parametrize(
    "example",
    [
        Example("Summarise the text.", "Bees live in hives and make honey from what they gather.", "Bees make honey."),
        Example("Explain to a child why the sky is blue.", "", "Light scatters."),
        Example("写一首关于冬天的诗。", "", "雪"),
        Example("", "", ""),
    ],
)
def test_leaves_other_examples_alone(guarded: Contamination, example: Example) -> None:
    assert guarded.find(example) is None


def test_reads_every_format(shared_data: Path, tmp_path: Path) -> None:
    own = tmp_path / "own.jsonl"
    own.write_text(json.dumps({"instruction": QUESTION, "output": ""}))
    paths = [
        shared_data / "self_instruct" / "user_oriented_instructions.jsonl",
        shared_data / "alpaca_eval" / "results" / "alpaca-7b" / "model_outputs.json",
        own,
    ]
    both = Contamination.read(paths)
    # The 252 are among AlpacaEval's 805, in one text with their inputs; some questions stand in either twice.
    assert 900 < len(both) <= 252 + 805 + 1
    for line in paths[0].read_text().splitlines()[:50]:
        record = json.loads(line)
        assert both.find(Example(record["instruction"], record["instances"][0]["input"], "x")) is not None
    for record in json.loads(paths[1].read_text())[:50]:
        assert both.find(Example(record["instruction"], "", "x")) is not None
    assert both.find(Example(QUESTION, "", "")) is not None


def test_a_bad_line_is_named(tmp_path: Path) -> None:
    path = tmp_path / "set.jsonl"
    path.write_text('{"instruction": "a", "instances": [{"input": ""}]}\n{"instruction": "b", "instances": 3}\n')
    with pytest.raises(PacosError, match=r"set\.jsonl:2: "):
        Contamination.read([path])
