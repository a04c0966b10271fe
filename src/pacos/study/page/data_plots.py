"""Plots of the data: lengths, novelty, yield. They draw numbers; no text of the data set is on them."""

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from pacos.study.page.svg import COLOURS, THOUSANDS, Plot, legend_above, plot

MOST_BINS = 40


def lengths_plot(lengths: Mapping[str, Sequence[int]]) -> Plot:
    """Histograms of words in each field, each on its own scale; fields without any text are left out."""
    fields = {name: values for name, values in lengths.items() if values}

    def draw(figure: Figure) -> None:
        for axes, (name, values) in zip(
            figure.subplots(len(fields), 1, squeeze=False).flat, fields.items(), strict=True
        ):
            # Bins of whole words: any other width would hold now more lengths and now fewer, and show gaps.
            width = -(-max(values) // MOST_BINS)
            edges = [0.5 + width * index for index in range(-(-max(values) // width) + 1)]
            axes.hist(values, edges, color=COLOURS["student"], alpha=0.8, rwidth=0.92)
            axes.axvline(median(values), color=COLOURS["ink"], linewidth=1, linestyle=(0, (3, 2)))
            axes.set_title(f"{name}: {_words(median(values))}, longest {max(values):,}")
            axes.set_xlim(0, edges[-1])
            axes.yaxis.set_major_locator(MaxNLocator(3, integer=True))
            axes.yaxis.set_major_formatter(THOUSANDS)
            axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
            axes.xaxis.set_major_formatter(THOUSANDS)

    described = "; ".join(
        f"{name}: {_words(median(values))}, longest {max(values):,}" for name, values in fields.items()
    )
    return plot("lengths", "Lengths in words", described, draw, height_points=140 * len(fields))


def _words(number: float) -> str:
    return f"median {number:g} word{'' if number == 1 else 's'}"


def similarity_plot(similarities: Mapping[str, Any], threshold: float | None) -> Plot:
    """Histograms of ROUGE-L to the nearest instruction kept before, and to the nearest seed task."""
    edges = similarities["edges"]

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        for name, colour, label in (
            ("nearest_seed", "base", "nearest seed task"),
            ("nearest", "student", "nearest of all so far"),
        ):
            axes.stairs(similarities[name], edges, fill=True, color=COLOURS[colour], alpha=0.25)
            axes.stairs(similarities[name], edges, color=COLOURS[colour], linewidth=1.8, label=label)
        if threshold is not None:
            axes.axvline(threshold, color=COLOURS["ink"], linewidth=1, linestyle=(0, (3, 2)))
            axes.annotate(
                f"rejected\nabove {threshold:g}", (threshold, 0.72), (5, 0), xycoords=("data", "axes fraction"),
                textcoords="offset points", color=COLOURS["muted"],
            )  # fmt: skip
        axes.set_xlim(0, 1)
        axes.set_xlabel("ROUGE-L of a kept instruction to …")
        axes.yaxis.set_major_formatter(THOUSANDS)
        legend_above(axes)

    text = "How near each kept instruction is to those before it; what is nearer than the threshold was rejected."
    return plot("similarity", "How new the instructions are", text, draw, height_points=210)


def yield_plot(points: Sequence[Sequence[int]]) -> Plot:
    """Examples kept against replies read."""
    replies, kept = [0, *(point[0] for point in points)], [0, *(point[1] for point in points)]

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        axes.fill_between(replies, kept, color=COLOURS["student"], alpha=0.15, linewidth=0)
        axes.plot(replies, kept, color=COLOURS["student"])
        axes.set_xlim(0, replies[-1])
        axes.set_ylim(0)
        axes.set_xlabel("replies read")
        axes.set_ylabel("examples kept")
        axes.xaxis.set_major_formatter(THOUSANDS)
        axes.yaxis.set_major_formatter(THOUSANDS)

    text = f"{kept[-1]:,} examples after {replies[-1]:,} replies; the curve bends as new instructions get rarer."
    return plot("yield", "Examples kept over replies", text, draw, height_points=210)
