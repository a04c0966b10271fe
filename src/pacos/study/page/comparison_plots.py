"""Plots of the comparison: exact match and blind pairwise outcomes, with their intervals."""

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from pacos.evaluate.report import Pairwise
from pacos.study.page.formats import count, percent
from pacos.study.page.svg import COLOURS, WIDTH_POINTS, Plot, legend_above, plot

# Name of the count, colour of the bar, colours of the number on it and of the number beside it.
OUTCOMES = (
    ("wins", "student", "paper", "student"),
    ("ties", "line", "ink", "muted"),
    ("losses", "base", "paper", "base"),
)
# About what a character takes, and what stands beside the axis beyond its labels.
CHARACTER_POINTS, MARGIN_POINTS = 6.2, 32
MOST_TICK_CHARACTERS = 20


@dataclass(frozen=True)
class Measured:
    """One model's exact match on one set of items."""

    label: str
    role: str
    set: str
    items: int
    rate: float
    interval: tuple[float, float]
    chance_corrected: float | None


@dataclass(frozen=True)
class Judged:
    """A candidate against the baseline on one set of items."""

    label: str
    set: str
    counts: Pairwise


def exact_match_plot(rows: Sequence[Measured], labels: Sequence[str]) -> Plot:
    """A bar for each model and set of items, with its 95% interval."""
    colours = model_colours(labels)
    heights, at = [], 0.0
    for index, row in enumerate(rows):
        at += 1.6 if index and rows[index - 1].set != row.set else 1.0
        heights.append(at)

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        for y, row in zip(heights, rows, strict=True):
            axes.barh(y, row.rate, height=0.72, color=COLOURS[colours[row.label]])
            axes.plot(row.interval, (y, y), color=COLOURS["ink"], linewidth=1.4, solid_capstyle="butt")
            axes.plot(row.interval, (y, y), "|", color=COLOURS["ink"], markersize=8, markeredgewidth=1.4)
            axes.annotate(percent(row.rate), (row.interval[1], y), (6, 0), textcoords="offset points", va="center")
        axes.set_yticks(heights, [_tick(row) for row in rows])
        axes.invert_yaxis()
        axes.grid(axis="y", visible=False)
        axes.grid(axis="x", visible=True)
        axes.set_xlim(0, 1.12)
        axes.set_xticks([0, 0.25, 0.5, 0.75, 1])
        axes.xaxis.set_major_formatter(PercentFormatter(1, 0))

    text = "; ".join(
        f"{row.label} on {row.set}: {percent(row.rate)}, 95% interval {percent(row.interval[0])} "
        f"to {percent(row.interval[1])}"
        for row in rows
    )
    return plot("exact", "Exact match with 95% intervals", text, draw, height_points=52 + round(38 * heights[-1]))


def pairwise_plot(pairs: Sequence[Judged], baseline: str) -> Plot:
    """Wins, ties and losses as one bar a set, and the win rate with its interval beneath."""

    longest = max(len(line) for pair in pairs for line in _tick(pair).splitlines())
    character = CHARACTER_POINTS / (WIDTH_POINTS - MARGIN_POINTS - longest * CHARACTER_POINTS)

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        for y, pair in enumerate(pairs):
            _outcome_bar(axes, y, pair, character)
        axes.set_yticks(range(len(pairs)), [_tick(pair) for pair in pairs])
        axes.set_ylim(len(pairs) - 0.35, -0.4)
        axes.grid(visible=False)
        axes.set_xlim(0, 1)
        axes.set_xticks([0, 0.25, 0.5, 0.75, 1])
        axes.xaxis.set_major_formatter(PercentFormatter(1, 0))
        legend_above(axes)

    text = "; ".join(
        f"{pair.label} against {baseline} on {pair.set}: {pair.counts.wins:,} wins, {pair.counts.ties:,} ties, "
        f"{pair.counts.losses:,} losses"
        for pair in pairs
    )
    return plot("pairwise", "Blind, in pairs", text, draw, height_points=66 + 84 * len(pairs))


def _outcome_bar(axes: Axes, y: float, pair: Judged, character: float) -> None:
    """`character` is about what one takes of the axis."""
    left, counts = 0.0, pair.counts
    above: list[tuple[str, str, float]] = []
    for name, colour, ink, beside in OUTCOMES:
        number = getattr(counts, name)
        share = number / counts.judged
        # Labels of the first bar alone: a legend names each outcome once.
        axes.barh(y, share, left=left, height=0.44, color=COLOURS[colour], label="" if y else name)
        shown = count(number)
        # With a margin on both sides.
        if share > character * len(shown) + 0.035:
            axes.annotate(shown, (left, y), (6, 0), textcoords="offset points", va="center", color=COLOURS[ink])
        else:
            one = {"wins": "win", "ties": "tie", "losses": "loss"}[name]
            above.append((f"{shown} {one if number == 1 else name}", beside, left + share / 2))
        left += share
    # Half way, marked beside the bar so that it crosses no number.
    ends = _apart(above, character)
    covered = any(start < 0.51 and end > 0.49 for start, end in ends)
    for edge in (1,) if covered else (-1, 1):
        axes.plot((0.5, 0.5), (y + 0.22 * edge, y + 0.29 * edge), color=COLOURS["ink"], linewidth=1.4)
    # A number that its piece of the bar has no room for stands above, in the colour of the piece.
    for (label, colour, _), (start, end) in zip(above, ends, strict=True):
        axes.annotate(
            label, ((start + end) / 2, y - 0.22), (0, 2), textcoords="offset points", ha="center", va="bottom",
            color=COLOURS[colour],
        )  # fmt: skip
    if counts.win_rate is None or counts.interval is None:
        return
    rate, (low, high) = counts.win_rate, counts.interval
    below = y + 0.35
    axes.plot((low, high), (below, below), color=COLOURS["ink"], linewidth=1.4, solid_capstyle="butt", clip_on=False)
    axes.plot((rate,), (below,), "D", color=COLOURS["ink"], markersize=5, clip_on=False)
    text = f"win rate {percent(rate)} ({100 * low:.1f} to {100 * high:.1f})"
    # On a line of its own: beside an interval about the middle there is no room on either side.
    half = character * len(text) / 2
    middle = min(max(rate, half), 1 - half)
    axes.annotate(text, (middle, below), (0, -7), textcoords="offset points", ha="center", va="top")


def _apart(labels: Sequence[tuple[str, str, float]], character: float) -> list[tuple[float, float]]:
    """From where to where on the axis each label stands: about its middle, moved so that none touches another."""
    ends: list[tuple[float, float]] = []
    taken = 0.0
    for label, _, middle in labels:
        width = character * (len(label) + 1)
        start = max(middle - width / 2, taken)
        taken = start + width
        ends.append((start, taken))
    most = 1.0
    for index in range(len(ends) - 1, -1, -1):
        start, end = ends[index]
        moved = max(end - most, 0.0)
        ends[index] = (start - moved, end - moved)
        most = start - moved
    return ends


def model_colours(labels: Sequence[str]) -> dict[str, str]:
    """A colour name for each model: the baseline's, which comes first, then a candidate's, again after three."""
    names = ("student", "third", "fourth")
    return {labels[0]: "base"} | {label: names[index % 3] for index, label in enumerate(labels[1:])}


def _tick(row: Measured | Judged) -> str:
    """A label beside the axis: a long name or path keeps its beginning and its end."""
    label, half = row.label, MOST_TICK_CHARACTERS // 2
    short = label if len(label) <= MOST_TICK_CHARACTERS else f"{label[: half - 1]}…{label[-half:]}"
    return f"{short}\n{row.set.removesuffix(' items')}"
