"""What precedes the first step: the base loaded, the data encoded, the rows that fit the memory."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from pacos.core.errors import PacosError
from pacos.core.recipe import TrainTable
from pacos.train.base import LoadedBase, has_dropout, load_base
from pacos.train.data import TrainingData, load_data, shared_prefixes, steps_per_epoch
from pacos.train.machine import Team, memory_named
from pacos.train.memory import MemoryEstimate, estimate_memory
from pacos.train.optimizer import Remainders
from pacos.train.packing import PUBLISHED_MICRO_BATCH, Packer, row_fill, step_documents
from pacos.train.tracking import Follow


@dataclass(frozen=True)
class Prepared:
    """All that a training engine needs, in each of the processes that train together."""

    table: TrainTable
    team: Team
    estimate: MemoryEstimate
    base: LoadedBase
    data: TrainingData
    packer: Packer

    def lines(self) -> Iterator[str]:
        """What is trained, on what and how, and the report on the data."""
        model, estimate, lora, most = self.base.model, self.estimate, self.table.lora, self.packer.row_tokens
        trained = model.num_parameters(only_trainable=True)
        adapters = f", {trained:,} of them trained (LoRA, rank {lora.rank})," if lora else ""
        machine = f"{self.team.size} x {self.team.device.type}, {estimate.precision}"
        optimizer = f"{'8-bit' if estimate.eight_bit else 'fp32'} AdamW"
        yield f"train: {model.num_parameters():,} parameters{adapters} on {machine}, {optimizer}, {estimate.said}"
        shared = " and ".join(str(len(prefix)) for prefix in self.packer.prefixes)
        how = f"packed in rows of at most {most:,} tokens{f', sharing prefixes of {shared}' if shared else ''}"
        if not self.base.packs:
            how = f"padded, with the model's own attention, at most {most:,} tokens at once"
        if self.table.engine == "trainer":
            micro = PUBLISHED_MICRO_BATCH
            how = f"by Hugging Face's Trainer, padded, {micro} examples at once, without a held-out loss"
        yield f"train: {how}"
        if self.base.unset:
            keys = " and ".join(self.base.unset)
            yield f"train: the base's generation config sets {keys}, which cannot be saved without others; dropped"
        yield from self.data.report.lines()


@dataclass(frozen=True)
class Trained:
    """What an engine leaves beside the model, which it trains in place; losses in nats, where they were taken."""

    remainders: Remainders
    """What the weights lack of fp32."""
    heldout_loss_before: float | None = None
    heldout_loss_after: float | None = None


# Trains what is prepared from the newest of its own checkpoints in the folder, telling of each step.
TrainingEngine = Callable[[Prepared, Path, Follow], Trained]


def prepare(table: TrainTable, dataset: Path, team: Team) -> Prepared:
    """Loads base and data; PacosError for bad ones, and where examples have more tokens than the base has positions."""
    estimate = estimate_memory(table, team.device, team.size)
    torch.manual_seed(table.seed)
    with memory_named(team.device, estimate):
        base = load_base(table, weights=team.leads or table.engine == "trainer")
        data = load_data(dataset, table, base.tokenizer)
    known, longest = getattr(base.model.config, "max_position_embeddings", None), data.report.longest_tokens
    if known and longest > known:
        raise PacosError(
            f"train.max_length {table.max_length}: the longest example has {longest:,} tokens and {table.base} knows "
            f"{known:,} positions; set train.max_length={known}."
        )
    packer = _packer(table, base, estimate, team)
    # Now that the examples are known, what their steps take; the rows stay as they were chosen.
    epoch = (step_documents(data.documents, step, table) for step in range(steps_per_epoch(len(data.documents), table)))
    settled = replace(table, row_tokens=estimate.row_tokens)
    estimate = estimate_memory(settled, team.device, team.size, tokens=packer.most_tokens(epoch))
    return Prepared(table, team, estimate, base, data, packer)


def _packer(table: TrainTable, base: LoadedBase, estimate: MemoryEstimate, team: Team) -> Packer:
    share = table.share_prefix and base.packs and not has_dropout(base.model)
    prefixes = shared_prefixes(base.tokenizer) if share else ()
    fill = row_fill(estimate.row_tokens, team.device)
    # Filled up, a row has no more tokens than the estimate's.
    rows = max(estimate.row_tokens - estimate.row_tokens % fill, 1)
    return Packer(rows, prefixes, team.size, not base.packs, fill)
