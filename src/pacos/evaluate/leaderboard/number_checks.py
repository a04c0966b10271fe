"""Whether published numbers follow from what lies beside them, and stand on the scale of their column."""

import math
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from pacos.evaluate.leaderboard.annotations import AnnotationSet
from pacos.evaluate.leaderboard.findings import LeaderboardFinding
from pacos.evaluate.leaderboard.folder import LeaderboardFolder
from pacos.evaluate.leaderboard.published import PublishedTable
from pacos.evaluate.leaderboard.reproduction import LENGTH_CONTROLLED_TOLERANCE, ReproducedRow, reproduce

# A share among percentages: so many of the others are over one, and the value is so much under the least of them.
FEWEST_OTHERS = 3
SHARE_OF_OTHERS = 0.8
LEAST_GAP = 10


def check_numbers(folder: LeaderboardFolder) -> Iterator[LeaderboardFinding]:
    """Scale errors in tables and preferences, rows that their annotations do not give, and joins by position."""
    rows = reproduce(folder) if folder.annotations or folder.weights else []
    yield from _misjoined(rows)
    for annotated in folder.annotations:
        yield from _preference_scale(folder, annotated)
    told = set()
    for table in folder.tables:
        for finding in _table_scale(table):
            told.add((table.judge, *finding.models))
            yield finding
    for row in rows:
        if row.is_equal is False and (row.judge, row.model) not in told:
            yield _differing_row(row)
        yield from _old_weights(row)


def _misjoined(rows: Sequence[ReproducedRow]) -> Iterator[LeaderboardFinding]:
    misjoined = [row for row in rows if row.joined_by_position]
    if misjoined:
        names = tuple(row.model for row in misjoined)
        detail = (
            f"the length-controlled rates of {len(names)} models with dropped rows follow only where row i of what was "
            f"left takes the difficulty of item i: {', '.join(names)}"
        )
        yield LeaderboardFinding("misaligned-join", names, detail, misjoined[0].judge, misjoined[0].benchmark)


def _preference_scale(folder: LeaderboardFolder, annotated: AnnotationSet) -> Iterator[LeaderboardFinding]:
    given = annotated.preferences[~np.isnan(annotated.preferences)]
    zeros = int((given == 0).sum())
    # 0 marks a draw on the scale of 1 to 2, and is a loss on that of 0 to 1.
    is_share = len(given) >= FEWEST_OTHERS and given.max() <= 1 and 5 * zeros >= len(given)
    if len(given) and (is_share or not annotated.is_to_scale):
        detail = f"preferences are from {given.min():g} to {given.max():g}, {zeros} of {len(given)} are 0"
        detail += "; expected 1 (the baseline wins) to 2 (the model), and 0 for the few draws"
        benchmark = folder.benchmark_of(annotated.judge, annotated.baseline)
        models = (annotated.model,)
        yield LeaderboardFinding("scale-error", models, detail, annotated.judge, benchmark, len(given))


def _table_scale(table: PublishedTable) -> Iterator[LeaderboardFinding]:
    columns = {name for row in table.rows.values() for name in row}
    for column in sorted(columns):
        values = {model: row[column] for model, row in table.rows.items() if column in row}
        for model, value in _off_scale(values):
            others = [each for name, each in values.items() if name != model]
            detail = (
                f"{column} is {value:g} in {table.path.name}, where others are up to {max(others):g}: another scale"
            )
            yield LeaderboardFinding("scale-error", (model,), detail, table.judge, table.benchmark)
    for model, row in table.rows.items():
        total = row.get("n_total", 0)
        if not (total and {"win_rate", "n_wins", "n_draws"} <= row.keys()):
            continue
        implied, told = 100 * (row["n_wins"] + row["n_draws"] / 2) / total, row["win_rate"]
        if implied >= 5 and told <= 1 and 0.5 < 100 * told / implied < 2:
            detail = f"win_rate is {told:g} in {table.path.name}, and its counts say {implied:.1f}: another scale"
            yield LeaderboardFinding("scale-error", (model,), detail, table.judge, table.benchmark)


def _off_scale(values: Mapping[str, float]) -> Iterator[tuple[str, float]]:
    """Shares of one in a column of percentages, or percentages in one of shares."""
    numbers = np.array(list(values.values()))
    for factor in (100.0, 0.01):
        is_usual = numbers > 1 if factor > 1 else numbers <= 1
        usual = numbers[is_usual & (numbers > 0)]
        if len(usual) < FEWEST_OTHERS or is_usual.sum() < SHARE_OF_OTHERS * len(numbers):
            continue
        low, high = usual.min(), usual.max()
        for (model, value), belongs in zip(values.items(), is_usual, strict=True):
            gap = low / value if factor > 1 and value > 0 else value / high
            if not belongs and value > 0 and gap >= LEAST_GAP and low / 2 <= value * factor <= min(2 * high, 100):
                yield model, value


def _differing_row(row: ReproducedRow) -> LeaderboardFinding:
    published = row.published or {}
    told, own = published.get("win_rate", math.nan), row.win_rate or math.nan
    detail = f"the table has a win rate of {told:g}, and the annotations give {own:g}"
    if any(math.isclose(told * factor, own, rel_tol=1e-3) for factor in (100, 0.01)):
        return LeaderboardFinding("scale-error", (row.model,), f"{detail}: another scale", row.judge, row.benchmark)
    if math.isclose(told, own, abs_tol=1e-6):
        detail = "the table has the win rate that the annotations give, but another standard error or other counts"
    return LeaderboardFinding("table-differs", (row.model,), detail, row.judge, row.benchmark)


def _old_weights(row: ReproducedRow) -> Iterator[LeaderboardFinding]:
    told = (row.published or {}).get("length_controlled_winrate")
    if row.length_controlled_by != "published weights" or told is None or row.length_controlled_winrate is None:
        return
    off = row.length_controlled_winrate - told
    if abs(off) > LENGTH_CONTROLLED_TOLERANCE:
        yield LeaderboardFinding("old-weights", (row.model,), row.reason, row.judge, row.benchmark, effect=off)
