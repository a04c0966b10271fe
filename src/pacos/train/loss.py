"""The loss of one row: cross-entropy where there is a label, in less time and memory than autograd would take."""

from typing import Any

import torch
from transformers import PreTrainedModel

from pacos.train.packing import Row

# Numbers computed in fp32 at once: few enough for a CPU's cache, enough to keep a GPU busy.
AT_ONCE = {"cpu": 2**21, "cuda": 2**25, "mps": 2**25}


def row_logits(model: PreTrainedModel, row: Row) -> torch.Tensor:
    """Logits [L, V] at the row's predictors."""
    logits = model(**row.inputs, use_cache=False).logits.flatten(0, 1)
    # The LM head, a third of a small model's products, is computed where there is a label.
    return logits if "logits_to_keep" in row.inputs else logits[row.predictors]  # type: ignore[no-any-return]


def row_loss(model: PreTrainedModel, row: Row) -> torch.Tensor:
    """The row's part of the step's loss: cross-entropy in nats at each label times the label's weight."""
    loss: torch.Tensor = _WeightedCrossEntropy.apply(  # type: ignore[no-untyped-call]
        row_logits(model, row), row.labels, row.weights
    )
    return loss


class _WeightedCrossEntropy(torch.autograd.Function):
    """Sum over L of weight times cross-entropy in nats; of logits [L, V], which it uses up, labels [L] and weights [L].

    Logits are the largest tensor of a step. Autograd would keep them three times over in fp32 and read them five times;
    here their gradient takes their place at once, a few rows at a time. A label without weight may be negative.
    """

    @staticmethod
    def forward(ctx: Any, logits_LV: torch.Tensor, labels_L: torch.Tensor, weights_L: torch.Tensor) -> torch.Tensor:
        loss = torch.zeros((), device=logits_LV.device)
        rows = max(1, AT_ONCE[logits_LV.device.type] // logits_LV.shape[1])
        parts = (torch.split(each, rows) for each in (logits_LV, labels_L.clamp_min(0)[:, None], weights_L[:, None]))
        for logits, labels, weights in zip(*parts, strict=True):
            log_probabilities = torch.log_softmax(logits, 1, dtype=torch.float32)
            loss -= (log_probabilities.gather(1, labels) * weights).sum()
            if ctx.needs_input_grad[0]:
                gradient = log_probabilities.exp_()
                gradient.scatter_add_(1, labels, gradient.new_full(labels.shape, -1.0))
                logits.copy_(gradient.mul_(weights))
        ctx.save_for_backward(logits_LV.detach())
        return loss

    @staticmethod
    def backward(ctx: Any, scale: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        (gradient_LV,) = ctx.saved_tensors
        return gradient_LV.mul_(scale), None, None
