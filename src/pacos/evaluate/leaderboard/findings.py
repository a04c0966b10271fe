"""What an audit can find."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Kind = Literal[
    "judged-text-differs",
    "baseline-text-differs",
    "misaligned-join",
    "duplicated-annotations",
    "duplicated-outputs",
    "another-instruction-set",
    "item-twice",
    "dropped-rows",
    "empty-outputs",
    "fixed-display-order",
    "scale-error",
    "table-differs",
    "old-weights",
    "missing-or-unreadable",
]
MOST_NAMED = 8


@dataclass(frozen=True)
class LeaderboardFinding:
    """One thing that is wrong with a folder, and how much of it."""

    kind: Kind
    models: tuple[str, ...]
    detail: str
    judge: str = ""
    benchmark: int | None = None
    items: int | None = None
    """How many items it concerns, over all models."""
    effect: float | None = None
    """Points of win rate that it is worth, where that can be told."""
    standard_error: float | None = None


def instructions(count: int) -> str:
    """So many instructions."""
    return f"{count} instruction{'s' * (count != 1)}"


def named(names: Sequence[str]) -> str:
    """Names in a row, and how many more there are."""
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    return ", ".join(names[:MOST_NAMED]) + more
