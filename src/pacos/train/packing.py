"""Batch-faithful packing: each optimizer step sees exactly its examples, laid end to end in rows."""

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Self

import torch

from pacos.core.recipe import TrainTable
from pacos.train.attention import Documents
from pacos.train.data import PUBLISHED, Document, steps_per_epoch

# Rows and labels are filled up to a multiple of this, so that few shapes occur: the CPU's matrix library plans each
# shape anew and keeps the plans, 10 MB a step.
MULTIPLE = 64
NO_LABEL = -100
# The published run's examples a micro-batch, over which it took the mean before the mean over micro-batches.
PUBLISHED_MICRO_BATCH = 4


@dataclass(frozen=True)
class Row:
    """One micro-batch: packed documents end to end (B is 1), or padded ones below each other."""

    input_ids: torch.Tensor
    """[B, T]."""
    position_ids: torch.Tensor
    """[B, T]; they begin again at 0, or after the shared prefix, with each document."""
    predictors: torch.Tensor
    """[L]: places in B x T whose next token is supervised, the only ones the LM head is needed at."""
    labels: torch.Tensor
    """[L]: the tokens that follow them, then NO_LABEL as filling."""
    weights: torch.Tensor
    """[L]: what each label's loss counts; over a whole step they sum to 1."""
    computed_tokens: int
    """Of T without filling: less than the documents' own where they share a prefix."""
    documents: Documents | None
    """Where packed documents lie."""
    padding_mask: torch.Tensor | None = None
    """[B, T] of padded documents: 1 at tokens."""

    def to(self, device: torch.device) -> Self:
        """The same row on a device."""
        tensors: dict[str, Any] = {name: value for name, value in vars(self).items() if isinstance(value, torch.Tensor)}
        return replace(self, **{name: tensor.to(device, non_blocking=True) for name, tensor in tensors.items()})


@lru_cache(maxsize=2)
def epoch_order(num_documents: int, seed: int, epoch: int) -> tuple[int, ...]:
    """The epoch's order of documents: a pure function of (seed, epoch), so that a resumed run sees the same."""
    order = list(range(num_documents))
    random.Random(f"{seed}/{epoch}").shuffle(order)
    return tuple(order)


def step_documents(documents: Sequence[Document], step: int, table: TrainTable) -> list[Document]:
    """The batch of optimizer step `step`, counted from 0; `modern`'s last of an epoch may be smaller."""
    epoch, place = divmod(step, steps_per_epoch(len(documents), table))
    order = epoch_order(len(documents), table.seed, epoch)
    return [documents[i] for i in order[place * table.batch_size : (place + 1) * table.batch_size]]


