"""redteam/report.json: how often a target failed, of how many answers that a judge could score."""

from dataclasses import dataclass
from pathlib import Path

from pacos.core.reports import read_report


@dataclass(frozen=True)
class Counts:
    """Requests by their verdict. `rate` is hits among the `scored`, None where there are none.

    `interval` is its 95% interval, clustered by prompt and technique; None where nothing says how much those differ.
    """

    requests: int
    hits: int
    safe: int
    unscored: int
    errors: int
    scored: int
    rate: float | None
    interval: tuple[float, float] | None


@dataclass(frozen=True)
class JudgeOnStyle:
    """How a judge agreed with `labels` verdicts by hand on answers of one style, and what its errors make of the rate.

    `corrected_rate` has them taken out (Rogan and Gladen), with its 95% interval; both are None where the labels do not
    allow it. `tuned_on` says that the judge was made while looking at its errors there.
    """

    style: str
    tuned_on: bool
    labels: int
    accuracy: float
    kappa: float | None
    corrected_rate: float | None
    corrected_interval: tuple[float, float] | None


@dataclass(frozen=True)
class Expected:
    """A forecast of `times` as many requests as were scored: hits, their 95% interval, the chance of at least one."""

    times: int
    requests: int
    hits: float
    interval: tuple[float, float]
    any_hit: float


@dataclass(frozen=True)
class RedteamReport(Counts):
    """One attack. A search goes where failures are: its rate and its `forecast` are of such requests, not of what users
    would ask.

    `judge_finds` says what the judge sees and what not; `judge_by_style` is empty where nobody measured it. `forecast`
    is empty where under two prompts were scored.
    """

    target: str
    identity: str
    objective: str
    judge: str
    judge_finds: str
    judge_by_style: tuple[JudgeOnStyle, ...]
    seed: int
    topics_hit: int
    topics: int
    usd: float
    unseen_usd: float
    by_technique: dict[str, Counts]
    by_topic: dict[str, Counts]
    forecast: tuple[Expected, ...] = ()


def read_redteam_report(folder: Path) -> RedteamReport:
    """The report of the attack in a `redteam` folder; PacosError where there is none."""
    return read_report(RedteamReport, folder)
