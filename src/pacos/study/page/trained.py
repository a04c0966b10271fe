"""How training went: loss, learning rate, speed, and the loss on records that were held back."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

from pacos.core.recipe import TrainTable
from pacos.study.page.run_files import RunFiles
from pacos.study.page.svg import Plot
from pacos.study.page.training_plots import loss_plot, rate_and_speed_plot
from pacos.train.report import TrainReport

MOST_POINTS = 400


@dataclass(frozen=True)
class Trained:
    """The second section; `report` is None while training is not finished, `steps_logged` says how far it is.

    `counts` are those of the data report.
    """

    report: TrainReport | None
    settings: TrainTable
    steps_logged: int
    last_loss: float | None
    counts: dict[str, int]
    plots: list[Plot]


def trained(files: RunFiles) -> Trained | None:
    """Reads train/; None where not even a step is logged."""
    report, steps = files.train, files.steps
    if not report and not steps:
        return None
    plots = []
    if len(steps) > 1:
        numbers, losses = thinned([step.step for step in steps]), thinned([step.loss for step in steps])
        rates = thinned([step.learning_rate for step in steps])
        speeds = thinned([step.real_tokens_per_second for step in steps])
        heldout = (report.heldout_loss_before, report.heldout_loss_after) if report else (None, None)
        plots = [loss_plot(numbers, losses, heldout), rate_and_speed_plot(numbers, rates, speeds)]
    counted = asdict(report.counts) if report else {}
    counts = {name: count for name, count in counted.items() if isinstance(count, int)}
    last_loss = steps[-1].loss if steps else None
    return Trained(report, files.recipe.train, len(steps), last_loss, counts, plots)


def thinned(values: Sequence[float]) -> list[float]:
    """Means of as many neighbours as it takes for a plot to hold no more points than it can show."""
    width = -(-len(values) // MOST_POINTS) or 1
    groups = [values[start : start + width] for start in range(0, len(values), width)]
    return [sum(group) / len(group) for group in groups]