def label_weights(batch: Sequence[Document], mode: str) -> list[float]:
    """For each document what one of its labels counts in the step's loss.

    `modern` takes the mean over all labels. `alpaca-2023` takes it over every four examples, then over those means,
    so that a label among short answers counts more.
    """
    size = PUBLISHED_MICRO_BATCH if mode == PUBLISHED else len(batch)
    groups = [batch[start : start + size] for start in range(0, len(batch), size)]
    labels = [sum(document.num_labels for document in group) for group in groups]
    return [1 / (len(groups) * labels[number // size]) for number in range(len(batch))]


@dataclass(frozen=True)
class Packer:
    """Lays documents into rows: so many tokens at most, in a multiple of so many rows, sharing these prefixes.

    `padded` is for models whose attention is their own: documents below each other, filled up to the longest.
    """

    row_tokens: int
    prefixes: tuple[tuple[int, ...], ...] = ()
    multiple: int = 1
    padded: bool = False

    def pack(self, documents: Sequence[Document], weights: Sequence[float]) -> list[Row]:
        """Every document whole in one row; a document longer than `row_tokens` has a row to itself."""
        if not self.padded:
            return [self._row(row) for row in self._even_rows(list(zip(documents, weights, strict=True)))]
        rows: list[list[tuple[Document, float]]] = []
        for document, weight in sorted(zip(documents, weights, strict=True), key=lambda pair: -len(pair[0].input_ids)):
            if not rows or len(rows[-1][0][0].input_ids) * (len(rows[-1]) + 1) > self.row_tokens:
                rows.append([])
            rows[-1].append((document, weight))
        rows += [[] for _ in range(-len(rows) % self.multiple)]
        return [_padded_row(row) for row in rows]

    def prefix_of(self, document: Document) -> int | None:
        """The shared prefix that a document begins with and whose every label lies beyond; None where there is none."""
        for number, prefix in enumerate(self.prefixes):
            if document.num_masked > len(prefix) and tuple(document.input_ids[: len(prefix)]) == prefix:
                return number
        return None

    def _even_rows(self, pairs: list[tuple[Document, float]]) -> list[list[tuple[Document, float, int | None]]]:
        """The longest first, each into the emptiest row: rows of like length, as many as are needed."""
        placed = [(document, weight, self.prefix_of(document)) for document, weight in pairs]
        placed.sort(key=lambda pair: -len(pair[0].input_ids))
        own = [len(document.input_ids) - self._size(prefix) for document, _, prefix in placed]
        count = max(1, -(-sum(own) // self.row_tokens))
        while True:
            count += -count % self.multiple
            rows: list[list[tuple[Document, float, int | None]]] = [[] for _ in range(count)]
            loads = [0] * count
            held: list[set[int | None]] = [{None} for _ in range(count)]
            for item, length in zip(placed, own, strict=True):
                costs = [loads[i] + length + self._size(item[2]) * (item[2] not in held[i]) for i in range(count)]
                row = costs.index(min(costs))
                rows[row].append(item)
                loads[row] = costs[row]
                held[row].add(item[2])
            if all(load <= self.row_tokens or len(row) == 1 for load, row in zip(loads, rows, strict=True)):
                return rows
            count += 1

    def _size(self, prefix: int | None) -> int:
        return 0 if prefix is None else len(self.prefixes[prefix])

    def _row(self, documents: list[tuple[Document, float, int | None]]) -> Row:
        ids: list[int] = []
        positions: list[int] = []
        predictors: list[int] = []
        weights: list[float] = []
        shared = sorted({prefix for _, _, prefix in documents if prefix is not None})
        for number in shared:
            ids += self.prefixes[number]
            positions += range(len(self.prefixes[number]))
        lengths = [len(self.prefixes[number]) for number in shared]
        continued: list[int | None] = [None] * len(shared)
        for document, weight, prefix in documents:
            skipped = self._size(prefix)
            start = len(ids) - skipped
            ids += document.input_ids[skipped:]
            positions += range(skipped, len(document.input_ids))
            predictors += range(start + max(document.num_masked, 1) - 1, len(ids) - 1)
            weights += [weight] * document.num_labels
            lengths.append(len(document.input_ids) - skipped)
            continued.append(None if prefix is None else shared.index(prefix))
        labels = [ids[predictor + 1] for predictor in predictors]
        # The filling is a document of its own: nothing sees it and it has no labels. A row of nothing is all filling.
        filling = -len(ids) % MULTIPLE or MULTIPLE * (not ids)
        label_filling = -len(labels) % MULTIPLE or MULTIPLE * (not labels)
        return Row(
            input_ids=torch.tensor([ids + [0] * filling]),
            position_ids=torch.tensor([positions + list(range(filling))]),
            predictors=torch.tensor(predictors + [0] * label_filling),
            labels=torch.tensor(labels + [NO_LABEL] * label_filling),
            weights=torch.tensor(weights + [0.0] * label_filling),
            computed_tokens=len(ids),
            documents=Documents((*lengths, filling), (*continued, None))
            if filling
            else Documents(tuple(lengths), tuple(continued)),
        )


def _padded_row(documents: list[tuple[Document, float]]) -> Row:
    width = max((len(document.input_ids) for document, _ in documents), default=1)
    ids = torch.zeros(max(len(documents), 1), width, dtype=torch.long)
    mask = torch.zeros_like(ids)
    mask[:, 0] = 1
    predictors: list[int] = []
    weights: list[float] = []
    for number, (document, weight) in enumerate(documents):
        length = len(document.input_ids)
        ids[number, :length] = torch.tensor(document.input_ids)
        mask[number, :length] = 1
        predictors += range(number * width + max(document.num_masked, 1) - 1, number * width + length - 1)
        weights += [weight] * document.num_labels
    places = torch.tensor(predictors, dtype=torch.long)
    computed = sum(len(document.input_ids) for document, _ in documents)
    return Row(
        input_ids=ids,
        position_ids=torch.arange(width).expand_as(ids).contiguous(),
        predictors=places,
        labels=ids.flatten()[places + 1] if predictors else places,
        weights=torch.tensor(weights),
        computed_tokens=computed,
        documents=None,
        padding_mask=mask,
    )
