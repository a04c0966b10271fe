"""The training loss: the mean over a step's supervised tokens, summed row by row."""

import inspect
from collections.abc import Sequence

import torch
from torch.nn.functional import cross_entropy
from transformers import PreTrainedModel

from pacos.train.packing import NO_LABEL, Row


def row_logits(model: PreTrainedModel, row: Row) -> torch.Tensor:
    """Logits [L, V] at the row's predictors, in fp32; those past `row.num_labels` are filling."""
    options = {"position_ids": row.position_ids, "document_lengths": row.lengths, "use_cache": False}
    # Most models compute the LM head where they are told to; for the rest its other rows are thrown away.
    if "logits_to_keep" in inspect.signature(model.forward).parameters:
        logits_LV: torch.Tensor = model(row.input_ids, **options, logits_to_keep=row.predictors).logits[0]
    else:
        logits_LV = model(row.input_ids, **options).logits[0, row.predictors]
    return logits_LV.float()


def summed_loss(model: PreTrainedModel, row: Row) -> torch.Tensor:
    """Cross-entropy in nats summed over the row's labels; divide by the whole step's labels for its token mean."""
    return cross_entropy(row_logits(model, row), row.labels, ignore_index=NO_LABEL, reduction="sum")


@torch.inference_mode()
def mean_loss(model: PreTrainedModel, rows: Sequence[Row], autocast: torch.autocast) -> float:
    """Token-mean cross-entropy over rows, without gradients."""
    model.train(False)
    with autocast:
        total = sum(float(summed_loss(model, row.to(model.device))) for row in rows)
    model.train()
    return total / sum(row.num_labels for row in rows)
