"""Choosing the next token of every row of a batch at once."""

from collections.abc import Sequence
from typing import Self

import torch

from pacos.engines.types import Sampling


class Chooser:
    """Greedy or sampled tokens for a batch of rows, each row with its own temperature, top-p and random numbers.

    A row's random numbers are drawn before the first step from its own seed and used one a step, so that its reply
    does not depend on which rows it shares a batch with.
    """

    def __init__(self, samplings: Sequence[Sampling], limits: Sequence[int], device: torch.device) -> None:
        temperatures = torch.tensor([sampling.temperature for sampling in samplings])
        self.greedy_B1 = (temperatures == 0)[:, None].to(device)
        self.temperature_B1 = torch.where(temperatures == 0, 1.0, temperatures)[:, None].to(device)
        self.top_p_B1 = torch.tensor([[sampling.top_p] for sampling in samplings], device=device)
        self.all_greedy = bool(self.greedy_B1.all())
        self.any_nucleus = any(sampling.top_p < 1 and sampling.temperature > 0 for sampling in samplings)
        self.uniform_BS = torch.empty(0)
        if not self.all_greedy:
            self.uniform_BS = torch.zeros(len(samplings), max(limits))
            for row, (sampling, limit) in enumerate(zip(samplings, limits, strict=True)):
                self.uniform_BS[row, :limit] = _uniform(sampling.seed, limit)
            self.uniform_BS = self.uniform_BS.to(device)

    def move_row(self: Self, source: int, target: int) -> None:
        """Row `source` takes the place of row `target`."""
        for tensor in (self.greedy_B1, self.temperature_B1, self.top_p_B1, self.uniform_BS):
            if len(tensor):
                tensor[target] = tensor[source]

    def temper(self, logits_BV: torch.Tensor) -> torch.Tensor:
        """Logits over each row's temperature; B may be fewer rows than at first."""
        return logits_BV if self.all_greedy else logits_BV.float() / self.temperature_B1[: len(logits_BV)]

    def choose(self, logits_BV: torch.Tensor, step: int) -> torch.Tensor:
        """The tokens [B] of step `step`, counted from 0, from tempered logits."""
        if self.all_greedy:
            return logits_BV.argmax(-1)
        rows = len(logits_BV)
        probabilities_BV = torch.softmax(logits_BV, dim=-1)
        uniform_B1 = self.uniform_BS[:rows, step : step + 1]
        if self.any_nucleus:
            sampled_B1 = _from_nucleus(probabilities_BV, uniform_B1, self.top_p_B1[:rows])
        else:
            sampled_B1 = _by_inversion(probabilities_BV, uniform_B1)
        return torch.where(self.greedy_B1[:rows], logits_BV.argmax(-1, keepdim=True), sampled_B1)[:, 0]


def _uniform(seed: int | None, count: int) -> torch.Tensor:
    generator = torch.Generator()
    generator.seed() if seed is None else generator.manual_seed(seed)
    # Kept clear of 1, where rounding could reach past the last token of any probability.
    return torch.rand(count, generator=generator).clamp(max=1 - 1e-6)


def _by_inversion(probabilities_BV: torch.Tensor, uniform_B1: torch.Tensor) -> torch.Tensor:
    """The first place whose cumulative probability exceeds the random number's share of the sum."""
    cumulative_BV = probabilities_BV.cumsum(-1)
    place_B1 = torch.searchsorted(cumulative_BV, uniform_B1 * cumulative_BV[:, -1:], right=True)
    return place_B1.clamp(max=probabilities_BV.shape[-1] - 1)


def _from_nucleus(probabilities_BV: torch.Tensor, uniform_B1: torch.Tensor, top_p_B1: torch.Tensor) -> torch.Tensor:
    """Samples from the fewest likeliest tokens whose probabilities reach top_p."""
    sorted_BV, order_BV = probabilities_BV.sort(dim=-1, descending=True)
    before_BV = sorted_BV.cumsum(-1) - sorted_BV
    kept_BV = torch.where(before_BV < top_p_B1, sorted_BV, 0.0)
    kept_BV[:, 0] = sorted_BV[:, 0]
    return order_BV.gather(-1, _by_inversion(kept_BV, uniform_B1))
