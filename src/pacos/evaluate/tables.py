"""The numbers on the terminal: one table a model, one a skill, and one line a judge."""

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from pacos.evaluate.report import EvaluateReport, Measurement, Pairwise, SkillRow

# A longer table would push what matters off the screen.
MOST_SKILLS = 10
PROMPTS = {"chat": "its chat template", "alpaca": "Alpaca's prompt", "raw": "plain text"}


def print_report(report: EvaluateReport, folder: Path) -> None:
    """Prints an evaluation report and where it lies."""
    console = Console(highlight=False)
    labels = [*report.candidates, report.baseline]
    if len(report.per_skill) > 1:
        console.print(_skill_table(report.per_skill, labels))
        if len(report.per_skill) > MOST_SKILLS:
            console.print(
                f"all {len(report.per_skill)} skills: {folder / 'report.json'}, and in the run's report.html",
                soft_wrap=True,
            )
    console.print(_summary(report, labels))
    _print_notes(console, report)
    for judge, effect in report.slot_effect.items():
        rate = effect.first_shown_win_rate
        shown = "-" if rate is None else estimate(rate, effect.interval)
        told = f"{judge}: first-shown answer wins {shown} of {effect.votes} decisive votes; 50% is fair"
        console.print(told, soft_wrap=True)
    for judge, why in report.uncertified.items():
        told = f"not certified: {judge}; this ranking rests on a judge that has not shown that it can judge: {why}"
        console.print(told, soft_wrap=True)
    console.print(f"evaluate: {report.seconds:,.1f} s, ${report.usd:.2f}; {folder / 'report.json'}", soft_wrap=True)


def _print_notes(console: Console, report: EvaluateReport) -> None:
    """What the numbers rest on: how models were asked for choices, and how much the training data gives away."""
    if report.multiple_choice:
        asked = ", ".join(f"{label} by {PROMPTS[form]}" for label, form in report.multiple_choice.prompts.items())
        chance = f"guessing scores {report.multiple_choice.chance:.0%}"
        console.print(f"multiple choice: {asked or 'nobody could be asked'}; {chance}", soft_wrap=True)
    for row in report.contamination:
        given = f"the training data give away {row.given_away:,} of {row.items:,}"
        how = f" ({row.near:,} by a question above ROUGE-L 0.7, {row.overlap:,} by a shared passage)"
        console.print(f"{row.evaluation}: {given}{how if row.given_away else ''}", soft_wrap=True)
    for label, share in report.repeats_references.items():
        console.print(
            f"{label}: {share:.0%} of its answers are the references word for word; nothing held against those counts",
            soft_wrap=True,
        )
    for label, count in report.empty_answers.items():
        if count:
            console.print(f"{label}: {count:,} answers are empty", soft_wrap=True)


def _skill_table(rows: Sequence[SkillRow], labels: Sequence[str]) -> Table:
    """Every skill, or those at which the first model is weakest."""
    shown = sorted(rows, key=lambda row: row.exact_match[labels[0]])[:MOST_SKILLS] if len(rows) > MOST_SKILLS else rows
    part = f", the {len(shown)} of {len(rows)} where {labels[0]} is weakest" if len(shown) < len(rows) else ""
    title = f"exact match by skill (chance-corrected where guessing helps){part}"
    table = Table("skill", title=title, title_justify="left")
    for column in ("items", "chance", *labels):
        table.add_column(column, justify="right")
    for row in shown:
        chance = f"{row.chance:.0%}" if row.chance else "-"
        table.add_row(row.skill, str(row.items), chance, *(_share(row, label) for label in labels))
    return table


def _share(row: SkillRow, label: str) -> str:
    share = f"{row.exact_match[label]:.0%}"
    return f"{share} ({row.chance_corrected[label]:+.0%})" if row.chance else share


def _summary(report: EvaluateReport, labels: Sequence[str]) -> Table:
    title = f"with 95% intervals; under a value its gain over {report.baseline}"
    table = Table("measure", title=title, title_justify="left")
    for column in ("items", *labels):
        table.add_column(column, justify="right")
    for name, items, rates, intervals in (
        ("exact match", report.exact_match_items, report.exact_match, report.exact_match_intervals),
        (
            "exact match, harder",
            report.exact_match_harder_items,
            report.exact_match_harder,
            report.exact_match_harder_intervals,
        ),
    ):
        if items:
            table.add_row(name, str(items), *(estimate(rates[m], intervals[m]) for m in labels))
    for name, measured, form in report.measurements():
        table.add_row(name, str(measured.items), *(_measured(measured, label, form) for label in labels))
    for label, comparison in report.comparisons.items():
        for ending, compared in (("", comparison.main), (", harder", comparison.harder)):
            if compared:
                cells = [_outcome(compared) if m == label else "" for m in labels]
                table.add_row(f"win rate, ties half{ending}", str(compared.judged), *cells)
                if _differs(compared):
                    weighted = estimate(compared.weighted_win_rate, compared.weighted_interval)
                    cells = [weighted if m == label else "" for m in labels]
                    table.add_row(f"win rate, weighted by probability{ending}", str(compared.judged), *cells)
    return table


def _measured(measured: Measurement, label: str, form: str) -> str:
    """A model's value and interval, and under it what it gained over the baseline; a dash where there is none."""
    if label not in measured.values:
        return "-"
    told = _spanned(f"{measured.values[label]:{form}}", measured.intervals.get(label), form)
    if label not in measured.gains:
        return told
    gain = _spanned(f"{measured.gains[label]:+{form}}", measured.gain_intervals.get(label), form)
    return f"{told}\n{gain}"


def _spanned(value: str, interval: tuple[float, float] | None, form: str) -> str:
    if interval is None:
        return value
    # The per cent sign stands beside the value alone.
    low, high = (f"{end:{form}}".rstrip("%") for end in interval)
    return f"{value} ({low} to {high})"


def _differs(compared: Pairwise) -> bool:
    """Whether the weighted rate says anything beside the plain one."""
    rates = compared.win_rate, compared.weighted_win_rate
    return None not in rates and abs((rates[0] or 0) - (rates[1] or 0)) > 1e-9


def _outcome(compared: Pairwise) -> str:
    unparsable = f", {compared.unparsable} unparsable" if compared.unparsable else ""
    return (
        f"{estimate(compared.win_rate, compared.interval)}\n"
        f"{compared.wins}-{compared.losses}-{compared.ties} (won-lost-tied{unparsable})"
    )


def estimate(rate: float | None, interval: tuple[float, float] | None) -> str:
    """A share and its interval in per cent; a dash where there is nothing to estimate."""
    return "-" if rate is None else _spanned(f"{rate:.1%}", interval, ".1%")
