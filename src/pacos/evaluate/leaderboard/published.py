"""What was published beside the annotations: tables, length-control weights, and tables derived from them."""

import csv
import io
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from pacos.core.errors import PacosError
from pacos.core.files import read_bytes, read_json
from pacos.core.unpacking import unpack
from pacos.evaluate.leaderboard.annotations import AnnotationSet, Floats


@dataclass(frozen=True)
class PublishedTable:
    """A leaderboard: `rows[model][column]`, of what can be read as a number."""

    path: Path
    judge: str
    benchmark: int | None
    """1 or 2 as in AlpacaEval 1 and 2, by the table's folder."""
    rows: Mapping[str, Mapping[str, float]]


class LengthControlWeights(NamedTuple):
    """A model's coefficients of length, instruction difficulty, and of being itself and not the baseline."""

    length: float
    difficulty: float
    model: float


@dataclass(frozen=True)
class BenchmarkItems:
    """The items of a benchmark in its own order."""

    keys: tuple[str, ...]
    difficulty: Floats
    shown_first: Floats
    baseline_lengths: Floats


@dataclass(frozen=True)
class GamedBaselines:
    """AlpacaEval's two length-gamed baselines, which every length-control fit holds against: two rows an item.

    Their preferences were not published; a fit needs only these sums over rows, times the rows' weight.
    """

    lengths: Floats
    """tanh of the standardised length difference; the verbose baseline's column, then the concise one's."""
    weighted_wins_by_length: float
    weighted_wins_by_difficulty: float
    row_weight: float
    inverse_penalty: float
    """C of the L1-penalised fit: the weakest penalty of the published grid."""


def read_columns(path: Path, what: str, needed: tuple[str, ...] = ()) -> tuple[list[str], list[list[str]]]:
    """A CSV file's header and rows, unpacked where it is gzip."""
    content, _ = unpack(path, read_bytes(path, what))
    try:
        header, *rows = csv.reader(io.StringIO(content.decode("utf-8-sig"), newline=""))
    except (ValueError, csv.Error) as error:
        reason = " ".join(str(error).split())[:80]
        raise PacosError(f"{path}: cannot be read as the {what} ({reason}); expected CSV, packed or not.") from None
    for number, row in enumerate(rows, start=2):
        if len(row) != len(header):
            raise PacosError(f"{path}:{number}: has {len(row)} cells where the header has {len(header)}; mend it.")
    if missing := [name for name in needed if name not in header]:
        raise PacosError(f"{path}: the {what} has no column {missing[0]!r}; expected {', '.join(needed)}.")
    return header, rows


def number(cell: str) -> float:
    """A cell as a number; NaN where it is none."""
    try:
        return float(cell)
    except ValueError:
        return math.nan


def read_table(path: Path) -> PublishedTable:
    """A leaderboard, models in the first column; its judge is in the name before _leaderboard, or the folder of one."""
    header, rows = read_columns(path, "leaderboard")
    table = {
        row[0]: {
            name: value for name, cell in zip(header[1:], row[1:], strict=True) if not math.isnan(value := number(cell))
        }
        for row in rows
        if row
    }
    ending = path.parent.name.rpartition("_")[2]
    benchmark = 2 if ending == "2" else 1 if path.parent.name.startswith("data_") else None
    judge = path.parent.name if path.stem == "leaderboard" else path.stem.removesuffix("_leaderboard")
    return PublishedTable(path, judge, benchmark, table)


def read_weights(path: Path) -> dict[str, LengthControlWeights]:
    """Published length-control weights by model, whose three columns stand in this order in every such file."""
    header, rows = read_columns(path, "length-control weights")
    if len(header) != 4:
        raise PacosError(f"{path}: has {len(header)} columns; expected a model and its three length-control weights.")
    weights = {row[0]: LengthControlWeights(*map(number, row[1:])) for row in rows}
    for model, own in weights.items():
        if any(map(math.isnan, own)):
            raise PacosError(f"{path}: a weight of {model} is no number; expected three. Mend or remove the row.")
    return weights


def read_items(path: Path) -> BenchmarkItems:
    """The benchmark's items: their difficulties, display order and the baseline's lengths."""
    columns = ("instruction_sha1", "instruction_difficulty", "model_shown_first", "baseline_len")
    header, rows = read_columns(path, "table of instructions", columns)
    keys, *numbers = ([row[header.index(name)] for row in rows] for name in columns)
    items = BenchmarkItems(tuple(keys), *(np.array(list(map(number, column))) for column in numbers))
    if np.isnan(items.difficulty).any():
        place = int(np.isnan(items.difficulty).argmax()) + 2
        raise PacosError(f"{path}:{place}: instruction_difficulty is no number; expected one for each instruction.")
    return items


def read_gamed_baselines(lengths: Path, sums: Path) -> GamedBaselines:
    """The two baselines' lengths from a CSV file, and the sums from a JSON file beside it."""
    columns = ("tanh_std_delta_len_verbose", "tanh_std_delta_len_concise")
    header, rows = read_columns(lengths, "lengths of the gamed baselines", columns)
    values = np.array([[number(row[header.index(name)]) for name in columns] for row in rows])
    told = read_json(sums, "sums of the gamed baselines")
    try:
        of_length, of_difficulty, weight, grid = (told[k] for k in ("T_tanh", "T_gamma", "row_weight", "C_grid"))
        return GamedBaselines(values, float(of_length), float(of_difficulty), float(weight), float(max(grid)))
    except (KeyError, TypeError, ValueError) as error:
        raise PacosError(
            f"{sums}: lacks or misstates {error}; expected T_tanh, T_gamma, row_weight and C_grid as numbers."
        ) from None


def read_matrix(preferences: Path, lengths: Path, judge: str, items: BenchmarkItems) -> list[AnnotationSet]:
    """The annotations in a preference matrix: a row an item in the benchmark's order, a column a model."""
    header, rows = read_columns(preferences, "preference matrix")
    length_header, length_rows = read_columns(lengths, "matrix of output lengths")
    if length_header != header or not len(rows) == len(length_rows) == len(items.keys):
        raise PacosError(
            f"{preferences}: has {len(rows)} items and {len(header) - 1} models, {lengths.name} has {len(length_rows)} "
            f"and {len(length_header) - 1}, and the benchmark {len(items.keys)} items; expected the same of all."
        )
    values, model_lengths = (np.array([[number(c) for c in row[1:]] for row in table]) for table in (rows, length_rows))
    nowhere = np.full(len(rows), math.nan)
    return [
        AnnotationSet(
            model, judge, preferences, items.keys, values[:, j], model_lengths[:, j], items.baseline_lengths, nowhere
        )
        for j, model in enumerate(header[1:])
    ]
