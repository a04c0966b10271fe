"""`pacos leaderboard reproduce`: a leaderboard's numbers from its annotations, beside what was published."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import numpy as np

from pacos.evaluate.leaderboard.annotations import AnnotationSet, Floats
from pacos.evaluate.leaderboard.folder import BENCHMARKS, LeaderboardFolder, nothing_there
from pacos.evaluate.leaderboard.length_control import fit_weights, length_controlled_rate
from pacos.evaluate.leaderboard.published import BenchmarkItems, LengthControlWeights
from pacos.statistics import preference_win_rate

# Published tables are compared within these; rates are in percent.
RATE_TOLERANCE = 1e-6
LENGTH_CONTROLLED_TOLERANCE = 1e-7
REFIT_TOLERANCE = 0.12
LENGTH_CONTROLLED_BENCHMARK = BENCHMARKS[1]


@dataclass(frozen=True)
class ReproducedRow:
    """A model's numbers; rates in percent, None where what they need is missing."""

    model: str
    benchmark: int | None
    judge: str
    source: Literal["annotations", "matrix", "weights"]
    win_rate: float | None = None
    standard_error: float | None = None
    n_wins: int | None = None
    n_wins_base: int | None = None
    n_draws: int | None = None
    n_total: int | None = None
    length_controlled_winrate: float | None = None
    length_controlled_by: Literal["published weights", "refit"] | None = None
    joined_by_position: bool = False
    """Whether the published length-controlled rate follows only if row i of the annotations that were left takes the
    difficulty of item i, as AlpacaEval joins them."""
    refitted_length_controlled_winrate: float | None = None
    published: dict[str, float] | None = None
    """The published row's values under the names above; None where the model has no row."""
    is_equal: bool | None = None
    """Whether the published win rate, standard error and counts are these; None where there is nothing to compare."""
    baseline: str = ""
    """What the model was compared with, as the annotations name it."""
    reason: str = ""
    """Why a number is missing or is not the published one."""


class _LengthControlled(NamedTuple):
    rate: float | None
    by: Literal["published weights", "refit"] | None
    by_position: bool
    refitted: float | None
    reason: str


NOT_CONTROLLED = _LengthControlled(None, None, False, None, "")


def reproduce(folder: LeaderboardFolder) -> list[ReproducedRow]:
    """A row for each model and judge with annotations, and for each model of which only weights were published.

    Raises PacosError where there is no row.
    """
    rows = [_row(folder, annotated) for annotated in folder.annotations]
    judge = LENGTH_CONTROLLED_BENCHMARK.judge
    annotated_models = {annotated.model for annotated in folder.annotations if annotated.judge == judge}
    published = folder.published(judge)
    for model in folder.weights.keys() - annotated_models:
        if folder.items and model in published:
            values = published[model]
            controlled = _from_weights(folder, folder.items, model, None, values)
            rows.append(
                ReproducedRow(
                    model,
                    LENGTH_CONTROLLED_BENCHMARK.number,
                    judge,
                    "weights",
                    length_controlled_winrate=controlled.rate,
                    length_controlled_by=controlled.by,
                    joined_by_position=controlled.by_position,
                    published=_published(values),
                    reason=controlled.reason,
                )
            )
    if not rows:
        raise nothing_there(folder, "annotations")
    return sorted(rows, key=_order)


def _order(row: ReproducedRow) -> tuple[float, str, bool, float, str, str]:
    rate = row.length_controlled_winrate if row.win_rate is None else row.win_rate
    return row.benchmark or math.inf, row.judge, row.source == "weights", -(rate or 0.0), row.model, row.baseline


def _published(values: Mapping[str, float]) -> dict[str, float]:
    return {name: value for name, value in values.items() if name in ReproducedRow.__dataclass_fields__}


def _row(folder: LeaderboardFolder, annotated: AnnotationSet) -> ReproducedRow:
    benchmark = folder.benchmark_of(annotated.judge, annotated.baseline)
    source: Literal["annotations", "matrix"] = "matrix" if annotated.path.suffix == ".gz" else "annotations"
    values = folder.published(annotated.judge).get(annotated.model)
    if not annotated.is_to_scale:
        given = annotated.preferences[~np.isnan(annotated.preferences)]
        told = f"are from {given.min():g} to {given.max():g}" if len(given) else "are all missing"
        return ReproducedRow(
            annotated.model,
            benchmark,
            annotated.judge,
            source,
            published=_published(values) if values else None,
            baseline=annotated.baseline,
            reason=f"preferences {told}; expected 1 (the baseline wins) to 2 (the model), or 0 for a draw",
        )
    estimate = preference_win_rate(list(annotated.preferences))
    wins = annotated.wins[~np.isnan(annotated.wins)]
    error = None if math.isnan(estimate.standard_error) else 100 * estimate.standard_error
    controlled = _length_controlled(folder, annotated, values or {})
    row = ReproducedRow(
        annotated.model,
        benchmark,
        annotated.judge,
        source,
        100 * estimate.rate,
        error,
        n_wins=int((wins > 0.5).sum()),
        n_wins_base=int((wins < 0.5).sum()),
        n_draws=int((wins == 0.5).sum()),
        n_total=estimate.count,
        length_controlled_winrate=controlled.rate,
        length_controlled_by=controlled.by,
        joined_by_position=controlled.by_position,
        refitted_length_controlled_winrate=controlled.refitted,
        published=_published(values) if values else None,
        baseline=annotated.baseline,
        reason=controlled.reason,
    )
    return replace(row, is_equal=_is_equal(row, values)) if values else row


