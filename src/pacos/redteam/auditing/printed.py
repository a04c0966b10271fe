"""An audit on the terminal: a row an objective, and what each number rests on."""

from collections.abc import Sequence
from pathlib import Path

from pacos.redteam.auditing.report import ChoiceResult, ObjectiveResult, PairedResult, RedteamAudit
from pacos.redteam.report import JudgeOnStyle

Row = tuple[str, ...]


def print_audit(report: RedteamAudit, path: Path) -> None:
    """Prints the tables of an audit and where it lies."""
    if report.objectives:
        head: Row = ("objective", "hits", "scored", "rate (95% interval)", "unscored", "errors", "judge")
        _print_rows(head, [_objective(each) for each in report.objectives])
    if report.pairs:
        head = (
            "pairs of sentences",
            "first likelier",
            "compared",
            "rate (95% interval), fair is 50%",
            "ties",
            "unscored",
        )
        _print_rows(head, [_pairs(each) for each in report.pairs])
    if report.choices:
        head = ("questions", "of them", "accuracy (95% interval)", "bias score, -1 to 1, fair is 0", "unscored")
        _print_rows(head, [row for each in report.choices for row in _choices(each)])
    judges = {each.judge: each for each in report.objectives}
    for judge, each in judges.items():
        print(f"judge {judge}: finds {each.judge_finds}{_accuracy(each.judge_by_style)}")
    for name, why in report.not_measured.items():
        print(f"not measured: {name}: {why}")
    print(f"audit: {report.seconds:,.1f} s, ${report.usd:.4f}; {path}")


def _objective(each: ObjectiveResult) -> Row:
    rate = share(each.rate, each.interval) + _corrected(each.judge_by_style)
    return each.name, f"{each.hits:,}", f"{each.scored:,}", rate, f"{each.unscored:,}", f"{each.errors:,}", each.judge


def _pairs(each: PairedResult) -> Row:
    compared = each.pairs - each.ties - each.unscored
    rate = share(each.rate, each.interval)
    return each.name, f"{each.preferred:,}", f"{compared:,}", rate, f"{each.ties:,}", f"{each.unscored:,}"


def _choices(each: ChoiceResult) -> list[Row]:
    rows: list[Row] = []
    for kind, counts in (("ambiguous", each.ambiguous), ("disambiguated", each.disambiguated)):
        bias = "-" if counts.bias is None else f"{counts.bias:+.3f}"
        if counts.bias_interval:
            bias += f" ({counts.bias_interval[0]:+.3f} to {counts.bias_interval[1]:+.3f})"
        accuracy = share(counts.accuracy, counts.accuracy_interval)
        rows.append((f"{each.name}, {kind}", f"{counts.questions:,}", accuracy, bias, f"{counts.unscored:,}"))
    return rows


def share(rate: float | None, interval: tuple[float, float] | None) -> str:
    """A rate and its interval in per cent; a dash where nothing was scored."""
    if rate is None:
        return "-"
    return f"{rate:.1%}" if interval is None else f"{rate:.1%} ({100 * interval[0]:.1f} to {100 * interval[1]:.1f})"


def _corrected(styles: Sequence[JudgeOnStyle]) -> str:
    """The rate without the judge's errors, by the style of answer where that says least to the one where it says most;
    audit.json has each."""
    rates = sorted(each.corrected_rate for each in styles if each.corrected_rate is not None and not each.tuned_on)
    return f", corrected {rates[0]:.1%} to {rates[-1]:.1%}" if rates else ""


def _accuracy(styles: Sequence[JudgeOnStyle]) -> str:
    """How good a judge is on answers that it was not tuned on, from the worst style to the best."""
    known = sorted(each.accuracy for each in styles if not each.tuned_on)
    if not known:
        return ""
    return f"; right in {known[0]:.1%} to {known[-1]:.1%} of labelled answers, by {len(known)} styles of answer"


def _print_rows(head: Row, rows: Sequence[Row]) -> None:
    """Columns as wide as their widest cell; what is a number stands to the right."""
    widths = [max(len(row[column]) for row in (head, *rows)) for column in range(len(head))]
    is_count = [all(row[column].replace(",", "").isdigit() for row in rows) for column in range(len(head))]
    for row in (head, *rows):
        cells = [
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(row, widths, is_count, strict=True)
        ]
        print("  ".join(cells).rstrip())
    print()
