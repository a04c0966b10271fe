"""Plots of the data: verbs and the words after them, lengths, novelty, yield."""

import math
from collections.abc import Mapping, Sequence
from statistics import median

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Wedge
from matplotlib.ticker import MaxNLocator

from pacos.generate.report import Diversity
from pacos.study.page.formats import showable
from pacos.study.page.svg import COLOURS, THOUSANDS, WIDTH_POINTS, Plot, legend_above, plot

MOST_BINS = 40
# Lengths beyond this quantile are left off the axis where the longest would squeeze the others into its beginning.
DRAWN_SHARE = 0.99
SQUEEZING = 1.5
# The sunburst's rings: the hole, between verbs and the words after them, the rim; as shares of the radius.
HOLE, MIDDLE, RIM = 0.26, 0.6, 1.0
LABEL_POINTS = 9.5
# About what a character takes of a line of such type.
CHARACTER_POINTS = 0.54 * LABEL_POINTS
MOST_LABEL_CHARACTERS = 13


def sunburst_plot(diversity: Diversity) -> Plot:
    """Verbs inside, the words that follow each outside, as in figure 2 of Self-Instruct; widest first, clockwise."""
    shown = sorted(diversity.verbs, key=lambda verb: verb.count, reverse=True)
    total = sum(verb.count for verb in shown)

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        axes.set_axis_off()
        axes.set_aspect("equal")
        axes.set_xlim(-RIM, RIM)
        axes.set_ylim(-RIM, RIM)
        start = 90.0
        for index, verb in enumerate(shown):
            colour = COLOURS[("student", "base", "third", "fourth")[index % 4]]
            first, start = start, start - 360 * verb.count / total
            # The four are a small part of all that follows a verb: among themselves they fill its width, to be read.
            edge, of_four = first, sum(pair.count for pair in verb.objects)
            for pair in verb.objects:
                width = (first - start) * pair.count / of_four
                _sector(axes, (MIDDLE, RIM), (edge - width, edge), pair.object, colour, 0.16)
                edge -= width
            _sector(axes, (HOLE, MIDDLE), (start, first), verb.verb, colour, 0.4)

    text = (
        f"The {len(shown)} commonest verbs of commands, {total:,} of {diversity.instructions:,} instructions, each as "
        "wide as it is frequent; outside, the four words that most often follow it, by their shares among the four. "
        "What is too narrow for its name stands in the table."
    )
    return plot("sunburst", "What the instructions ask for", text, draw, height_points=WIDTH_POINTS)


def _sector(
    axes: Axes, radii: tuple[float, float], angles: tuple[float, float], label: str, colour: str, alpha: float
) -> None:
    """A piece of a ring, with its label turned along the radius where the piece is wide enough for a line of type."""
    inner, outer = radii
    axes.add_patch(Wedge((0, 0), outer, *angles, width=outer - inner, facecolor=colour, alpha=alpha, linewidth=0))
    axes.add_patch(
        Wedge((0, 0), outer, *angles, width=outer - inner, facecolor="none", edgecolor=COLOURS["paper"], linewidth=1.2)
    )
    short = showable(label if len(label) <= MOST_LABEL_CHARACTERS else label[: MOST_LABEL_CHARACTERS - 1] + "…")
    middle, radius = math.radians(sum(angles) / 2), (inner + outer) / 2
    # The piece is narrowest where the label's inner end stands.
    narrowest_points = radius * WIDTH_POINTS / 2 - len(short) * CHARACTER_POINTS / 2
    if math.radians(angles[1] - angles[0]) * narrowest_points < 1.1 * LABEL_POINTS:
        return
    turn = math.degrees(middle) % 360
    axes.text(
        radius * math.cos(middle), radius * math.sin(middle), short, fontsize=LABEL_POINTS, ha="center", va="center",
        rotation=turn if turn <= 90 or turn >= 270 else turn - 180, rotation_mode="anchor", color=COLOURS["ink"],
    )  # fmt: skip


