"""Batch-faithful packing: each optimizer step sees exactly its examples, laid end to end in rows."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import torch

from pacos.train.data import Document

# Rows and labels are filled up to a multiple of this, so that few shapes occur: the CPU's matrix library plans each
# shape anew and keeps the plans, 10 MB a step.
MULTIPLE = 64
NO_LABEL = -100


@dataclass(frozen=True)
class Row:
    """Several documents end to end: one micro-batch. Position ids begin again at 0 with each document."""

    input_ids: torch.Tensor
    """[1, T]."""
    position_ids: torch.Tensor
    """[1, T]."""
    lengths: tuple[int, ...]
    """Of the documents, the last of which may be filling; they sum to T."""
    predictors: torch.Tensor
    """[L]: positions whose next token is supervised, the only ones the LM head is computed at."""
    labels: torch.Tensor
    """[L]: the tokens that follow them, then NO_LABEL as filling."""
    num_labels: int
    """How many of `labels` are labels."""

    def to(self, device: torch.device) -> Self:
        """The same row on a device."""
        tensors = (self.input_ids, self.position_ids, self.predictors, self.labels)
        ids, positions, predictors, labels = (tensor.to(device, non_blocking=True) for tensor in tensors)
        return type(self)(ids, positions, self.lengths, predictors, labels, self.num_labels)


def epoch_order(num_documents: int, seed: int, epoch: int) -> list[int]:
    """The epoch's order of documents: a pure function of (seed, epoch), so that a resumed run sees the same."""
    order = list(range(num_documents))
    random.Random(f"{seed}/{epoch}").shuffle(order)
    return order


def step_documents(documents: Sequence[Document], step: int, batch_size: int, seed: int) -> list[Document]:
    """The batch of optimizer step `step`, counted from 0; the last batch of an epoch may be smaller."""
    epoch, place = divmod(step, -(-len(documents) // batch_size))
    order = epoch_order(len(documents), seed, epoch)
    return [documents[i] for i in order[place * batch_size : (place + 1) * batch_size]]


def pack(documents: Sequence[Document], row_tokens: int) -> list[Row]:
    """First-fit decreasing: every document whole in one row of at most `row_tokens` tokens.

    A document longer than that has a row to itself.
    """
    rows: list[list[Document]] = []
    room: list[int] = []
    for document in sorted(documents, key=lambda document: -len(document.input_ids)):
        length = len(document.input_ids)
        place = next((i for i, free in enumerate(room) if free >= length), None)
        if place is None:
            rows.append([document])
            room.append(row_tokens - length)
        else:
            rows[place].append(document)
            room[place] -= length
    return [_row(row) for row in rows]


def _row(documents: list[Document]) -> Row:
    ids: list[int] = []
    positions: list[int] = []
    predictors: list[int] = []
    for document in documents:
        start = len(ids)
        ids += document.input_ids
        positions += range(len(document.input_ids))
        predictors += range(start + max(document.num_masked, 1) - 1, len(ids) - 1)
    labels = [ids[predictor + 1] for predictor in predictors]
    filling, label_filling = -len(ids) % MULTIPLE, -len(labels) % MULTIPLE
    lengths = [len(document.input_ids) for document in documents]
    return Row(
        # The filling is a document of its own: nothing sees it and it has no labels.
        input_ids=torch.tensor([ids + [0] * filling]),
        position_ids=torch.tensor([positions + list(range(filling))]),
        lengths=(*lengths, filling) if filling else tuple(lengths),
        predictors=torch.tensor(predictors + [0] * label_filling, dtype=torch.long),
        labels=torch.tensor(labels + [NO_LABEL] * label_filling, dtype=torch.long),
        num_labels=len(labels),
    )
