"""Whether the judge saw the model's answer in a place that the instruction alone decides, and what that is worth."""

from collections.abc import Iterator, Sequence

import numpy as np

from pacos.evaluate.leaderboard.annotations import AnnotationSet, Floats
from pacos.evaluate.leaderboard.findings import LeaderboardFinding
from pacos.evaluate.leaderboard.folder import LeaderboardFolder

# Orders that agree so often among so many repeated items were not drawn: by chance, under one in a thousand times.
LEAST_AGREEMENT = 0.99
FEWEST_REPEATED = 10


def check_display_order(folder: LeaderboardFolder) -> Iterator[LeaderboardFinding]:
    """One finding a judge whose order is fixed by instruction, with its size in points."""
    table = {}
    if folder.items is not None:
        table = dict(zip(folder.items.keys, folder.items.shown_first.tolist(), strict=True))
    for annotated in folder.comparable():
        sets = [each for each in annotated if each.is_to_scale]
        keys = sorted({key for each in sets for key in each.keys})
        wins, orders = _grids(sets, keys)
        told = np.array([table.get(key, np.nan) for key in keys])
        seen = ~np.isnan(orders)
        counted = seen.sum(axis=0)
        first = np.nansum(orders, axis=0)
        repeated = int(np.maximum(counted - 1, 0).sum())
        if counted.any():
            agreeing = np.maximum(first, counted - first)[counted > 1].sum()
            if repeated < FEWEST_REPEATED or agreeing < LEAST_AGREEMENT * counted[counted > 1].sum():
                continue
            order = np.where(counted > 0, np.round(first / np.maximum(counted, 1)), told)
            source = f"{int((counted > 1).sum())} instructions have their orders recorded for more than one model"
            source += ", and always the same one"
        elif sets and not np.isnan(told).all():
            order, source = told, "the order is that of the instruction in derived/, as the annotations record none"
        else:
            continue
        yield _finding(folder, annotated[0].judge, sets, wins, order, source)


def _grids(sets: Sequence[AnnotationSet], keys: Sequence[str]) -> tuple[Floats, Floats]:
    """Wins and orders, a row a model and a column an item."""
    places = {key: place for place, key in enumerate(keys)}
    wins, orders = np.full((2, len(sets), len(keys)), np.nan)
    for row, annotated in enumerate(sets):
        columns = [places[key] for key in annotated.keys]
        wins[row, columns], orders[row, columns] = annotated.wins, annotated.shown_first
    return wins, orders


def _finding(
    folder: LeaderboardFolder,
    judge: str,
    sets: Sequence[AnnotationSet],
    wins: Floats,
    order: Floats,
    source: str,
) -> LeaderboardFinding:
    models = tuple(each.model for each in sets)
    told = (judge, folder.benchmark_of(judge, sets[0].baseline), int((~np.isnan(order)).sum()))
    first, second = (wins[:, order == place] for place in (1, 0))
    by_model = _means(first, 1) - _means(second, 1)
    # The baseline compared with itself draws in any order.
    counted = ~np.isnan(by_model) & (np.nanmax(wins, axis=1) > np.nanmin(wins, axis=1))
    # Models share the items, so items are what would be drawn anew.
    spreads = [half[~np.isnan(half)] for half in (_means(first[counted], 0), _means(second[counted], 0))]
    if not counted.any() or min(map(len, spreads)) < 2:
        place = "always first" if not (order == 0).any() else "always second" if not (order == 1).any() else "the same"
        return LeaderboardFinding("fixed-display-order", models, f"the model's place is {place}; {source}", *told)
    effect = 100 * float(by_model[counted].mean())
    error = 100 * float(np.sqrt(sum(half.var(ddof=1) / len(half) for half in spreads)))
    worse = int((by_model[counted] < 0).sum())
    chance = ", which chance may give" if abs(effect) < 2 * error else ""
    detail = (
        f"models shown first win {effect:+.1f} points (standard error {error:.1f}) against models shown second"
        f"{chance}; {worse} of {counted.sum()} models win less; {source}"
    )
    return LeaderboardFinding("fixed-display-order", models, detail, *told, effect=effect, standard_error=error)


def _means(grid: Floats, axis: int) -> Floats:
    """Means of what is there along an axis; NaN where nothing is."""
    counts = (~np.isnan(grid)).sum(axis=axis)
    means: Floats = np.full(counts.shape, np.nan)
    np.divide(np.nansum(grid, axis=axis), counts, out=means, where=counts > 0)
    return means