def lengths_plot(lengths: Mapping[str, Sequence[int]]) -> Plot:
    """Histograms of words in each field, each on its own scale; fields without any text are left out."""
    fields = {name: values for name, values in lengths.items() if values}

    def draw(figure: Figure) -> None:
        for axes, (name, values) in zip(
            figure.subplots(len(fields), 1, squeeze=False).flat, fields.items(), strict=True
        ):
            # Bins of whole words: any other width would hold now more lengths and now fewer, and show gaps.
            longest = _longest_drawn(values)
            width = -(-longest // MOST_BINS)
            edges = [0.5 + width * index for index in range(-(-longest // width) + 1)]
            axes.hist(values, edges, color=COLOURS["student"], alpha=0.8, rwidth=0.92)
            axes.axvline(median(values), color=COLOURS["ink"], linewidth=1, linestyle=(0, (3, 2)))
            axes.set_title(_described(name, values))
            axes.set_xlim(0, edges[-1])
            if beyond := _not_drawn(values):
                # At the end of the tail, where the bars are low.
                axes.annotate(
                    beyond.replace(" not", "\nnot"), (1, 1), (-4, -2), xycoords="axes fraction",
                    textcoords="offset points", ha="right", va="top", color=COLOURS["muted"],
                )  # fmt: skip
            axes.yaxis.set_major_locator(MaxNLocator(3, integer=True))
            axes.yaxis.set_major_formatter(THOUSANDS)
            axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
            axes.xaxis.set_major_formatter(THOUSANDS)

    described = "; ".join(
        f"{_described(name, values)}{f' ({beyond})' if (beyond := _not_drawn(values)) else ''}"
        for name, values in fields.items()
    )
    return plot("lengths", "Lengths in words", described, draw, height_points=140 * len(fields))


def _longest_drawn(lengths: Sequence[int]) -> int:
    """Where the axis ends: at the longest, or at a high quantile where an outlier lies far beyond that."""
    longest = max(lengths)
    high = sorted(lengths)[math.ceil(DRAWN_SHARE * len(lengths)) - 1]
    if longest == high and longest > 4 * SQUEEZING * median(lengths):
        # Among few values the quantile is the outlier itself.
        high = max((length for length in lengths if length < longest), default=longest)
    return high if longest > SQUEEZING * high else longest


def _described(name: str, lengths: Sequence[int]) -> str:
    return f"{name}: {_words(median(lengths))}, longest {max(lengths):,}"


def _not_drawn(lengths: Sequence[int]) -> str:
    """How many lie beyond the last bin, which ends where its width says; "" where all are drawn."""
    drawn = _longest_drawn(lengths)
    width = -(-drawn // MOST_BINS)
    end = -(-drawn // width) * width
    beyond = sum(length > end for length in lengths)
    return f"{beyond:,} beyond {end:,} not drawn" if beyond else ""


def _words(number: float) -> str:
    return f"median {number:g} word{'' if number == 1 else 's'}"


def similarity_plot(
    edges: Sequence[float], nearest: Sequence[int], threshold: float, nearest_seed: Sequence[int] | None = None
) -> Plot:
    """Histograms of ROUGE-L to the nearest instruction before and, where there are seeds, to the nearest of them."""
    has_seeds = nearest_seed is not None
    verdict = "rejected" if has_seeds else "too near"

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        series = ((nearest_seed, "base", "nearest seed task"), (nearest, "student", "nearest of all so far"))
        for counts, colour, label in series:
            if counts is not None:
                axes.stairs(counts, edges, fill=True, color=COLOURS[colour], alpha=0.25)
                axes.stairs(counts, edges, color=COLOURS[colour], linewidth=1.8, label=label)
        axes.axvline(threshold, color=COLOURS["ink"], linewidth=1, linestyle=(0, (3, 2)))
        axes.annotate(
            f"{verdict}\nabove {threshold:g}", (threshold, 0.72), (5, 0), xycoords=("data", "axes fraction"),
            textcoords="offset points", color=COLOURS["muted"],
        )  # fmt: skip
        axes.set_xlim(0, 1)
        axes.set_xlabel(
            "ROUGE-L of a kept instruction to …" if has_seeds else "ROUGE-L to the nearest earlier instruction"
        )
        axes.yaxis.set_major_formatter(THOUSANDS)
        if has_seeds:
            legend_above(axes)

    text = "How near each instruction is to those before it" + (
        "; what is nearer than the threshold was rejected." if has_seeds else "."
    )
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
