"""The plot of red teaming: each rate of failure as a dot, with its interval."""

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from pacos.redteam.report import Counts
from pacos.study.page.formats import count, percent, uncontrolled
from pacos.study.page.svg import COLOURS, Plot, legend_above, plot

MOST_TICK_CHARACTERS = 22
# Colours of the page by who measured, the same again in each plot.
GROUPS = {"attack": "base", "audit": "student", "gate": "third"}


@dataclass(frozen=True)
class Dotted:
    """One row: what was asked, and how often it failed."""

    group: str
    name: str
    counts: Counts


def rates_plot(rows: Sequence[Dotted]) -> Plot | None:
    """A dot and an interval for each row that has a rate; None where none has."""
    rows = [row for row in rows if row.counts.rate is not None]
    if not rows:
        return None
    furthest = max(max(row.counts.rate or 0.0, (row.counts.interval or (0, 0))[1]) for row in rows)

    def draw(figure: Figure) -> None:
        axes, shown = figure.subplots(), set[str]()
        for y, row in enumerate(rows):
            colour, rate = COLOURS[GROUPS[row.group]], row.counts.rate or 0.0
            if row.counts.interval:
                axes.plot(row.counts.interval, (y, y), color=colour, linewidth=1.8, solid_capstyle="butt")
                axes.plot(row.counts.interval, (y, y), "|", color=colour, markersize=8, markeredgewidth=1.6)
            # Of each colour one: a legend names it once.
            label = "" if row.group in shown else row.group
            shown.add(row.group)
            axes.plot((rate,), (y,), "o", color=colour, markersize=6.5, clip_on=False, zorder=3, label=label)
            axes.annotate(
                f"{percent(rate)} of {count(row.counts.scored)}", (1, y), (8, 0), xycoords=("axes fraction", "data"),
                textcoords="offset points", va="center", annotation_clip=False,
            )  # fmt: skip
        # A dot at 0 stands clear of its name.
        axes.tick_params(axis="y", pad=9)
        axes.set_yticks(range(len(rows)), [_tick(row.name) for row in rows])
        axes.set_ylim(len(rows) - 0.4, -0.6)
        if len(shown) > 1:
            legend_above(axes)
        axes.grid(axis="y", visible=False)
        axes.grid(axis="x", visible=True)
        axes.set_xlim(0, min(1.0, max(0.05, 1.08 * furthest)))
        axes.locator_params(axis="x", nbins=4)
        axes.xaxis.set_major_formatter(PercentFormatter(1, None if furthest > 0.1 else 0))

    text = "; ".join(
        f"{row.name}: {percent(row.counts.rate)} of {count(row.counts.scored)}"
        + (
            f", 95% interval {percent(row.counts.interval[0])} to {percent(row.counts.interval[1])}"
            if row.counts.interval
            else ""
        )
        for row in rows
    )
    return plot(
        "redteam-rates",
        "Failures among scored answers, with 95% intervals",
        uncontrolled(text),
        draw,
        72 + 27 * len(rows),
    )


def _tick(name: str) -> str:
    half, shown = MOST_TICK_CHARACTERS // 2, uncontrolled(" ".join(name.split()))
    return shown if len(shown) <= MOST_TICK_CHARACTERS else f"{shown[: half - 1]}…{shown[-half:]}"
