"""The loop: one optimizer step after another, each exactly one batch of the recipe."""

import math
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import torch
from transformers import PreTrainedModel

from pacos.core.errors import PacosError
from pacos.core.recipe import TrainTable
from pacos.train.base import split_weights
from pacos.train.checkpoints import Checkpoints
from pacos.train.data import Document, TrainingData
from pacos.train.loss import row_loss
from pacos.train.machine import Team, compile_layers, peak_flops, same_bits_again
from pacos.train.optimizer import CLIP_NORM, AdamW, scheduled_rate
from pacos.train.packing import Packer, Row, label_weights, step_documents
from pacos.train.prepare import Prepared, Trained
from pacos.train.report import Step
from pacos.train.tracking import Follow, OnStep


def train(prepared: Prepared, folder: Path, follow: Follow) -> Trained:
    """Trains from the newest checkpoint in `folder`, with the held-out loss before and after where there is any. Raises
    KeyboardInterrupt after the step that Ctrl-C or SIGTERM fell into, and PacosError where the loss is no number."""
    table, team, data, precision = prepared.table, prepared.team, prepared.data, prepared.estimate.precision
    model, packs = prepared.base.model, prepared.base.packs
    lows = split_weights(model) if precision == "split" else {}
    # On a CPU it does not pay: attention and products take the time there, and compiling a minute.
    if team.device.type == "cuda" and packs:
        compile_layers(model)
    team.place(model)
    if packs:
        same_bits_again(model)
    remainders = {p: team.share(lows.pop(name), p) for name, p in model.named_parameters() if name in lows}
    optimizer = AdamW(model, table.weight_decay, remainders, prepared.estimate.eight_bit)
    checkpoints = Checkpoints(folder, team)
    step, before = checkpoints.load(model, optimizer)
    if step:
        team.say(f"train: goes on after step {step:,}, from the checkpoint in {folder}")
    loop = Loop(model, optimizer, table, team, prepared.packer, precision, peak_flops(team.device, precision))
    if step == 0 and data.heldout:
        before = loop.mean_loss(data.heldout)
    with follow(step + 1) as on_step:
        loop.take_steps(data, step, lambda step: checkpoints.save(model, optimizer, step, before), on_step)
    return Trained(remainders, before, loop.mean_loss(data.heldout) if data.heldout else None)


