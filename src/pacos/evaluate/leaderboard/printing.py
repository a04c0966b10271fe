"""What `pacos leaderboard` shows: aligned tables, and what they come to in sentences."""

import sys
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from pacos.evaluate.leaderboard.findings import LeaderboardFinding
from pacos.evaluate.leaderboard.folder import BENCHMARKS
from pacos.evaluate.leaderboard.reproduction import LENGTH_CONTROLLED_TOLERANCE, RATE_TOLERANCE, ReproducedRow

# Of a pipe, which has no width, lines are as long as they are.
UNBOUNDED = 1000
NAME_WIDTH = 20


def console() -> Console:
    """Standard output, whose tables are never cut in a pipe."""
    return Console(highlight=False, markup=False, width=None if sys.stdout.isatty() else UNBOUNDED)


def print_rows(rows: Sequence[ReproducedRow], unread: Sequence[str], seconds: float) -> None:
    """Prints the rows with annotations as a table, and what all rows come to."""
    screen = console()
    judged = [row for row in rows if row.source != "weights"]
    # Most leaderboards have one baseline, which goes without saying.
    is_against = len({(row.judge, row.model) for row in judged}) < len(judged)
    table = Table("", "model", *["against"] * is_against, box=None, pad_edge=False)
    for column in ("win rate", "error", "won", "lost", "drawn", "judged", "length-controlled", "refitted", "published"):
        table.add_column(column, justify="right")
    for row in judged:
        counts = (row.n_wins, row.n_wins_base, row.n_draws, row.n_total)
        rates = (row.length_controlled_winrate, row.refitted_length_controlled_winrate)
        table.add_row(
            _judge(row.judge),
            row.model,
            *[row.baseline] * is_against,
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
    hidden = len(rows) - len(judged)
    told = f", {hidden} of them of published weights alone, which only --json shows," * bool(hidden)
    print(f"leaderboard: {len(rows)} row{'s' * (len(rows) != 1)}{told} in {seconds:.1f} s")


def _judge(name: str) -> str:
    return next((f"AE{each.number}" for each in BENCHMARKS if each.judge == name), name)


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
                f"{title}: {equal} of {len(compared)} published rows are what their annotations give: all counts, and "
                f"win rates and standard errors to {RATE_TOLERANCE:.0e} (largest deviation {largest:.1e})"
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
            by_reason.setdefault(reason, []).append(f"{row.model}, {_judge(row.judge)}")
    return [f"{'; '.join(models)}: {reason}" for reason, models in by_reason.items()]


def print_findings(findings: Sequence[LeaderboardFinding], seconds: float) -> None:
    """Prints the findings as a table."""
    table = Table("finding", box=None, pad_edge=False)
    # Room on a narrow screen goes to what was found.
    table.add_column("judge", overflow="fold", max_width=NAME_WIDTH)
    table.add_column("models", overflow="fold", max_width=NAME_WIDTH)
    table.add_column("items", justify="right")
    table.add_column("what", min_width=2 * NAME_WIDTH)
    for finding in findings:
        table.add_row(
            finding.kind,
            _judge(finding.judge) or "-",
            ", ".join(finding.models) if len(finding.models) < 3 else f"{len(finding.models)} models",
            "-" if finding.items is None else str(finding.items),
            finding.detail,
        )
    if findings:
        console().print(table)
    print(f"leaderboard: {len(findings) or 'no'} finding{'s' * (len(findings) != 1)} in {seconds:.1f} s")
