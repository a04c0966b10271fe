"""Measures without a judge: every model's numbers beside each other."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pacos.evaluate.report import EvaluateReport, Measurement
from pacos.study.page.formats import count, percent

# The measures that an evaluation may have, as a reader knows them, and the report's keys.
KNOWN = {
    "ROUGE-L": "rouge_l",
    "multiple choice": "multiple_choice",
    "perplexity": "perplexity",
    "memorisation": "memorisation",
    "contamination": "contamination",
}


@dataclass(frozen=True)
class MeasureRow:
    """One model: value and gain with their intervals, as shown; `absent` says why there are none."""

    label: str
    cells: list[tuple[str, str]]
    absent: str


@dataclass(frozen=True)
class MeasureTable:
    """One table of models by columns; `about` says how to read it."""

    id: str
    title: str
    about: str
    columns: list[str]
    rows: list[MeasureRow]


@dataclass(frozen=True)
class Measures:
    """All tables, and the names of the measures that this evaluation did not take."""

    tables: list[MeasureTable]
    missing: list[str]


Column = tuple[str, Callable[[str], tuple[str, str]]]


def measures(report: EvaluateReport) -> Measures:
    """The tables of a report, the baseline's row first."""
    labels = [report.baseline, *report.candidates]
    tables = [
        *_rouge_l(report, labels),
        *_multiple_choice(report, labels),
        *_perplexity(report, labels),
        *_memorisation(report, labels),
    ]
    return Measures(tables, [name for name, key in KNOWN.items() if not getattr(report, key)])


def _rouge_l(report: EvaluateReport, labels: Sequence[str]) -> list[MeasureTable]:
    found = report.rouge_l
    if not found:
        return []
    about = (
        f"How many of an answer’s words stand in the reference in the same order, over {count(found.items)} items. It "
        "knows nothing of meaning: a right answer in other words scores low."
    )
    measured = Measurement(found.items, found.means, found.intervals, found.gains, found.gain_intervals)
    columns = _columns("mean F-measure", measured, _number, _number)
    return [_table("rouge-l", "ROUGE-L against reference answers", about, columns, labels, found.absent)]


def _multiple_choice(report: EvaluateReport, labels: Sequence[str]) -> list[MeasureTable]:
    found = report.multiple_choice
    if not found:
        return []
    source = "pacos’s own questions" if found.file == "builtin" else found.file
    about = (
        f"{count(found.acc.items)} questions ({source}), answered by the likeliest choice; guessing scores "
        f"{percent(found.chance)}. Normalised: likeliest per character."
    )
    if asked := [f"{label} {how}" for label, how in found.prompts.items()]:
        about += f" Prompts: {', '.join(asked)}."
    columns = [
        *_columns("right", found.acc, percent, _points),
        *_columns("right, normalised", found.acc_norm, percent, _points),
    ]
    tables = [_table("multiple-choice", "Multiple choice", about, columns, labels, found.absent)]
    if found.by_topic:
        by_topic: list[Column] = [
            (f"{topic} ({count(found.topic_items[topic])})", _cell(rates, percent))
            for topic, rates in found.by_topic.items()
        ]
        tables.append(_table("topics", "Multiple choice by topic", "Share right.", by_topic, labels, found.absent))
    return tables


def _perplexity(report: EvaluateReport, labels: Sequence[str]) -> list[MeasureTable]:
    tables = []
    for number, found in enumerate(report.perplexity, start=1):
        left_out = f" {count(found.left_out)} were too long for a model and are left out." if found.left_out else ""
        about = (
            f"{count(found.bits_per_byte.items)} pieces, {count(found.bytes)} bytes. Lower is better, and so is a "
            f"negative gain. Perplexity a token compares only models with one tokenizer.{left_out}"
        )
        columns = [
            *_columns("bits a byte", found.bits_per_byte, _number, _number),
            ("perplexity a token", _cell(found.perplexity, _number, found.perplexity_intervals, _number)),
            ("tokens", _cell(found.tokens, count)),
        ]
        tables.append(_table(f"perplexity-{number}", f"Perplexity: {found.text}", about, columns, labels, found.absent))
    return tables


def _memorisation(report: EvaluateReport, labels: Sequence[str]) -> list[MeasureTable]:
    tables = []
    for number, found in enumerate(report.memorisation, start=1):
        about = (
            f"{count(found.exact.items)} {found.examples} examples, from the {found.prompt}: how many are repeated "
            "whole, and the longest run of words repeated."
        )
        columns = [
            *_columns("repeated whole", found.exact, percent, _points),
            *_columns("longest run, words", found.longest_run, _number, _number),
        ]
        title = f"Memorisation: {found.examples} examples, {found.prompt}"
        tables.append(_table(f"memorisation-{number}", title, about, columns, labels, found.absent))
    return tables


def _columns(
    name: str, measured: Measurement, shown: Callable[[float], str], gained: Callable[[float], str]
) -> list[Column]:
    return [
        (name, _cell(measured.values, shown, measured.intervals, shown)),
        ("gain", _cell(measured.gains, lambda value: _signed(gained(value), value), measured.gain_intervals, gained)),
    ]


def _cell(
    values: dict[str, float] | dict[str, int],
    shown: Callable[[float], str],
    intervals: dict[str, tuple[float, float]] | None = None,
    ends: Callable[[float], str] = str,
) -> Callable[[str], tuple[str, str]]:
    def cell(label: str) -> tuple[str, str]:
        if label not in values:
            return "–", ""
        found = (intervals or {}).get(label)
        return shown(values[label]), f"{ends(found[0])} to {ends(found[1])}" if found else ""

    return cell


def _table(
    name: str, title: str, about: str, columns: Sequence[Column], labels: Sequence[str], absent: dict[str, str]
) -> MeasureTable:
    rows = [MeasureRow(label, [cell(label) for _, cell in columns], absent.get(label, "")) for label in labels]
    return MeasureTable(name, title, about, [column for column, _ in columns], rows)


def _points(value: float) -> str:
    return f"{100 * value:.1f}".replace("-", "−")


def _number(value: float) -> str:
    return f"{value:,.3f}".replace("-", "−")


def _signed(shown: str, value: float) -> str:
    return f"+{shown}" if value > 0 else shown
