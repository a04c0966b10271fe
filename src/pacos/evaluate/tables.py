"""The numbers on the terminal: one table a model, one a skill, and one line a judge."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table


def print_report(report: Mapping[str, Any], folder: Path) -> None:
    """Prints an evaluation report (as in report.json) and where it lies."""
    console = Console(highlight=False)
    labels = [*report["candidates"], report["baseline"]]
    if len(report["per_skill"]) > 1:
        console.print(_skill_table(report["per_skill"], labels))
    console.print(_summary(report, labels))
    for judge, effect in report["slot_effect"].items():
        rate = effect["first_shown_win_rate"]
        shown = "-" if rate is None else f"{rate:.1%} {_range(effect['interval'])}"
        console.print(f"{judge}: first-shown answer wins {shown} of {effect['votes']} decisive votes; 50% is fair")
    console.print(
        f"evaluate: {report['seconds']:,.1f} s, ${report['usd']:.2f}; {folder / 'report.json'}", soft_wrap=True
    )


def _skill_table(rows: Sequence[Mapping[str, Any]], labels: Sequence[str]) -> Table:
    table = Table("skill", title="exact match by skill (chance-corrected where guessing helps)", title_justify="left")
    for column in ("items", "chance", *labels):
        table.add_column(column, justify="right")
    for row in rows:
        chance = f"{row['chance']:.0%}" if row["chance"] else "-"
        cells = [_share(row, label) for label in labels]
        table.add_row(row["skill"], str(row["items"]), chance, *cells)
    return table


def _share(row: Mapping[str, Any], label: str) -> str:
    share = f"{row['exact_match'][label]:.0%}"
    return f"{share} ({row['chance_corrected'][label]:+.0%})" if row["chance"] else share


def _summary(report: Mapping[str, Any], labels: Sequence[str]) -> Table:
    table = Table("measure", title="with 95% intervals", title_justify="left")
    for column in ("items", *labels):
        table.add_column(column, justify="right")
    for name, key, items in (
        ("exact match", "exact_match", report["items"]),
        ("exact match, harder", "exact_match_harder", report["items_harder"]),
    ):
        rates, intervals = report[key], report[f"{key}_intervals"]
        if any(rate is not None for rate in rates.values()):
            table.add_row(name, str(items), *(f"{rates[m]:.1%} {_range(intervals[m])}" for m in labels))
    for label, sets in report["comparisons"].items():
        for set, compared in sets.items():
            if compared:
                cells = [_pairwise(compared) if m == label else "" for m in labels]
                name = "win rate, ties half" + (", harder" if set == "harder" else "")
                counted = compared["wins"] + compared["losses"] + compared["ties"]
                table.add_row(name, str(counted), *cells)
    return table


def _pairwise(compared: Mapping[str, Any]) -> str:
    counts = f"{compared['wins']}-{compared['losses']}-{compared['ties']}"
    unparsable = f", {compared['unparsable']} unparsable" if compared["unparsable"] else ""
    return f"{compared['win_rate']:.1%} {_range(compared['interval'])}\n{counts} (won-lost-tied{unparsable})"


def _range(interval: Sequence[float]) -> str:
    return f"({interval[0] * 100:.1f} to {interval[1] * 100:.1f})"
