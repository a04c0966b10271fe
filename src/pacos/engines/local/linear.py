"""Matrix products as fast as this machine has them, fused where several read the same input."""

import warnings
from collections.abc import Sequence
from typing import Any, Protocol, cast

import torch
from torch import Tensor
from torch.nn.functional import linear

# Weights are laid out for this many rows at once; the layout then serves any number, and rows are summed in the same
# order whether alone or among others.
PACKED_FOR_ROWS = 32
# What a row or a weight of nothing but zeros is divided by.
SMALLEST = 1e-30


class Linear(Protocol):
    """x [N, in] -> [N, out], with `add` [N, out] added where given."""

    def __call__(self, x_NE: Tensor, add: Tensor | None = None) -> Tensor:
        """The product."""
        ...


def int8_refusal(device: torch.device) -> str | None:
    """Why weights cannot be held in 8 bits here; None where they can.

    Without VNNI the products of two bytes are added in 16 bits, which overflow.
    """
    has_vnni = getattr(torch.cpu, "_is_vnni_supported", lambda: False)()
    if device.type == "cpu" and has_vnni and "fbgemm" in torch.backends.quantized.supported_engines:
        return None
    return f'weights = "int8" needs a CPU with AVX-512 VNNI and computes on {device.type} here; set weights = "auto"'


def make_linear(modules: Sequence[Any], keep: bool = False, in_int8: bool = False) -> Linear:
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
    if in_int8:
        return Int8Linear(weight, bias)
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


class Int8Linear:
    """FBGEMM's: weights of 8 bits, one scale an output, and inputs rounded to 8 bits by a scale of each row's own.

    Sums are of integers, so that a row is the same to the bit whoever shares its batch.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        scales = weight.float().abs().amax(1).clamp_min_(SMALLEST) / 127
        zeros = torch.zeros(len(scales), dtype=torch.long)
        engine = torch.backends.quantized.engine
        torch.backends.quantized.engine = "fbgemm"
        try:
            with warnings.catch_warnings():
                # torch means to drop this kind of tensor; its packing has no other door, and no other product of
                # bytes that torch has is as fast.
                warnings.simplefilter("ignore", UserWarning)
                rounded = torch.quantize_per_channel(weight.float(), scales.double(), zeros, 0, torch.qint8)
            self.packed = torch.ops.quantized.linear_prepack(rounded, None)
        finally:
            torch.backends.quantized.engine = engine
        self.bias = bias

    def __call__(self, x_NE: Tensor, add: Tensor | None = None) -> Tensor:
        """The product."""
        peaks_N1 = torch.linalg.vector_norm(x_NE, torch.inf, dim=1, keepdim=True, dtype=torch.float32)
        peaks_N1.clamp_min_(SMALLEST)
        multiply: Any = torch.ops.quantized.linear_with_input_q_dq_qweight_dq_output_fp32
        product: Tensor = multiply(x_NE / peaks_N1, 1 / 127, 128, self.packed)
        if self.bias is None:
            product.mul_(peaks_N1)
        else:
            product = torch.addcmul(self.bias, product, peaks_N1)
        return (product if add is None else product.add_(add)).to(x_NE.dtype)
