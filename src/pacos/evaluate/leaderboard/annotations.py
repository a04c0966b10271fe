"""A model's outputs and a judge's annotations of them, column by column, from the records of AlpacaEval's files."""

import json
import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha1
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pacos.core.data_files import read_data_file
from pacos.core.errors import PacosError

Floats = NDArray[np.float64]
SHOWN_FIRST = ("model_shown_first", "is_switched_outputs")
_FIRST_TOKEN = re.compile(r"""["']top_logprobs["']:\s*\[(.*?\})\s*\]""", re.S)
_LOGPROB = re.compile(
    r"""["']token["']:\s*["']([mM])["'],(?:\s*["']bytes["']:[^\]]*\],)?\s*["']logprob["']:\s*["']?(-?[\d.]+(?:e-?\d+)?)"""
)


@dataclass(frozen=True)
class OutputSet:
    """What one model answered; `keys` name the items."""

    model: str
    path: Path
    keys: tuple[str, ...]
    outputs: tuple[str, ...]


@dataclass(frozen=True)
class AnnotationSet:
    """One judge's preferences for one model over the baseline: 1 = the baseline wins, 2 = the model, NaN = no verdict.

    Outputs are None where they are not there, as in a preference matrix, which has only lengths. `shown_first` is 1
    where the judge saw the model's output first, 0 where second, and NaN where that is not told.
    """

    model: str
    judge: str
    path: Path
    keys: tuple[str, ...]
    preferences: Floats
    model_lengths: Floats
    baseline_lengths: Floats
    shown_first: Floats
    baseline: str = ""
    judged_as: str = ""
    """The name that the records give the model, which need not be its folder's."""
    model_outputs: tuple[str, ...] | None = None
    baseline_outputs: tuple[str, ...] | None = None

    @property
    def wins(self) -> Floats:
        """0 to 1 an item, with AlpacaEval's mark for a draw (0) as a half; NaN where there is no verdict."""
        return np.where(self.preferences == 0, 0.5, self.preferences - 1)

    @property
    def is_to_scale(self) -> bool:
        """Whether every verdict is a draw's 0 or lies between 1 and 2, and some verdict is not 0."""
        given = self.preferences[~np.isnan(self.preferences)]
        between = (given >= 1) & (given <= 2)
        return bool(np.all(between | (given == 0)) and np.any(between))


def item_key(instruction: str, item_input: str = "") -> str:
    """The item's name in every table: the SHA-1 of its text."""
    return sha1((f"{instruction}\n\n{item_input}" if item_input else instruction).encode()).hexdigest()


def read_outputs(path: Path, model: str | None) -> list[OutputSet]:
    """The outputs in a file, of the model named, or else of each that the records name as their generator."""
    records = _records(path, "model outputs", ("instruction", "output"))
    groups = _by_model(records, model, "generator", path)
    return [
        OutputSet(name, path, tuple(map(_key, rows)), tuple(_text(row["output"]) for row in rows))
        for name, rows in groups.items()
    ]


def read_annotations(path: Path, model: str | None) -> list[AnnotationSet]:
    """The annotations in a file, by model as in `read_outputs` and by judge."""
    records = _records(path, "annotations", ("instruction", "preference"))
    sets = []
    for name, rows in _by_model(records, model, "generator_2", path).items():
        by_judge: dict[str, list[dict[str, Any]]] = {}
        for row in rows:
            by_judge.setdefault(_text(row.get("annotator")) or path.parent.name, []).append(row)
        sets += [_annotation_set(name, judge, path, judged) for judge, judged in by_judge.items()]
    return sets


def _records(path: Path, what: str, columns: Sequence[str]) -> list[dict[str, Any]]:
    data = read_data_file(path, what)
    if data.broken:
        number, reason = data.broken[0]
        raise PacosError(f"{path}:{number}: {reason}; {len(data.broken)} such in the {what}. Mend or remove them.")
    if not data.values:
        raise PacosError(
            f"{path}: the {what} have no record; expected one an item. Fetch the file again, or remove it."
        )
    for number, value in data.values:
        missing = [name for name in columns if name not in value] if isinstance(value, dict) else ["objects"]
        if missing:
            raise PacosError(
                f"{path}: {data.unit} {number} of the {what} has no {missing[0]}; expected {', '.join(columns)}. "
                "Rename the columns, or take the file out of the folder."
            )
    return [value for _, value in data.values]


