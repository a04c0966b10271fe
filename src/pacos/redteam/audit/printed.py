"""An audit on the terminal: a row an objective, and what each number rests on."""

from collections.abc import Sequence
from pathlib import Path

from pacos.redteam.audit.report import AuditReport, ObjectiveResult
from pacos.redteam.report import Counts


def print_audit(report: AuditReport, path: Path) -> None:
    """Prints the table of an audit and where it lies."""
    if report.objectives:
        _print_rows(
            ("objective", "hits", "scored", "rate (95% interval)", "unscored", "errors", "judge"),
            [_row(each) for each in report.objectives],
        )
    for name, why in report.not_measured.items():
        print(f"not measured: {name}: {why}")
    print(f"audit: {report.seconds:,.1f} s, ${report.usd:.4f}; {path}")


def _row(each: ObjectiveResult) -> tuple[str, ...]:
    return (
        each.name,
        f"{each.hits:,}",
        f"{each.scored:,}",
        rated(each),
        f"{each.unscored:,}",
        f"{each.errors:,}",
        each.judge,
    )


def rated(counts: Counts) -> str:
    """A rate and its interval in per cent; a dash where nothing was scored."""
    return share(counts.rate, counts.interval)


def share(rate: float | None, interval: tuple[float, float] | None) -> str:
    """As `rated`."""
    if rate is None:
        return "-"
    return f"{rate:.1%}" if interval is None else f"{rate:.1%} ({100 * interval[0]:.1f} to {100 * interval[1]:.1f})"


def _print_rows(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> None:
    """Columns as wide as their widest cell; what is a number stands to the right."""
    widths = [max(len(row[column]) for row in (head, *rows)) for column in range(len(head))]
    is_number = [all(row[column][:1] in "0123456789-" for row in rows) for column in range(len(head))]
    for row in (head, *rows):
        cells = [
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(row, widths, is_number, strict=True)
        ]
        print("  ".join(cells).rstrip())
