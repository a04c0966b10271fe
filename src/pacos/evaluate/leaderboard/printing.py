"""What `pacos leaderboard` shows: aligned tables, and what they come to in sentences."""

import sys
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from pacos.evaluate.leaderboard.reproduction import LENGTH_CONTROLLED_TOLERANCE, RATE_TOLERANCE, ReproducedRow

# Of a pipe, which has no width, lines are as long as they are.
UNBOUNDED = 1000
MOST_NAMED = 12


def console() -> Console:
    """Standard output, whose tables are never cut in a pipe."""
    return Console(highlight=False, markup=False, width=None if sys.stdout.isatty() else UNBOUNDED)


def print_rows(rows: Sequence[ReproducedRow], unread: Sequence[str], seconds: float) -> None:
    """Prints the rows with annotations as a table, and what all rows come to."""
    screen = console()
    table = Table("", "model", "judge", box=None, pad_edge=False)
    for column in ("win rate", "error", "won", "lost", "drawn", "judged", "length-controlled", "refitted", "published"):
        table.add_column(column, justify="right")
    judged = [row for row in rows if row.source != "weights"]
    for row in judged:
        counts = (row.n_wins, row.n_wins_base, row.n_draws, row.n_total)
        rates = (row.length_controlled_winrate, row.refitted_length_controlled_winrate)
        table.add_row(
            f"AE{row.benchmark}" if row.benchmark else "-",
            row.model,
            row.judge,
            _rate(row.win_rate),
            _rate(row.standard_error),
            *("-" if count is None else str(count) for count in counts),
            *map(_rate, rates),
            {True: "equal", False: "differs", None: "-"}[row.is_equal],
        )
    if judged:
        screen.print(table)
    for line in (*_sums(rows), *_exceptions(rows), *unread):
        print(line)
    print(f"leaderboard: {len(rows)} rows in {seconds:.1f} s")


def _rate(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def _sums(rows: Sequence[ReproducedRow]) -> list[str]:
    lines = []
    for benchmark, judge in sorted({(row.benchmark or 0, row.judge) for row in rows}):
        own = [row for row in rows if row.judge == judge]
        compared = [row for row in own if row.is_equal is not None]
        if compared:
            equal = sum(bool(row.is_equal) for row in compared)
            title = f"AlpacaEval {benchmark}, {judge}" if benchmark else judge
            largest = max(map(deviation, compared))
            lines.append(
                f"{title}: {equal} of {len(compared)} published rows are what their annotations give: all counts, and win "
                f"rates and standard errors to {RATE_TOLERANCE:.0e} (largest deviation {largest:.1e})"
            )
    weighed = [
        row for row in rows if row.length_controlled_by == "published weights" and _published_lc(row) is not None
    ]
    if weighed:
        off = [row for row in weighed if _off(row, row.length_controlled_winrate) > LENGTH_CONTROLLED_TOLERANCE]
        positional = sum(row.joined_by_position for row in weighed)
        joined = f", {positional} of them only where difficulties are joined by row" * bool(positional)
        lines.append(
            f"length-controlled rates: {len(weighed) - len(off)} of {len(weighed)} are what the published weights "
            f"give, to {LENGTH_CONTROLLED_TOLERANCE:.0e}{joined}"
        )
    refits = [_off(row, row.refitted_length_controlled_winrate) for row in rows if _is_refit_known(row)]
    if refits:
        lines.append(
            f"refitted from annotations: {len(refits)} rates, {sum(refits) / len(refits):.3f} points from the "
            f"published on average and {max(refits):.3f} at most"
        )
    return lines


def deviation(row: ReproducedRow) -> float:
    """How far the win rate and its standard error are from the published ones, at most; 0 where nothing compares."""
    told = row.published or {}
    pairs = ((row.win_rate, told.get("win_rate")), (row.standard_error, told.get("standard_error")))
    return max((abs(a - b) for a, b in pairs if a is not None and b is not None), default=0.0)


def _published_lc(row: ReproducedRow) -> float | None:
    return (row.published or {}).get("length_controlled_winrate")


def _is_refit_known(row: ReproducedRow) -> bool:
    return row.refitted_length_controlled_winrate is not None and _published_lc(row) is not None


def _off(row: ReproducedRow, rate: float | None) -> float:
    told = _published_lc(row)
    return 0.0 if rate is None or told is None else abs(rate - told)


def _exceptions(rows: Sequence[ReproducedRow]) -> list[str]:
    """A line for each row that is not as published or lacks a number, saying why; rows with one reason share it."""
    by_reason: dict[str, list[str]] = {}
    for row in rows:
        differs = f"is {row.win_rate or 0:.6f}, published {(row.published or {}).get('win_rate', 0):.6f}"
        reason = "; ".join(filter(None, (differs if row.is_equal is False else "", row.reason)))
        if reason:
            by_reason.setdefault(reason, []).append(
                f"{row.model} by {row.judge}" if row.source != "weights" else row.model
            )
    return [f"{named(models)}: {reason}" for reason, models in by_reason.items()]


def named(names: Sequence[str]) -> str:
    """Names in a row, and how many more there are."""
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    return ", ".join(names[:MOST_NAMED]) + more
