"""The logits operation: raises green tokens by delta, for a whole batch at once, on any device.

Tensors are only met through their own methods, so that reading this file loads no torch: detection needs none.
"""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import torch


def raise_green(logits_BV: "torch.Tensor", green_BV: NDArray[np.bool_], delta: float) -> "torch.Tensor":
    """A copy of `logits_BV` with delta added where `green_BV` is true; every other logit keeps its bits."""
    is_green_BV = logits_BV.new_tensor(green_BV).bool()
    return (logits_BV + delta).where(is_green_BV, logits_BV)


def top_ids(logits_BV: "torch.Tensor", count: int) -> list[list[int]]:
    """The ids of each row's `count` highest logits, highest first."""
    return logits_BV.topk(min(count, logits_BV.shape[-1]), dim=-1).indices.tolist()
