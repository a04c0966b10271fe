"""Tülu's human evaluation: a spreadsheet of votes, and the instances that were judged as JSON Lines beside it."""

from collections.abc import Mapping
from pathlib import Path

from pacos.core.spreadsheet import read_rows
from pacos.core.typed import MisfitError
from pacos.evaluate.formats.records import name_of, rows_of, text_of
from pacos.evaluate.formats.votes import NamedVote, Reading
from pacos.evaluate.items import Item
from pacos.judging import Choice

CHOICES: Mapping[str, Choice] = {
    "a-is-better": "A", "a-is-slightly-better": "A", "tie": "tie", "b-is-slightly-better": "B", "b-is-better": "B",
}  # fmt: skip


def read_tulu(path: Path, reading: Reading) -> None:
    """Adds the votes of a spreadsheet in the order it has them, or the answers of a file of instances."""
    if path.suffix.lower() != ".xlsx":
        _read_instances(path, reading)
        return
    records = len(reading.votes)
    for number, row in enumerate(read_rows(path), start=1):
        records += 1
        try:
            reading.add(_vote(row, records))
        except MisfitError as misfit:
            reading.unreadable.append(f"{path}: record {number}: {misfit}")


def _vote(row: Mapping[str, str], record: int) -> NamedVote:
    a, b, word = name_of(row, "model_a"), name_of(row, "model_b"), text_of(row, "preference")
    if word not in CHOICES:
        raise MisfitError(f"has the preference {word[:40]!r}; expected one of {', '.join(CHOICES)}")
    if a == b:
        raise MisfitError(f"compares {a[:40]} with itself")
    item = Item(text_of(row, "instance_id"), "main", "", text_of(row, "prompt"), "", "")
    answers = row.get("completion_a", ""), row.get("completion_b", "")
    said = word if "slightly" in word else ""
    return NamedVote(item, name_of(row, "evaluator"), a, b, *answers, CHOICES[word], said=said, record=record)


def _read_instances(path: Path, reading: Reading) -> None:
    for where, row in rows_of(path, "Tülu instances", reading):
        try:
            item = Item(text_of(row, "id"), "main", "", text_of(row, "prompt"), "", "")
            completions = row.get("completions")
            if not isinstance(completions, list) or not all(isinstance(each, dict) for each in completions):
                raise MisfitError("has no list of completions")
            for each in completions:
                answer = each.get("completion")
                if not isinstance(answer, str):
                    raise MisfitError("has a completion without text")
                reading.add_answer(item, name_of(each, "model"), answer)
        except MisfitError as misfit:
            reading.unreadable.append(f"{where}: {misfit}")
