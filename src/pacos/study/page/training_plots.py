"""Plots of training: loss, learning rate, speed."""

import math
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

from pacos.study.page.svg import COLOURS, THOUSANDS, Plot, legend_above, plot

# The part of a run's steps, on each side, that a point of the smoothed loss is the mean of.
SMOOTHED_SHARE = 0.025
MOST_TICKS = 7


def loss_plot(steps: Sequence[float], losses: Sequence[float], heldout: tuple[float | None, float | None]) -> Plot:
    """Training loss, raw and smoothed, with the held-out loss before and after where it was taken."""
    smooth = _smoothed(losses, round(SMOOTHED_SHARE * len(losses)))
    ends = [(x, value) for x, value in zip((0, steps[-1]), heldout, strict=True) if value is not None]

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        axes.plot(steps, losses, color=COLOURS["student"], alpha=0.45, linewidth=1, label="each step")
        axes.plot(steps, smooth, color=COLOURS["student"], label="smoothed")
        if ends:
            xs, ys = zip(*ends, strict=True)
            axes.plot(xs, ys, "o", color=COLOURS["ink"], markersize=5, label="held out", clip_on=False)
        axes.set_xlabel("optimizer step")
        axes.set_ylabel("loss (nats a token)")
        _log_axis(axes, [*losses, *(value for _, value in ends)])
        axes.xaxis.set_major_formatter(THOUSANDS)
        legend_above(axes)

    taken = "".join(f" Held-out loss at step {x:,.0f}: {value:.3f}." for x, value in ends)
    if _has_log_axis(losses):
        taken += " The axis is logarithmic."
    text = f"From {losses[0]:.3f} to {smooth[-1]:.3f} over {steps[-1]:,.0f} steps.{taken}"
    return plot("loss", "Loss", text, draw, height_points=250)


def rate_and_speed_plot(steps: Sequence[float], rates: Sequence[float], speeds: Sequence[float]) -> Plot:
    """Learning rate and tokens a second over the steps."""

    def draw(figure: Figure) -> None:
        above, below = figure.subplots(2, 1, sharex=True)
        above.plot(steps, rates, color=COLOURS["student"])
        above.set_title("learning rate")
        above.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.2g}"))
        below.plot(steps, speeds, color=COLOURS["base"], linewidth=1.2)
        below.set_title("real tokens a second")
        below.yaxis.set_major_formatter(THOUSANDS)
        below.set_xlabel("optimizer step")
        for axes in (above, below):
            axes.set_ylim(0)
            axes.yaxis.set_major_locator(MaxNLocator(4))

    text = f"Learning rate up to {max(rates):.3g}; {min(speeds):,.0f} to {max(speeds):,.0f} real tokens a second."
    return plot("pace", "Learning rate and speed", text, draw, height_points=250)


def _has_log_axis(losses: Sequence[float]) -> bool:
    """A loss that was rounded to 0, or is no number, has no place on a logarithmic axis."""
    return all(0 < loss < math.inf for loss in losses)


def _log_axis(axes: Axes, losses: Sequence[float]) -> None:
    """A logarithmic axis, since the fall from 0.1 to 0.05 tells as much as that from 4 to 2; else one from 0."""
    if not _has_log_axis(losses):
        axes.set_ylim(0)
        return
    axes.set_yscale("log")
    low, high = min(losses) / 1.15, max(losses) * 1.15
    axes.set_ylim(low, high)
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_locator(FixedLocator(_log_ticks(low, high)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.6g}"))


def _log_ticks(low: float, high: float) -> list[float]:
    """Few round numbers: 0.05, 0.5, 5 and such; evenly spaced ones where the loss hardly moved."""
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for digits in ((1, 2, 5), (1, 5), (5,)):
        # As a quotient, since 5 * 10**-2 is no 0.05 in binary.
        ticks = [digit * 10**power if power >= 0 else digit / 10**-power for power in decades for digit in digits]
        ticks = [float(tick) for tick in ticks if low <= tick <= high]
        if len(ticks) <= MOST_TICKS:
            break
    return ticks if len(ticks) > 2 else [float(tick) for tick in MaxNLocator(4).tick_values(low, high) if tick > 0]


def _smoothed(values: Sequence[float], reach: int) -> list[float]:
    """The mean of each value and up to `reach` on either side: unlike a running mean it does not lag."""
    around = [values[max(index - reach, 0) : index + reach + 1] for index in range(len(values))]
    return [sum(near) / len(near) for near in around]
