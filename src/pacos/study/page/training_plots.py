"""Plots of training: loss, learning rate, speed."""

from collections.abc import Sequence

from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from pacos.study.page.svg import COLOURS, THOUSANDS, Plot, legend_above, plot

# The part of a run's steps, on each side, that a point of the smoothed loss is the mean of.
SMOOTHED_SHARE = 0.025


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
        axes.set_ylim(0)
        axes.xaxis.set_major_formatter(THOUSANDS)
        legend_above(axes)

    taken = "".join(f" Held-out loss at step {x:,.0f}: {value:.3f}." for x, value in ends)
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


def _smoothed(values: Sequence[float], reach: int) -> list[float]:
    """The mean of each value and up to `reach` on either side: unlike a running mean it does not lag."""
    around = [values[max(index - reach, 0) : index + reach + 1] for index in range(len(values))]
    return [sum(near) / len(near) for near in around]
