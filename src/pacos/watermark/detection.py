"""What a detector finds in a text, and how sure it may be."""

import math
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import betainc, ndtr

MIN_TOKENS_FOR_A_VERDICT = 25
MAX_FALSE_ALARM_RATE = float(ndtr(-4.0))
"""3.2e-5, the normal tail at the papers' threshold of z = 4."""
SHORTEST_PASSAGE = 32

Verdict = Literal["insufficient text", "watermarked", "no watermark found"]


@dataclass(frozen=True)
class Passage:
    """The greenest of the `tried` pieces of a text that were looked at beside the whole.

    `start` and `end` count scored positions, repeats included, and say where in that piece the green tokens gather.
    """

    start: int
    end: int
    num_tokens_scored: int
    num_green_tokens: int
    tried: int


@dataclass(frozen=True)
class Detection:
    """Green tokens counted, and how unlikely so many are in text that nobody marked."""

    num_tokens_scored: int
    """Scored n-grams; each counts once where repeats are ignored."""
    num_green_tokens: int
    z_score: float
    p_value: float
    """Normal approximation, the published detector's figure; too small for short texts."""
    green_token_mask: list[bool]
    """One a scored position, repeats included, from the first token that has enough context."""
    counted_mask: list[bool]
    """Beside it: False where a repeat was not counted."""
    gamma: float
    readings: int = 1
    """In how many ways the text was read, this being the greenest."""
    passage: Passage | None = None
    """Where pieces of the text were looked at too, the greenest."""

    @property
    def exact_p_value(self) -> float:
        """The chance of at least so many green tokens when each is green with probability gamma: the binomial tail,
        times the readings of which this is one.

        Where passages were looked at, half of the chance of a false alarm is the whole text's and half is theirs.
        """
        whole = self._whole_p_value()
        if self.passage is None:
            return min(1.0, self.readings * whole)
        return min(1.0, 2 * self.readings * min(whole, self._passage_p_value()))

    @property
    def is_in_passage(self) -> bool:
        """Whether a passage says more than the whole text."""
        return self.passage is not None and self._passage_p_value() < self._whole_p_value()

    @property
    def verdict(self) -> Verdict:
        """In words: by the exact p-value, against a false alarm rate of 3.2e-5, from 25 scored tokens on."""
        if self.num_tokens_scored < MIN_TOKENS_FOR_A_VERDICT:
            return "insufficient text"
        return "watermarked" if self.exact_p_value <= MAX_FALSE_ALARM_RATE else "no watermark found"

    def _whole_p_value(self) -> float:
        return float(_tail(self.num_green_tokens, self.num_tokens_scored, self.gamma))

    def _passage_p_value(self) -> float:
        assert self.passage
        tail = _tail(self.passage.num_green_tokens, self.passage.num_tokens_scored, self.gamma)
        return self.passage.tried * float(tail)


def summarise(green: NDArray[np.bool_], counted: NDArray[np.bool_], gamma: float) -> Detection:
    """The one-proportion z-test of the paper (section 3, equation 3); z is 0 where nothing could be scored."""
    num_tokens_scored, num_green_tokens = int(counted.sum()), int((green & counted).sum())
    z_score, p_value = 0.0, 1.0
    if num_tokens_scored:
        excess = num_green_tokens - gamma * num_tokens_scored
        z_score = excess / math.sqrt(num_tokens_scored * gamma * (1 - gamma))
        p_value = float(ndtr(-z_score))
    return Detection(num_tokens_scored, num_green_tokens, z_score, p_value, green.tolist(), counted.tolist(), gamma)


def search_passages(found: Detection) -> Detection:
    """The same text, looked at in pieces too: a marked passage among other text is lost in the whole.

    Pieces have 32, 64, 128 ... counted positions and begin at every quarter of their length, so that there are only
    about a quarter as many as positions: their least p-value times their number holds for all of them together
    (Bonferroni). A text of 32 and fewer has none.
    """
    counted = np.flatnonzero(found.counted_mask)
    sums = np.concatenate([[0], np.cumsum(np.asarray(found.green_token_mask, dtype=bool)[counted])])
    starts, ends = [], []
    length = SHORTEST_PASSAGE
    while length < len(counted):
        starts.append(np.arange(0, len(counted) - length + 1, length // 4))
        ends.append(starts[-1] + length)
        length *= 2
    if not starts:
        return found
    start, end = np.concatenate(starts), np.concatenate(ends)
    best = int(np.argmin(_tail(sums[end] - sums[start], end - start, found.gamma)))
    first, last = int(start[best]), int(end[best])
    inner_first, inner_last = _greenest_part(np.diff(sums[first : last + 1]), found.gamma)
    place, last_place = int(counted[first + inner_first]), int(counted[first + inner_last - 1])
    passage = Passage(place, last_place + 1, last - first, int(sums[last] - sums[first]), len(start))
    return replace(found, passage=passage)


def _greenest_part(green: NDArray[np.int64], gamma: float) -> tuple[int, int]:
    """The part whose likelihood gains most when it is taken for marked, half of its red share having become green."""
    marked = (1 + gamma) / 2
    gains = np.where(green, math.log(marked / gamma), math.log((1 - marked) / (1 - gamma)))
    before = np.concatenate([[0.0], np.cumsum(gains)])
    last = int(np.argmax(before - np.minimum.accumulate(before)))
    return (int(np.argmin(before[:last])), last) if last else (0, len(green))


def _tail(num_green: Any, num_scored: Any, gamma: float) -> Any:
    """The chance of at least so many green ones among so many; works for arrays, and is 1 for none."""
    return np.where(np.equal(num_green, 0), 1.0, betainc(np.maximum(num_green, 1), num_scored - num_green + 1, gamma))[
        ()
    ]
