"""Batch-faithful packing: each optimizer step sees exactly its examples, laid end to end in rows."""

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import accumulate
from typing import Any, NamedTuple, Self

import torch

from pacos.core.recipe import TrainTable
from pacos.train.attention import Documents
from pacos.train.data import PUBLISHED, Document, steps_per_epoch

# Rows and labels are filled up to a multiple of this, so that few shapes occur: the CPU's matrix library plans each
# shape anew and keeps the plans, 10 MB a step.
MULTIPLE = 64
# Compiled layers are compiled for each length of a row, so a GPU's rows have at most so many.
COMPILED_LENGTHS = 16
NO_LABEL = -100
# The published run's examples a micro-batch, over which it took the mean before the mean over micro-batches.
PUBLISHED_MICRO_BATCH = 4
Weighed = tuple[Document, float]


@dataclass(frozen=True)
class Row:
    """One micro-batch: packed documents end to end (B is 1), or padded ones below each other."""

    inputs: dict[str, Any]
    """What the model is called with: `input_ids` [B, T] and, packed, `position_ids` [1, T], which begin again at 0 or
    after the shared prefix with each document, and their `documents`; padded, `attention_mask`."""
    predictors: torch.Tensor
    """[L]: places in B x T whose next token is supervised, the only ones the LM head is needed at."""
    labels: torch.Tensor
    """[L]: the tokens that follow them, then NO_LABEL as filling."""
    weights: torch.Tensor
    """[L]: what each label's loss counts; over a whole step they sum to 1."""
    computed_tokens: int
    """Of B x T without filling: less than the documents' own where they share a prefix."""

    @property
    def is_packed(self) -> bool:
        """Whether the documents lie end to end."""
        return "documents" in self.inputs

    def to(self, device: torch.device) -> Self:
        """The same row on a device."""

        def moved(values: dict[str, Any]) -> dict[str, Any]:
            return {name: v.to(device) if isinstance(v, torch.Tensor) else v for name, v in values.items()}

        return replace(self, **moved(vars(self)) | {"inputs": moved(self.inputs)})


class Segment(NamedTuple):
    """A stretch of a row: a shared prefix, a document or what follows of it, or filling."""

    ids: Sequence[int]
    start: int = 0
    """Its first position."""
    first_label: int = 2**31
    """The place in `ids` from which on each token is a label."""
    weight: float = 0.0
    prefix: int | None = None
    """The number of the shared prefix that it continues; in a row, of the segment that holds it."""
    gaps: tuple[tuple[int, int], ...] = ()
    """Stretches of `ids` beyond `first_label` that are no labels."""


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


