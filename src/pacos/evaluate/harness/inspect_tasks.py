"""The two sets as tasks of Inspect, which runs a copy of this file beside them: `inspect eval inspect_tasks.py`."""

import json
from pathlib import Path
from typing import Any

from inspect_ai import Task, task
from inspect_ai.dataset import Sample, json_dataset
from inspect_ai.model import GenerateConfig, get_model
from inspect_ai.scorer import choice, exact, f1, model_graded_qa
from inspect_ai.solver import generate, multiple_choice

HERE = Path(__file__).parent
SETTINGS = json.loads((HERE / "settings.json").read_text())
# "ANSWER: A", and room for a model that writes a word first.
CHOICE_TOKENS = 16


def _item(row: dict[str, Any]) -> Sample:
    # Without a reference answer a judge needs something to hold answers to.
    target = row["reference"] or "The submission does what the task asks for, and is correct."
    return Sample(id=row["id"], input=row["text"], target=target)


def _question(row: dict[str, Any]) -> Sample:
    return Sample(id=row["id"], input=row["question"], choices=row["choices"], target="ABCD"[row["answer"]])


@task  # type: ignore[untyped-decorator]
def pacos_instructions() -> Task:
    """Answers as they come, against reference answers, by a judge, or both."""
    scorers = [exact(), f1()] if SETTINGS["has_references"] else []
    if SETTINGS["judge"]:
        # Without an end of its own a small judge writes on until its context is full.
        asked = GenerateConfig(temperature=SETTINGS["judge_temperature"], max_tokens=SETTINGS["judge_max_tokens"])
        scorers.append(model_graded_qa(model=get_model(SETTINGS["judge"], config=asked)))
    return Task(
        dataset=json_dataset(str(HERE / "instructions.jsonl"), _item),
        solver=generate(),
        scorer=scorers,
        config=GenerateConfig(temperature=0.0, max_tokens=SETTINGS["max_tokens"]),
    )


@task  # type: ignore[untyped-decorator]
def pacos_multiple_choice() -> Task:
    """The letter of the right choice, written out."""
    return Task(
        dataset=json_dataset(str(HERE / "multiple_choice.jsonl"), _question),
        solver=multiple_choice(),
        scorer=choice(),
        config=GenerateConfig(temperature=0.0, max_tokens=CHOICE_TOKENS),
    )
