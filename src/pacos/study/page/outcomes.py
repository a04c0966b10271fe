"""What a comparison came to, one model or pair on one set of items at a time."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


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
class Pairwise:
    """A candidate against the baseline on one set; `counts` as in evaluate/report.json."""

    label: str
    set: str
    counts: Mapping[str, Any]

    @property
    def judged(self) -> int:
        """Pairs with a readable verdict."""
        return int(self.counts["wins"] + self.counts["losses"] + self.counts["ties"])