@dataclass(frozen=True)
class Loop:
    """A model on its device and what moves it; `peak_flops` is one device's, for the MFU."""

    model: PreTrainedModel
    optimizer: AdamW
    table: TrainTable
    team: Team
    packer: Packer
    precision: str
    peak_flops: float

    def take_steps(self, data: TrainingData, step: int, save: Callable[[int], None], on_step: OnStep) -> None:
        """Goes on after step `step` to the planned last one; saves on the way and, interrupted, before it raises."""
        table, last = self.table, data.report.planned_steps
        with interrupt_after_step(self.team) as asked:
            while step < last:
                rate, batch = scheduled_rate(step, last, table), step_documents(data.documents, step, table)
                step += 1
                on_step(self.step(batch, rate, step))
                interrupted = bool(self.team.total(torch.tensor(float(asked.is_set()), device=self.team.device)))
                if interrupted or (step % table.checkpoint_every == 0 and step < last):
                    save(step)
                if interrupted:
                    raise KeyboardInterrupt

    def step(self, batch: Sequence[Document], rate: float, number: int) -> Step:
        """One update from the batch's loss, gradients clipped to norm 1; what it measured."""
        start = time.perf_counter()
        # Dropout, where a model has any, depends on seed, step and process, and on how rows are cut.
        torch.manual_seed(((self.table.seed * 1_000_003 + number) * 4096 + self.team.rank) % 2**63)
        loss, computed_tokens = self.accumulate(batch)
        norms = [torch.linalg.vector_norm(each, dtype=torch.float32) for each in self.optimizer.gradients()]
        norm = float(self.team.total(torch.stack(norms).square().sum()).sqrt())
        if not math.isfinite(loss) or not math.isfinite(norm):
            ids = ", ".join(document.id for document in batch)
            raise PacosError(
                f"train: step {number} has loss {loss} and gradient norm {norm}; expected numbers. "
                "Stopped before its update, the last checkpoint is kept; look at the base's weights if this is the "
                f"first step, else at these records, or begin anew with a lower train.learning_rate. Records: {ids}"
            )
        self.optimizer.step(rate, min(1.0, CLIP_NORM / (norm + 1e-6)))
        self.model.zero_grad()
        seconds = time.perf_counter() - start
        real_tokens = sum(len(document.input_ids) for document in batch)
        labels = sum(document.num_labels for document in batch)
        return Step(
            step=number, loss=loss, grad_norm=norm, learning_rate=rate,
            real_tokens=real_tokens, computed_tokens=computed_tokens, labels=labels,
            real_tokens_per_second=round(real_tokens / seconds, 1), seconds=round(seconds, 4),
            mfu=self.mfu(computed_tokens, labels, seconds), mfu_unshared=self.mfu(real_tokens, labels, seconds),
        )  # fmt: skip

    def accumulate(self, batch: Sequence[Document]) -> tuple[float, int]:
        """Adds the gradients of the batch's loss, each process its rows' part; loss and computed tokens of all."""
        rows = self.packer.pack(batch, label_weights(batch, self.table.mode))
        self.model.train()
        return self._loss_sum(rows, backward=True), sum(row.computed_tokens for row in rows)

    @torch.no_grad()
    def mean_loss(self, documents: Sequence[Document]) -> float:
        """Token-mean cross-entropy in nats, without gradients."""
        rows = self.packer.pack(documents, [1.0] * len(documents))
        self.model.train(False)
        return self._loss_sum(rows, backward=False) / sum(document.num_labels for document in documents)

    def _loss_sum(self, rows: list[Row], backward: bool) -> float:
        total = torch.zeros((), device=self.team.device)
        for row in rows[self.team.rank :: self.team.size]:
            # The model computes in bf16; weights and their updates stay as they are.
            with torch.autocast(self.team.device.type, dtype=torch.bfloat16, enabled=self.precision == "bf16"):
                loss = row_loss(self.model, row.to(self.team.device))
            if backward:
                # Sharded gradients are averaged over processes.
                (loss * self.team.size).backward()  # type: ignore[no-untyped-call]
            total += loss.detach()
        return float(self.team.total(total))

    def mfu(self, tokens: int, labels: int, seconds: float) -> float:
        """Of the peak FLOP/s of all devices, the share that so many tokens through the layers and labels through the LM
        head take."""
        output = self.model.get_output_embeddings()  # type: ignore[no-untyped-call]
        head = cast(torch.nn.Linear, output).weight.numel()
        body = self.model.num_parameters() - head * (1 if self.model.config.tie_word_embeddings else 2)
        # A product is 2 operations a weight: forward, and backward to the inputs and to the weights; not to weights
        # that adapters stand beside.
        each = 4 if self.table.lora else 6
        return round(each * (body * tokens + head * labels) / (self.peak_flops * self.team.size * seconds), 4)


@contextmanager
def interrupt_after_step(team: Team) -> Iterator[threading.Event]:
    """An event that Ctrl-C and SIGTERM set, so that no update is cut in half; a second one interrupts at once."""
    event = threading.Event()

    def on_interrupt(number: int, frame: object) -> None:
        restore()
        event.set()
        team.say("train: stopping after this step; Ctrl-C again stops at once", sys.stderr)

    previous = {number: signal.signal(number, on_interrupt) for number in (signal.SIGINT, signal.SIGTERM)}

    def restore() -> None:
        for number, handler in previous.items():
            signal.signal(number, handler)

    try:
        yield event
    finally:
        restore()
