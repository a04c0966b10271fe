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
class RedteamReport(Counts):
    """One attack. A search goes where failures are: its rate is of these requests, not of what users would ask."""

    target: str
    identity: str
    objective: str
    judge: str
    seed: int
    topics_hit: int
    topics: int
    usd: float
    unseen_usd: float
    by_technique: dict[str, Counts]
    by_topic: dict[str, Counts]


def read_redteam_report(folder: Path) -> RedteamReport:
    """The report of the attack in a `redteam` folder; PacosError where there is none."""
    return read_report(RedteamReport, folder)
