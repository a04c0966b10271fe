"""AdamW with linear warm-up and cosine decay, as the Alpaca run used it, on weights that are exact in fp32; moments are
too, or in 8 bits."""

import math

import torch
from torch.distributed.tensor import DTensor
from torch.nn.functional import pad
from torch.optim.adamw import adamw

from pacos.core.recipe import TrainTable
from pacos.train.data import PUBLISHED

BETAS = (0.9, 0.999)
EPSILON = 1e-8
# Gradients are scaled down to this norm, over all weights together.
CLIP_NORM = 1.0
# 8-bit states: values of a row share a scale by this many; tensors smaller than that many numbers keep fp32 states.
BLOCK = 256
SMALL = 4096
# By trained weight, what it lacks of its fp32 value where it is kept in bf16.
Remainders = dict[torch.nn.Parameter, torch.Tensor]
# Levels of an 8-bit number and the power they follow: dense near zero, where most of a block's values lie.
FIRST, SECOND = (127, 2), (255, 4)


def local(tensor: torch.Tensor) -> torch.Tensor:
    """This process's part of a tensor, whether it is sharded or not."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def split(master: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The bits of an fp32 tensor rounded to bf16, and the 16 that make it whole again, both int16.

    Processes cannot exchange int16, so both are kept as bf16. The second must never be computed with as such: some of
    its bits mean no number, and a conversion would change them.
    """
    bits = master.contiguous().view(torch.int32)
    # Ties go up in magnitude, so that the remainder is -0x8000 to 0x7FFF, which is 16 bits with their sign.
    high = (bits + 0x8000) >> 16
    low = bits - (high << 16)
    return high.to(torch.int16), low.to(torch.int16)


def join(high: torch.Tensor, low: torch.Tensor) -> torch.Tensor:
    """The fp32 tensor that `split` took apart, bit for bit."""
    return ((high.to(torch.int32) << 16) + low.to(torch.int32)).view(torch.float32)


