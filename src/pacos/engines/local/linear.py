"""Matrix products as fast as this machine has them, fused where several read the same input."""

from collections.abc import Sequence
from typing import Any, Protocol, cast

import torch
from torch import Tensor
from torch.nn.functional import linear

# Weights are laid out for this many rows at once; the layout then serves any number, and rows are summed in the same
# order whether alone or among others.
PACKED_FOR_ROWS = 32


class Linear(Protocol):
    """x [N, in] -> [N, out], with `add` [N, out] added where given."""

    def __call__(self, x_NE: Tensor, add: Tensor | None = None) -> Tensor:
        """The product."""
        ...


def make_linear(modules: Sequence[Any], keep: bool = False) -> Linear:
    """One product for several linear modules of one input, their outputs side by side.

    It takes the modules' weights, so that they are not held twice, unless told to `keep` them.
    """
    weights = [module.weight.detach() for module in modules]
    biases = [getattr(module, "bias", None) for module in modules]
    if not keep:
        for module in modules:
            module.weight = None
    weight = torch.cat(weights) if len(weights) > 1 else weights[0]
    bias = None
    if any(each is not None for each in biases):
        none = [weight.new_zeros(len(each)) for each in weights]
        bias = torch.cat([zero if each is None else each.detach() for zero, each in zip(none, biases, strict=True)])
    if weight.device.type != "cpu" or not hasattr(torch.ops.mkldnn, "_reorder_linear_weight"):
        return PlainLinear(weight, bias)
    return PackedLinear(weight, bias)


class PlainLinear:
    """torch's own."""

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        self.weight, self.bias = weight, bias

    def __call__(self, x_NE: Tensor, add: Tensor | None = None) -> Tensor:
        """The product."""
        product = linear(x_NE, self.weight, self.bias)
        return product if add is None else product + add


class PackedLinear:
    """oneDNN's, its weights laid out once: 25 instead of 53 µs for 960 x 576 in bf16 at one row, where a call of
    torch's own finds out anew each time how to read them. It is what torch.compile calls, under the same names.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        self.packed = torch.ops.mkldnn._reorder_linear_weight(weight.contiguous(), PACKED_FOR_ROWS)
        self.bias = bias

    def __call__(self, x_NE: Tensor, add: Tensor | None = None) -> Tensor:
        """The product."""
        pointwise: Any = torch.ops.mkldnn._linear_pointwise
        if add is None:
            return cast(Tensor, pointwise(x_NE, self.packed, self.bias, "none", [], ""))
        return cast(Tensor, pointwise.binary(x_NE, add, self.packed, self.bias, "add"))
