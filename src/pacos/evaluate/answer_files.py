"""answers/LABEL.jsonl of an evaluation: what a model answered to each item."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pacos.core.errors import PacosError
from pacos.core.files import read_json_lines


@dataclass(frozen=True)
class Answer:
    """One model's answer to one item, as it came; `model_sha256` ties it to the weights that gave it."""

    item: str
    model_sha256: str
    text: str
    finish_reason: str
    completion_tokens: int
    seconds: float


Answers = Mapping[str, Mapping[str, Answer]]
"""Model label -> item id -> its answer."""


def read_answers(path: Path) -> list[Answer]:
    """A model's answers; PacosError for a line that is none."""
    return [_read(value, f"{path}:{number}") for number, value in read_json_lines(path, "answers")]


def _read(value: Any, where: str) -> Answer:
    try:
        answer = Answer(**value)
    except TypeError:
        answer = None
    if answer is None or not isinstance(answer.item, str) or not isinstance(answer.text, str):
        raise PacosError(
            f"{where}: not an answer as pacos writes it; expected an object with item, model_sha256, text, "
            "finish_reason, completion_tokens and seconds. Put the file back as it was, or give --run another folder."
        )
    return answer