def _by_model(records: list[dict[str, Any]], model: str | None, column: str, path: Path) -> dict[str, Any]:
    if model is not None:
        return {model: records}
    groups: dict[str, Any] = {}
    for number, record in enumerate(records, start=1):
        if not (name := _text(record.get(column))):
            raise PacosError(
                f"{path}: record {number} has no {column}, and the file lies in no model's folder; put it into "
                "results/MODEL, or name the model there."
            )
        groups.setdefault(name, []).append(record)
    return groups


def _annotation_set(model: str, judge: str, path: Path, rows: list[dict[str, Any]]) -> AnnotationSet:
    models, baselines = (_column(rows, f"output_{number}") for number in (2, 1))
    preferences = np.array([preference_of(row["preference"], path, n) for n, row in enumerate(rows, start=1)])
    return AnnotationSet(
        model,
        judge,
        path,
        tuple(map(_key, rows)),
        preferences,
        _lengths(models, len(rows)),
        _lengths(baselines, len(rows)),
        np.array([shown_first(row, preference) for row, preference in zip(rows, preferences, strict=True)]),
        _most_frequent(_text(row.get("generator_1")) for row in rows),
        _most_frequent(_text(row.get("generator_2")) for row in rows),
        models,
        baselines,
    )


def _column(rows: list[dict[str, Any]], name: str) -> tuple[str, ...] | None:
    return tuple(_text(row[name]) for row in rows) if all(name in row for row in rows) else None


def _lengths(texts: tuple[str, ...] | None, count: int) -> Floats:
    return np.full(count, math.nan) if texts is None else np.array(list(map(len, texts)), dtype=float)


def _key(record: dict[str, Any]) -> str:
    return item_key(_text(record["instruction"]), _text(record.get("input")))


def _text(value: Any) -> str:
    return "" if value is None else str(value)


def _most_frequent(names: Iterable[str]) -> str:
    listed = list(names)
    return max(sorted(set(listed)), key=listed.count, default="")


def preference_of(value: Any, path: Path, number: int) -> float:
    """An annotation's preference, NaN where there is none; PacosError where it is no number."""
    if value is None or str(value).strip().lower() in ("", "nan", "none", "null"):
        return math.nan
    try:
        return float(str(value))
    except ValueError:
        raise PacosError(
            f"{path}: record {number} has the preference {str(value)[:40]!r}; expected a number: 1 where the baseline "
            "wins, 2 where the model does, between them where unsure. Mend it, or set it to null."
        ) from None


def shown_first(record: dict[str, Any], preference: float) -> float:
    """Whether the model's output was, 1, 0 or NaN: as a column says it, or else as the judge's log-probabilities and
    the preference tell.

    AlpacaEval's weighted judges answer m for the output shown first and M for the other. The preference is
    2 - P(m) / (P(m) + P(M)) where the baseline was shown first, and 1 + P(m) / (P(m) + P(M)) where the model was.
    """
    for name in SHOWN_FIRST:
        if isinstance(record.get(name), bool):
            return float(record[name])
    raw = record.get("raw_completion")
    first = _FIRST_TOKEN.search(raw if isinstance(raw, str) else json.dumps(raw, default=str)) if raw else None
    if first is None or math.isnan(preference):
        return math.nan
    chances = {token: math.exp(float(logprob)) for token, logprob in _LOGPROB.findall(first.group(1))}
    if not (total := sum(chances.values())):
        return math.nan
    first_wins = chances.get("m", 0.0) / total
    off_if_second, off_if_first = abs(preference - 2 + first_wins), abs(preference - 1 - first_wins)
    # Neither fits where the preference is not made of these log-probabilities, both where the judge is undecided.
    if min(off_if_first, off_if_second) > 1e-3 or abs(off_if_first - off_if_second) < 1e-6:
        return math.nan
    return float(off_if_first < off_if_second)
