"""AlpacaEval's annotations and outputs: read vote by vote, and written as its leaderboard and `pacos leaderboard` read.

A row of annotations is one verdict, so that AlpacaEval's mean over rows is the win rate. Where a judge saw both orders
the row has the two votes besides, under names that AlpacaEval does not read.
"""

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pacos.core.errors import PacosError
from pacos.core.files import write_json
from pacos.core.typed import MisfitError
from pacos.evaluate.formats.records import file_name, name_of, rows_of, text_of
from pacos.evaluate.formats.votes import NamedVerdict, NamedVote, Reading, cells, orientation, verdict_of
from pacos.evaluate.items import Item, make_item
from pacos.evaluate.leaderboard.annotations import preference_of, shown_first
from pacos.judging import Choice

# The votes of one row by where the model's output was shown, on AlpacaEval's scale; null is unparsable.
BY_ORDER = {True: "preference_model_shown_first", False: "preference_model_shown_second"}
SHOWN_FIRST, SAID, IS_BLIND = "model_shown_first", "said", "is_blind"


def read_alpaca_eval(path: Path, reading: Reading) -> None:
    """Adds the votes of an annotations.json, or the answers of a file of model outputs."""
    records = len(reading.votes)
    for number, (where, row) in enumerate(rows_of(path, "AlpacaEval records", reading), start=1):
        records += 1
        try:
            if "preference" in row:
                for vote in _votes(row, path, number, records):
                    reading.add(vote)
            else:
                _read_output(row, path, reading)
        except MisfitError as misfit:
            reading.unreadable.append(f"{where}: {misfit}")
        except PacosError as error:
            reading.unreadable.append(str(error))


def _item(row: Mapping[str, Any]) -> Item:
    asked, given = text_of(row, "instruction"), str(row.get("input") or "")
    return make_item("main", str(row.get("dataset") or ""), asked, given, "")


def _read_output(row: Mapping[str, Any], path: Path, reading: Reading) -> None:
    if not isinstance(row.get("output"), str):
        raise MisfitError("has neither a preference, as an annotation, nor an output, as a model's")
    model = name_of(row, "generator") if row.get("generator") else path.parent.name
    if reading.add_answer(_item(row), model, row["output"]) != row["output"]:
        raise MisfitError(f"is a second answer of {model} to this instruction, and another one; the first counts")


def _votes(row: Mapping[str, Any], path: Path, number: int, record: int) -> Iterator[NamedVote]:
    item = _item(row)
    model, baseline = name_of(row, "generator_2"), name_of(row, "generator_1")
    voter = name_of(row, "annotator") if row.get("annotator") else path.parent.name
    if model == baseline:
        raise MisfitError(f"compares {model[:40]} with itself")
    outputs = [row.get(key) for key in ("output_2", "output_1")]
    if not all(isinstance(output, str) for output in outputs):
        raise MisfitError("has no text for output_1 or output_2")
    whole = preference_of(row["preference"], path, number)
    given: list[tuple[bool | None, float]] = [
        (is_first, preference_of(row[key], path, number)) for is_first, key in BY_ORDER.items() if key in row
    ]
    if not given:
        first = shown_first(dict(row), whole)
        given = [(None if math.isnan(first) else bool(first), whole)]
    for _, preference in given:
        if not (math.isnan(preference) or preference == 0 or 1 <= preference <= 2):
            raise MisfitError(f"has the preference {preference:g}; expected 1 to 2, 0 for a draw, or null")
    for model_first, preference in given:
        (a, b), (answer_a, answer_b) = (baseline, model), outputs[::-1]
        # 3 - x is exact for every x from 1 to 2.
        for_b = preference
        if model_first:
            (a, b), (answer_a, answer_b), for_b = (model, baseline), outputs, 3 - preference if preference else 0.0
        choice, graded = _choice(for_b)
        yield NamedVote(
            item, voter, a, b, str(answer_a), str(answer_b), choice, graded, str(row.get(SAID) or ""),
            model_first is not None, record, baseline, row.get(IS_BLIND) is not False,
        )  # fmt: skip


def _choice(preference: float) -> tuple[Choice, float | None]:
    """The choice, and the preference where it says more than that."""
    if math.isnan(preference):
        return "unparsable", None
    if preference in (0, 1.5):
        return "tie", None
    return "A" if preference < 1.5 else "B", None if preference in (1, 2) else preference


def write_alpaca_eval(reading: Reading, folder: Path) -> list[Path]:
    """Writes results/MODEL/model_outputs.json and results/MODEL/JUDGE/annotations.json; returns what was written."""
    written = []
    for model, given in reading.outputs.items():
        rows = [
            {
                "instruction": reading.items[item].asked, "output": text, "generator": model,
                "dataset": reading.items[item].kind or "pacos",
            }
            for item, text in given.items()
        ]  # fmt: skip
        written.append(folder / "results" / file_name(model) / "model_outputs.json")
        write_json(written[-1], rows)
    annotations: dict[tuple[str, str], list[dict[str, Any]]] = {}
    pairs = orientation(reading.votes)
    rivals = Counter(candidate for candidate, _ in pairs.values())
    for cell, records in cells(reading.votes).items():
        candidate, baseline = pairs[cell[1]]
        # AlpacaEval takes the mean of a file, which is of one baseline.
        judge = cell[2] if rivals[candidate] == 1 else f"{cell[2]} against {baseline}"
        rows = [_annotation(verdict_of(cell, pairs[cell[1]], votes), reading) for votes in records.values()]
        annotations.setdefault((candidate, judge), []).extend(rows)
    for (model, judge), rows in annotations.items():
        written.append(folder / "results" / file_name(model) / file_name(judge) / "annotations.json")
        write_json(written[-1], rows)
    return written


def _annotation(verdict: NamedVerdict, reading: Reading) -> dict[str, Any]:
    vote = verdict.votes[0]
    answers = {vote.model_a: vote.answer_a, vote.model_b: vote.answer_b}
    row = {
        "instruction": reading.items[verdict.item].asked,
        "output_1": answers[verdict.baseline], "generator_1": verdict.baseline,
        "dataset": reading.items[verdict.item].kind or "pacos",
        "output_2": answers[verdict.candidate], "generator_2": verdict.candidate,
        "annotator": verdict.voter,
        "preference": 1.5 if verdict.value == 0.5 else _scaled(verdict.votes, verdict.candidate),
    }  # fmt: skip
    if any(each.said for each in verdict.votes):
        row[SAID] = verdict.votes[0].said
    if not vote.is_blind:
        row[IS_BLIND] = False
    if len(verdict.votes) > 1:
        for each in verdict.votes:
            row[BY_ORDER[each.model_a == verdict.candidate]] = _scaled([each], verdict.candidate)
    elif vote.is_order_known:
        row[SHOWN_FIRST] = vote.model_a == verdict.candidate
    return row


def _scaled(votes: Sequence[NamedVote], candidate: str) -> float | None:
    """1 where the baseline wins to 2 where the candidate does; None where a vote is unparsable."""
    scaled = [_scaled_vote(vote, candidate) for vote in votes]
    told = [each for each in scaled if each is not None]
    return sum(told) / len(told) if len(told) == len(scaled) else None


def _scaled_vote(vote: NamedVote, candidate: str) -> float | None:
    if vote.choice == "unparsable":
        return None
    for_b = vote.preference if vote.preference is not None else {"A": 1.0, "B": 2.0, "tie": 1.5}[vote.choice]
    return for_b if vote.model_b == candidate else 3 - for_b
