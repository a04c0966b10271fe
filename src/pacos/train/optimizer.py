"""AdamW with linear warm-up and cosine decay, as the Alpaca run used it."""

import math

import torch


def make_optimizer(model: torch.nn.Module, learning_rate: float, weight_decay: float) -> torch.optim.AdamW:
    """Fused AdamW, β 0.9/0.999 and ε 1e-8; biases and norms are not decayed."""
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    groups = [
        {"params": [p for p in parameters if p.ndim >= 2], "weight_decay": weight_decay},
        {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=learning_rate, betas=(0.9, 0.999), eps=1e-8, fused=True)


def scheduled_rate(step: int, total_steps: int, peak: float, warmup_ratio: float) -> float:
    """The learning rate of optimizer step `step`, counted from 1: linear to `peak`, then half a cosine towards 0.

    Unlike transformers' schedule no step has rate 0, so that a run of one step trains too.
    """
    warmup = math.ceil(total_steps * warmup_ratio)
    if step <= warmup:
        return peak * step / warmup
    progress = (step - 1 - warmup) / max(total_steps - warmup, 1)
    return peak * 0.5 * (1.0 + math.cos(math.pi * progress))