def quantise(values: torch.Tensor, levels: int, power: int, dither: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """8-bit numbers of `values` [R, ...] and their scales [R, blocks]; `dither` [256] in [0, 1) decides on rounding.

    Over the steps the dither is even, so what is too small for a level adds up in the mean instead of being lost. A
    positive second moment never becomes 0, which would divide its update by almost nothing.
    """
    flat = values.reshape(values.shape[0], -1)
    blocks = pad(flat, (0, -flat.shape[1] % BLOCK)).view(values.shape[0], -1, BLOCK)
    scale = blocks.abs().amax(2).clamp_min(torch.finfo(torch.float32).tiny)
    share = blocks.abs() / scale[..., None]
    below = (share ** (1 / power) * levels).floor().clamp_max(levels - 1)
    low, high = (below / levels) ** power, ((below + 1) / levels) ** power
    level = below + ((share - low) / (high - low) > dither)
    signed = level.clamp_min(1) * (share > 0) if power == SECOND[1] else level * blocks.sign()
    whole = signed.flatten(1)[:, : flat.shape[1]].reshape(values.shape)
    return whole.to(torch.uint8 if power == SECOND[1] else torch.int8), scale


def dequantise(numbers: torch.Tensor, scale: torch.Tensor, levels: int, power: int) -> torch.Tensor:
    """The fp32 values of 8-bit numbers."""
    flat = numbers.reshape(numbers.shape[0], -1).float() / levels
    scales = scale.repeat_interleave(BLOCK, 1)[:, : flat.shape[1]]
    return (flat.abs() ** power * flat.sign() * scales).reshape(numbers.shape)


class AdamW:
    """AdamW on weights that are rebuilt in fp32 for the moment of their update, one tensor at a time.

    `remainders` holds, for weights kept in bf16, what `split` left of their fp32 value. With `eight_bit` the moments
    are kept in 8 bits and a scale a block. All states are there from the beginning, sharded as their weights are;
    biases and norms are not decayed.
    """

    def __init__(self, model: torch.nn.Module, weight_decay: float, remainders: Remainders, eight_bit: bool) -> None:
        self.weight_decay = weight_decay
        # A GPU would read and write memory for each of the forty operations; made one kernel, twice in all.
        on_gpu = any(parameter.is_cuda for parameter in model.parameters())
        self._update_8bit = torch.compile(update_8bit, dynamic=False) if on_gpu else update_8bit
        self.state: dict[torch.nn.Parameter, dict[str, torch.Tensor]] = {}
        for parameter in model.parameters():
            if not parameter.requires_grad:
                continue
            state = self.state[parameter] = {"step": torch.zeros((), device=parameter.device)}
            if parameter in remainders:
                state["remainder"] = remainders[parameter]
            compact = eight_bit and parameter.ndim >= 2 and parameter.numel() >= SMALL
            for name, kind in (("exp_avg", torch.int8), ("exp_avg_sq", torch.uint8)):
                state[name] = torch.zeros_like(parameter, dtype=kind if compact else torch.float32)
                if compact:
                    # A slice of the weight, so that a sharded one gives sharded scales.
                    blocks = math.ceil(parameter.numel() // parameter.shape[0] / BLOCK)
                    scale = parameter.detach().flatten(1)[:, :1].expand(-1, blocks)
                    state[f"{name}_scale"] = torch.zeros_like(scale, dtype=torch.float32).contiguous()

    def gradients(self) -> list[torch.Tensor]:
        """This process's part of every gradient."""
        return [local(parameter.grad) for parameter in self.state if parameter.grad is not None]

    @torch.no_grad()
    def step(self, rate: float, clip: float = 1.0) -> None:
        """One update of every weight that has a gradient, multiplied by `clip`."""
        # As tensors, so that another rate is no other function to compile; made once, not for each weight.
        scalars = torch.tensor([rate, self.weight_decay, clip], device=next(iter(self.state)).device).unbind()
        for parameter, sharded in self.state.items():
            if parameter.grad is None or not local(parameter).numel():
                continue
            weight, gradient = local(parameter).detach(), local(parameter.grad)
            state = {name: local(value) for name, value in sharded.items()}
            if "remainder" in state:
                weight, state["remainder"] = (each.view(torch.int16) for each in (weight, state["remainder"]))
            if "exp_avg_scale" in state:
                self._update_8bit(weight, gradient, state, *scalars)
            else:
                update_fp32(weight, gradient, state, rate, self.weight_decay if parameter.ndim >= 2 else 0.0, clip)


def update_fp32(
    weight: torch.Tensor, gradient: torch.Tensor, state: dict[str, torch.Tensor],
    rate: float, decay: float, clip: float,
) -> None:  # fmt: skip
    """torch's fused AdamW in place, to the bit, on the gradient times `clip`; a `weight` with a remainder is int16."""
    master = join(weight, state["remainder"]) if "remainder" in state else weight
    adamw(
        [master], [gradient.float().mul_(clip)], [state["exp_avg"]], [state["exp_avg_sq"]], [], [state["step"]],
        fused=True, amsgrad=False, maximize=False, beta1=BETAS[0], beta2=BETAS[1], lr=rate, weight_decay=decay,
        eps=EPSILON,
    )  # fmt: skip
    _put_back(weight, state, master)


def update_8bit(
    weight: torch.Tensor, gradient: torch.Tensor, state: dict[str, torch.Tensor],
    rate: torch.Tensor, decay: torch.Tensor, clip: torch.Tensor,
) -> None:  # fmt: skip
    """The same by plain operations, which torch.compile can make one kernel, on moments of 8 bits."""
    gradient = gradient.float() * clip
    master = join(weight, state["remainder"]) if "remainder" in state else weight
    first = dequantise(state["exp_avg"], state["exp_avg_scale"], *FIRST)
    second = dequantise(state["exp_avg_sq"], state["exp_avg_sq_scale"], *SECOND)
    first = first.lerp(gradient, 1 - BETAS[0])
    second = second * BETAS[1] + gradient.square() * (1 - BETAS[1])
    step = state["step"].add_(1)
    deviation = (second / (1 - BETAS[1] ** step)).sqrt() + EPSILON
    updated = master * (1 - rate * decay) - rate / (1 - BETAS[0] ** step) * first / deviation
    _put_back(weight, state, updated)
    dither = _dither(step)
    for name, values, kind in (("exp_avg", first, FIRST), ("exp_avg_sq", second, SECOND)):
        numbers8, scale = quantise(values, *kind, dither)
        state[name].copy_(numbers8)
        state[f"{name}_scale"].copy_(scale)


def _put_back(weight: torch.Tensor, state: dict[str, torch.Tensor], master: torch.Tensor) -> None:
    if "remainder" not in state:
        weight.copy_(master)
        return
    high, low = split(master)
    weight.copy_(high)
    state["remainder"].copy_(low)


def _dither(step: torch.Tensor) -> torch.Tensor:
    """[256] numbers in [0, 1), evenly spread over places and over steps: the R2 sequence of Roberts (2018)."""
    # The fraction of place/p + step/p^2, where p^3 = p + 1 (p is 1.3247179572...). In integers, times 2^32, because
    # not every device has float64: 2^32/p is 3,242,174,889 and 2^32/p^2 is 2,447,445,414. 24 bits fit an fp32 number.
    places = torch.arange(BLOCK, device=step.device) * 3_242_174_889 + step.long() * 2_447_445_414
    return (places % 2**32 >> 8).float() / 2**24


def scheduled_rate(step: int, total_steps: int, table: TrainTable) -> float:
    """The learning rate of optimizer step `step`, counted from 0: linear to its peak, then half a cosine towards 0.

    `alpaca-2023` has transformers' schedule, whose first step has rate 0. In `modern` none has, so that a run of one
    step trains too.
    """
    warmup = math.ceil(total_steps * table.warmup_ratio)
    if step < warmup:
        return table.learning_rate * (step + (table.mode != PUBLISHED)) / warmup
    progress = (step - warmup) / max(total_steps - warmup, 1)
    return table.learning_rate * 0.5 * (1.0 + math.cos(math.pi * progress))
