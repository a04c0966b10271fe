"""The loss of one row: LM head and cross-entropy where there is a label, in less time and memory than autograd's."""

from collections.abc import Iterator
from contextlib import contextmanager
from types import MethodType
from typing import Any, cast

import torch
from torch.distributed.fsdp import register_fsdp_forward_method
from transformers import PreTrainedModel

from pacos.train.packing import Row

# Numbers computed in fp32 at once: few enough for a CPU's cache, enough to keep a GPU busy.
AT_ONCE = {"cpu": 2**21, "cuda": 2**25, "mps": 2**25}
# Logits of a packed row that are there at once. For each such part the head's weights and their gradient are read and
# written once more, so the part must not be small.
LOGITS_AT_ONCE = 2**27
_METHOD = "packed_loss"


def row_loss(model: PreTrainedModel, row: Row) -> torch.Tensor:
    """The row's part of the step's loss: cross-entropy in nats at each label times the label's weight."""
    if row.is_packed:
        if not hasattr(model, _METHOD):
            # A sharded model's weights are there only while one of its registered methods runs.
            setattr(model, _METHOD, MethodType(_packed_loss, model))
            register_fsdp_forward_method(model, _METHOD)
        return cast(torch.Tensor, getattr(model, _METHOD)(row))
    loss: torch.Tensor = _WeightedCrossEntropy.apply(  # type: ignore[no-untyped-call]
        row_logits(model, row), row.labels, row.weights
    )
    return loss


def row_logits(model: PreTrainedModel, row: Row) -> torch.Tensor:
    """Logits [L, V] at the row's predictors, by the model's own head."""
    with _head_at(model, row.predictors) as narrowed:
        logits = model(**row.inputs, use_cache=False).logits.flatten(0, 1)
    return logits if narrowed else logits[row.predictors]  # type: ignore[no-any-return]


@contextmanager
def _head_at(model: PreTrainedModel, predictors: torch.Tensor) -> Iterator[list[bool]]:
    """Has the model compute its LM head [1, L, V] at these places of its rows only; yields what is empty for ever where
    the model does not call its head as a module."""
    narrowed: list[bool] = []

    def narrow(head: torch.nn.Module, arguments: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
        narrowed.append(True)
        return (arguments[0].flatten(0, 1)[predictors][None], *arguments[1:])

    head = model.get_output_embeddings()  # type: ignore[no-untyped-call]
    hook = head.register_forward_pre_hook(narrow) if isinstance(head, torch.nn.Module) else None
    try:
        yield narrowed
    finally:
        if hook:
            hook.remove()


def _packed_loss(model: PreTrainedModel, row: Row) -> torch.Tensor:
    """The same for a model of the fast path, whose head is one product and, of some, a cap on its logits."""
    hidden_1TH = model.base_model(**row.inputs, use_cache=False).last_hidden_state
    weight_VH = cast(torch.nn.Linear, model.get_output_embeddings()).weight  # type: ignore[no-untyped-call]
    cap = getattr(model.config.get_text_config(), "final_logit_softcapping", None)
    loss: torch.Tensor = _HeadAndCrossEntropy.apply(  # type: ignore[no-untyped-call]
        hidden_1TH[:, row.predictors].squeeze(0), weight_VH, row.labels, row.weights, cap
    )
    return loss


def _loss_and_gradient(
    logits_LV: torch.Tensor, labels_L: torch.Tensor, weights_L: torch.Tensor, backward: bool, cap: float | None = None
) -> torch.Tensor:
    """Sum over L of weight times cross-entropy in nats; with `backward` the logits' gradient takes their place.

    Logits are the largest tensors of a step. Autograd would keep them three times over in fp32 and read them five
    times; this computes a few rows at a time. A label without weight may be negative.
    """
    loss = torch.zeros((), device=logits_LV.device)
    rows = max(1, AT_ONCE[logits_LV.device.type] // logits_LV.shape[1])
    parts = (torch.split(each, rows) for each in (logits_LV, labels_L.clamp_min(0)[:, None], weights_L[:, None]))
    for logits, labels, weights in zip(*parts, strict=True):
        bent = torch.tanh(logits.float() / cap) if cap else None
        capped = bent * cap if bent is not None and cap else logits
        log_probabilities = torch.log_softmax(capped, 1, dtype=torch.float32)
        loss -= (log_probabilities.gather(1, labels) * weights).sum()
        if backward:
            gradient = log_probabilities.exp_()
            gradient.scatter_add_(1, labels, gradient.new_full(labels.shape, -1.0))
            gradient.mul_(weights)
            logits.copy_(gradient if bent is None else gradient.mul_(1 - bent.square()))
    return loss


class _WeightedCrossEntropy(torch.autograd.Function):
    """`_loss_and_gradient` of logits [L, V], which it uses up."""

    @staticmethod
    def forward(ctx: Any, logits_LV: torch.Tensor, labels_L: torch.Tensor, weights_L: torch.Tensor) -> torch.Tensor:
        loss = _loss_and_gradient(logits_LV, labels_L, weights_L, ctx.needs_input_grad[0])
        ctx.save_for_backward(logits_LV.detach())
        return loss

    @staticmethod
    def backward(ctx: Any, scale: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        (gradient_LV,) = ctx.saved_tensors
        return gradient_LV.mul_(scale), None, None


class _HeadAndCrossEntropy(torch.autograd.Function):
    """`_loss_and_gradient` of the head's product of hidden states [L, H] and weights [V, H], a part of L at a time.

    Both gradients are there when the loss is, so that no logits are kept and none are computed twice.
    """

    @staticmethod
    def forward(
        ctx: Any, hidden_LH: torch.Tensor, weight_VH: torch.Tensor, labels_L: torch.Tensor, weights_L: torch.Tensor,
        cap: float | None,
    ) -> torch.Tensor:  # fmt: skip
        kind = hidden_LH.device.type
        dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else hidden_LH.dtype
        to_hidden, to_weight = ctx.needs_input_grad[:2]
        head_VH, loss = weight_VH.to(dtype), torch.zeros((), device=hidden_LH.device)
        rows = max(1, LOGITS_AT_ONCE // weight_VH.shape[0])
        by_hidden, by_weight = [], None
        parts = (torch.split(each, rows) for each in (hidden_LH.to(dtype), labels_L, weights_L))
        for hidden, labels, weights in zip(*parts, strict=True):
            logits = hidden @ head_VH.T
            loss += _loss_and_gradient(logits, labels, weights, to_hidden or to_weight, cap)
            if to_hidden:
                by_hidden.append((logits @ head_VH).to(hidden_LH.dtype))
            if to_weight:
                gradient = logits.T @ hidden
                # Summed over parts in fp32.
                by_weight = gradient if by_weight is None else by_weight.float().add_(gradient)
        ctx.gradients = (
            torch.cat(by_hidden) if to_hidden else None,
            None if by_weight is None else by_weight.to(weight_VH.dtype),
        )
        return loss

    @staticmethod
    def backward(ctx: Any, scale: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        gradients, ctx.gradients = ctx.gradients, None
        # Given away, so that the weights' need not be copied.
        return (*(None if each is None else each.mul_(scale) for each in gradients), None, None, None)
