"""How the student stands attacks: rates with their denominators, judges' quality, a forecast, before and after."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pacos.redteam.report import Counts, Expected, JudgeOnStyle
from pacos.statistics import Interval, rate_difference
from pacos.study.page.case_browser import CaseBrowser, case_browser
from pacos.study.page.redteam_files import Gated, RedteamFiles
from pacos.study.page.redteam_plots import Dotted, rates_plot
from pacos.study.page.svg import Plot

# More rows are no picture.
MOST_DOTS = 24


@dataclass(frozen=True)
class RateRow:
    """One row of a table of rates. `corrected` are the least and the most that its judge's known errors make of it, by
    `styles` of answer that it was not tuned on; None where nobody measured the judge."""

    group: str
    name: str
    note: str
    counts: Counts
    corrected: tuple[float, float] | None = None
    styles: int = 0


@dataclass(frozen=True)
class MeasuredJudge:
    """A judge, of what it is the judge here, and how good it is style by style."""

    name: str
    finds: str
    of: list[str]
    raw: float | None
    styles: tuple[JudgeOnStyle, ...]


@dataclass(frozen=True)
class Change:
    """A rate before the repair and after; `interval` is of after - before, None where one of them has none."""

    name: str
    before: Counts
    after: Counts
    interval: Interval | None

    @property
    def difference(self) -> float | None:
        """after - before."""
        before, after = self.before.rate, self.after.rate
        return None if before is None or after is None else after - before


@dataclass(frozen=True)
class RedteamPart:
    """The section's content."""

    files: RedteamFiles
    rates: list[RateRow]
    plot: Plot | None
    techniques: list[RateRow]
    topics: list[RateRow]
    judges: list[MeasuredJudge]
    forecast: tuple[Expected, ...]
    changes: list[Change]
    browser: CaseBrowser | None


def redteam(files: RedteamFiles) -> RedteamPart | None:
    """None where nobody attacked this run."""
    if files.is_empty:
        return None
    rates = list(_rates(files))
    attack = files.attack
    dots = [Dotted(row.group, row.name, row.counts) for row in rates]
    return RedteamPart(
        files,
        rates,
        rates_plot(dots[:MOST_DOTS]),
        list(_techniques(files)),
        [RateRow("attack", name, "", counts) for name, counts in attack.by_topic.items()] if attack else [],
        _judges(files),
        attack.forecast if attack else (),
        _changes(files.before, files.gate),
        case_browser(files.cases),
    )


def _rates(files: RedteamFiles) -> Iterator[RateRow]:
    if attack := files.attack:
        yield _row(
            "attack", attack.objective, "attack: a search, which goes where failures are", attack, attack.judge_by_style
        )
    for each in files.audit.objectives if files.audit else ():
        yield _row("audit", each.name, f"audit: {each.failure}; {each.source}", each, each.judge_by_style)
    if gate := files.gate:
        styles = {judge.judge: judge.by_style for judge in gate.judges}
        only = next(iter(gate.by_objective), "") if len(gate.by_objective) == 1 else ""
        note = f"gate: at most {gate.max_asr:.1%} asked for; {gate.result}"
        yield _row("gate", only or "all suites", note, gate, styles.get(only, ()))
        if not only:
            for name, counts in gate.by_objective.items():
                yield _row("gate", name, "gate", counts, styles.get(name, ()))


def _row(group: str, name: str, note: str, counts: Counts, styles: Sequence[JudgeOnStyle]) -> RateRow:
    rates = [each.corrected_rate for each in styles if each.corrected_rate is not None and not each.tuned_on]
    return RateRow(group, name, note, counts, (min(rates), max(rates)) if rates else None, len(rates))


def _techniques(files: RedteamFiles) -> Iterator[RateRow]:
    for group, by in (
        ("attack", files.attack.by_technique if files.attack else {}),
        ("gate", files.gate.by_technique if files.gate else {}),
    ):
        for name, counts in by.items():
            yield RateRow(group, name or "plain", group, counts)


def _judges(files: RedteamFiles) -> list[MeasuredJudge]:
    """Each judge once, with the first rate that it gave: what becomes of the others is in the table of rates."""
    found: dict[str, MeasuredJudge] = {}

    def add(judge: str, finds: str, of: str, raw: float | None, styles: tuple[JudgeOnStyle, ...]) -> None:
        if judge in found:
            found[judge].of.append(of)
        else:
            found[judge] = MeasuredJudge(judge, finds, [of], raw, styles)

    if attack := files.attack:
        add(attack.judge, attack.judge_finds, "attack", attack.rate, attack.judge_by_style)
    for each in files.audit.objectives if files.audit else ():
        add(each.judge, each.judge_finds, each.name, each.rate, each.judge_by_style)
    for judge in files.gate.judges if files.gate else ():
        counts = files.gate.by_objective.get(judge.judge) if files.gate else None
        add(judge.judge, judge.finds, "gate", counts.rate if counts else None, judge.by_style)
    return list(found.values())


def _changes(before: Gated | None, after: Gated | None) -> list[Change]:
    """Of what both gates asked."""
    if not before or not after:
        return []
    both: list[tuple[str, Counts, Counts]] = [("all suites", before, after)] if len(after.by_objective) != 1 else []
    both += [
        (name, before.by_objective[name], new)
        for name, new in after.by_objective.items()
        if name in before.by_objective
    ]
    return [_change(*each) for each in both]


def _change(name: str, before: Counts, after: Counts) -> Change:
    ends = None
    if before.rate is not None and after.rate is not None and before.interval and after.interval:
        ends = rate_difference(before.rate, before.interval, after.rate, after.interval)
    return Change(name, before, after, ends)
