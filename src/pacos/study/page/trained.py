"""How training went: loss, learning rate, speed, and the loss on records that were held back."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pacos.study.page.run_files import RunFiles
from pacos.study.page.svg import Plot
from pacos.study.page.training_plots import loss_plot, rate_and_speed_plot

MOST_POINTS = 400


@dataclass(frozen=True)
class Trained:
    """The second section; `report` is empty while training is not finished, `steps_logged` says how far it is."""

    report: Mapping[str, Any]
    settings: Mapping[str, Any]
    steps_logged: int
    last_loss: float | None
    plots: list[Plot]


def trained(files: RunFiles) -> Trained | None:
    """Reads train/; None where not even a step is logged."""
    report, steps = files.stages["train"].report, files.steps
    if not report and not steps:
        return None
    columns = {
        name: thinned([step[name] for step in steps])
        for name in ("step", "loss", "learning_rate", "real_tokens_per_second")
        if steps and all(name in step for step in steps)
    }
    plots = []
    if len(steps) > 1 and "loss" in columns:
        heldout = report.get("heldout_loss_before"), report.get("heldout_loss_after")
        plots.append(loss_plot(columns["step"], columns["loss"], heldout))
        if len(columns) == 4:
            rate, speed = columns["learning_rate"], columns["real_tokens_per_second"]
            plots.append(rate_and_speed_plot(columns["step"], rate, speed))
    last_loss = steps[-1].get("loss") if steps else None
    return Trained(report, files.recipe.get("train", {}), len(steps), last_loss, plots)


def thinned(values: Sequence[float]) -> list[float]:
    """Means of as many neighbours as it takes for a plot to hold no more points than it can show."""
    width = -(-len(values) // MOST_POINTS) or 1
    groups = [values[start : start + width] for start in range(0, len(values), width)]
    return [sum(group) / len(group) for group in groups]