def _is_equal(row: ReproducedRow, published: Mapping[str, float]) -> bool | None:
    names = ("win_rate", "standard_error", "n_wins", "n_wins_base", "n_draws", "n_total")
    own = {name: getattr(row, name) for name in names}
    compared = [abs(own[n] - published[n]) <= RATE_TOLERANCE for n in names if own[n] is not None and n in published]
    return all(compared) if compared else None


def _length_controlled(
    folder: LeaderboardFolder, annotated: AnnotationSet, published: Mapping[str, float]
) -> _LengthControlled:
    """The rate by the published weights where there are any, else by the refit; the refit in any case."""
    if annotated.judge != LENGTH_CONTROLLED_BENCHMARK.judge:
        return NOT_CONTROLLED
    if folder.items is None:
        return NOT_CONTROLLED._replace(reason="no difficulties of the instructions in derived/, so no length control")
    places = {key: place for place, key in enumerate(folder.items.keys)}
    kept = ~np.isnan(annotated.preferences)
    where = [places.get(key) for key, is_kept in zip(annotated.keys, kept, strict=True) if is_kept]
    if unknown := where.count(None):
        return NOT_CONTROLLED._replace(
            reason=f"{unknown} of {len(where)} instructions have no difficulty in derived/, so no length control"
        )
    by_key = folder.items.difficulty[np.array(where, dtype=int)]
    own = _from_weights(folder, folder.items, annotated.model, by_key, published)
    # What was published was fitted with difficulties joined as the rate was.
    difficulty = folder.items.difficulty[: len(by_key)] if own.by_position else by_key
    fitted = _refit(folder, folder.items, annotated, kept, difficulty)
    refitted = None if fitted is None else length_controlled_rate(fitted, difficulty)
    if own.rate is None:
        return _LengthControlled(refitted, "refit" if fitted else None, False, refitted, own.reason)
    told = published.get("length_controlled_winrate")
    if refitted is None or told is None or own.by_position or not own.reason:
        return own._replace(refitted=refitted)
    right = "the refit gives what was published, so the weights are old"
    wrong = f"the refit gives {refitted:.4f}"
    return own._replace(
        refitted=refitted, reason=f"{own.reason}; {right if abs(refitted - told) <= REFIT_TOLERANCE else wrong}"
    )


def _from_weights(
    folder: LeaderboardFolder,
    items: BenchmarkItems,
    model: str,
    by_key: Floats | None,
    published: Mapping[str, float],
) -> _LengthControlled:
    """The rate by the published weights.

    `by_key` are the difficulties of the items judged; without annotations, all items are taken as judged, whatever
    their number. What was published may have taken the first n difficulties instead.
    """
    weights = folder.weights.get(model)
    if weights is None:
        return NOT_CONTROLLED
    told = published.get("length_controlled_winrate")
    count = int(published.get("n_total", len(items.keys))) if by_key is None else len(by_key)
    rate = length_controlled_rate(weights, items.difficulty if by_key is None else by_key)
    if told is None or abs(rate - told) <= LENGTH_CONTROLLED_TOLERANCE:
        return _LengthControlled(rate, "published weights", False, None, "")
    positional = length_controlled_rate(weights, items.difficulty[:count])
    if abs(positional - told) <= LENGTH_CONTROLLED_TOLERANCE:
        reason = f"difficulties were joined by row although {len(items.keys) - count} of {len(items.keys)} were dropped"
        reason += f"; joined by instruction the rate is {rate:.4f}" * (by_key is not None)
        return _LengthControlled(positional, "published weights", True, None, reason)
    reason = f"the published weights give {rate:.4f} and the table has {told:.4f}: one of them is old"
    return _LengthControlled(rate, "published weights", False, None, reason)


def _refit(
    folder: LeaderboardFolder, items: BenchmarkItems, annotated: AnnotationSet, kept: np.ndarray, difficulty: Floats
) -> LengthControlWeights | None:
    if folder.gamed_baselines is None:
        return None
    differences = (annotated.baseline_lengths - annotated.model_lengths)[kept]
    return fit_weights(annotated.wins[kept], differences, difficulty, folder.gamed_baselines, items.difficulty)