def row_fill(row_tokens: int, device: torch.device) -> int:
    """What a row's length is to be a multiple of on this device."""
    return -(-row_tokens // (COMPILED_LENGTHS * MULTIPLE)) * MULTIPLE if device.type == "cuda" else MULTIPLE


def collate(documents: Sequence[Document]) -> dict[str, torch.Tensor]:
    """Right-padded input ids, labels (NO_LABEL where masked) and attention mask, [B, T] each."""
    width = max(len(document.input_ids) for document in documents)
    ids = torch.tensor([document.input_ids + [0] * (width - len(document.input_ids)) for document in documents])
    lengths = torch.tensor([[len(document.input_ids)] for document in documents])
    masked = torch.tensor([[max(document.num_masked, 1)] for document in documents])
    places = torch.arange(width)
    labels = ids.masked_fill((places < masked) | (places >= lengths), NO_LABEL)
    for row, document in enumerate(documents):
        for first, end in document.gaps:
            labels[row, first:end] = NO_LABEL
    return {"input_ids": ids, "labels": labels, "attention_mask": (places < lengths).long()}


@dataclass(frozen=True)
class Packer:
    """Lays documents into rows: so many tokens at most, in a multiple of so many rows, sharing these prefixes.

    Each row is filled up to a multiple of `fill` tokens. `padded` is for models whose attention is their own:
    documents below each other, filled up to the longest.
    """

    row_tokens: int
    prefixes: tuple[tuple[int, ...], ...] = ()
    multiple: int = 1
    padded: bool = False
    fill: int = MULTIPLE

    def pack(self, documents: Sequence[Document], weights: Sequence[float]) -> list[Row]:
        """Every document whole in one row; a document longer than `row_tokens` has a row to itself."""
        pairs = sorted(zip(documents, weights, strict=True), key=lambda pair: -len(pair[0].input_ids))
        if self.padded:
            return [_padded_row(row) for row in self._padded_rows(pairs)]
        rows = self._even_rows([self._own_part(document, weight) for document, weight in pairs])
        return [_packed_row(self._with_prefixes(row), self.fill) for row in rows]

    def most_tokens(self, steps: Iterable[Sequence[Document]]) -> int:
        """The most tokens that one of the steps has, a shared prefix counted once."""
        return max(
            sum(len(each.ids) for each in own) + sum(len(self.prefixes[prefix]) for prefix in _prefixes_of(own))
            for own in ([self._own_part(document, 0.0) for document in step] for step in steps)
        )

    def prefix_of(self, document: Document) -> int | None:
        """The shared prefix that a document begins with and whose every label lies beyond; None where there is none."""
        for number, prefix in enumerate(self.prefixes):
            if document.num_masked > len(prefix) and tuple(document.input_ids[: len(prefix)]) == prefix:
                return number
        return None

    def _padded_rows(self, pairs: list[Weighed]) -> list[list[Weighed]]:
        """The longest first, as many below each other as take at most `row_tokens` with their filling."""
        rows: list[list[Weighed]] = []
        for pair in pairs:
            if not rows or len(rows[-1][0][0].input_ids) * (len(rows[-1]) + 1) > self.row_tokens:
                rows.append([])
            rows[-1].append(pair)
        return rows + [[] for _ in range(-len(rows) % self.multiple)]

    def _own_part(self, document: Document, weight: float) -> Segment:
        """What a document has beyond its shared prefix."""
        prefix = self.prefix_of(document)
        skipped = 0 if prefix is None else len(self.prefixes[prefix])
        first_label = max(document.num_masked, 1) - skipped
        gaps = tuple((first - skipped, end - skipped) for first, end in document.gaps)
        return Segment(document.input_ids[skipped:], skipped, first_label, weight, prefix, gaps)

    def _even_rows(self, segments: list[Segment]) -> list[list[Segment]]:
        """The longest first, each into the emptiest row: rows of like length, as many as are needed."""
        # Counted as if each row began with every prefix that the step has; almost all of Alpaca's do.
        shared = sum(len(self.prefixes[prefix]) for prefix in _prefixes_of(segments))
        count = max(1, -(-sum(len(segment.ids) for segment in segments) // self.row_tokens))
        while True:
            count += -count % self.multiple
            rows: list[list[Segment]] = [[] for _ in range(count)]
            loads = [shared] * count
            for segment in segments:
                row = loads.index(min(loads))
                rows[row].append(segment)
                loads[row] += len(segment.ids)
            if all(load <= self.row_tokens or len(row) <= 1 for load, row in zip(loads, rows, strict=True)):
                return rows
            count += 1

    def _with_prefixes(self, segments: list[Segment]) -> list[Segment]:
        """The prefixes that a row's segments continue, once each, and these after them."""
        places = {prefix: place for place, prefix in enumerate(_prefixes_of(segments))}
        heads = [Segment(self.prefixes[prefix]) for prefix in places]
        return heads + [s if s.prefix is None else s._replace(prefix=places[s.prefix]) for s in segments]


def _prefixes_of(segments: list[Segment]) -> list[int]:
    return sorted({segment.prefix for segment in segments if segment.prefix is not None})


def _packed_row(segments: list[Segment], fill: int) -> Row:
    """The row [1, T] of these segments end to end, filled up to a multiple of `fill` tokens."""
    computed = sum(len(segment.ids) for segment in segments)
    # The filling is documents of its own: nothing sees it and it has no labels. A row of nothing is all filling.
    filling = -computed % fill or fill * (not computed)
    fillings = [Segment([0] * min(MULTIPLE, filling - done)) for done in range(0, filling, MULTIPLE)]
    ids, starts, first_labels, weights, prefixes, gaps = zip(*segments, *fillings, strict=True)
    lengths = tuple(len(each) for each in ids)
    tokens = torch.tensor([token for each in ids for token in each])
    # [T]: the segment that each token is in, and its place there.
    segment_of = torch.arange(len(lengths)).repeat_interleave(torch.tensor(lengths))
    places = torch.cat([torch.arange(length) for length in lengths])
    supervised = places >= torch.tensor(first_labels)[segment_of]
    for begin, each in zip(accumulate(lengths, initial=0), gaps, strict=False):
        for first, end in each:
            supervised[begin + first : begin + end] = False
    labelled = supervised.nonzero().flatten()
    # Labels are filled up too, by some of weight 0. Each is predicted at the place before its own.
    empty = -len(labelled) % MULTIPLE or MULTIPLE * (not len(labelled))
    predictors = torch.cat([labelled - 1, labelled.new_zeros(empty)])
    counted = torch.tensor(weights)[segment_of[labelled]]
    inputs = {"input_ids": tokens[None], "position_ids": (places + torch.tensor(starts)[segment_of])[None]}
    return Row(
        {**inputs, "documents": Documents(lengths, prefixes)},
        predictors,
        labels=torch.cat([tokens[labelled], labelled.new_full((empty,), NO_LABEL)]),
        weights=torch.cat([counted, counted.new_zeros(empty)]),
        computed_tokens=computed,
    )


def _padded_row(pairs: list[Weighed]) -> Row:
    batch = collate([document for document, _ in pairs] or [Document("", [0], 1)])
    labels = batch.pop("labels").flatten()
    places = (labels != NO_LABEL).nonzero().flatten()
    weights = torch.tensor([weight for document, weight in pairs for _ in range(document.num_labels)])
    return Row(batch, places - 1, labels[places], weights, sum(len(document.input_ids) for document, _ in pairs))
