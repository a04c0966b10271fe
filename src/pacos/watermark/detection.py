"""What a detector finds in a text, and how sure it may be."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from scipy.special import betainc, ndtr

MIN_TOKENS_FOR_A_VERDICT = 25
MAX_FALSE_ALARM_RATE = float(ndtr(-4.0))
"""3.2e-5, the normal tail at the papers' threshold of z = 4."""

Verdict = Literal["insufficient text", "watermarked", "no watermark found"]


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
    gamma: float
    readings: int = 1
    """In how many ways the text was read, this being the greenest."""

    @property
    def exact_p_value(self) -> float:
        """The chance of at least so many green tokens when each is green with probability gamma: the binomial tail,
        times the readings of which this is one."""
        if self.num_green_tokens == 0:
            return 1.0
        red = self.num_tokens_scored - self.num_green_tokens
        return min(1.0, self.readings * float(betainc(self.num_green_tokens, red + 1, self.gamma)))

    @property
    def verdict(self) -> Verdict:
        """In words: by the exact p-value, against a false alarm rate of 3.2e-5, from 25 scored tokens on."""
        if self.num_tokens_scored < MIN_TOKENS_FOR_A_VERDICT:
            return "insufficient text"
        return "watermarked" if self.exact_p_value <= MAX_FALSE_ALARM_RATE else "no watermark found"


def summarise(num_tokens_scored: int, num_green_tokens: int, mask: Sequence[bool], gamma: float) -> Detection:
    """The one-proportion z-test of the paper (section 3, equation 3); z is 0 where nothing could be scored."""
    z_score = 0.0
    if num_tokens_scored:
        excess = num_green_tokens - gamma * num_tokens_scored
        z_score = excess / math.sqrt(num_tokens_scored * gamma * (1 - gamma))
    p_value = float(ndtr(-z_score)) if num_tokens_scored else 1.0
    return Detection(num_tokens_scored, num_green_tokens, z_score, p_value, list(mask), gamma)
