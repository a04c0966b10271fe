"""The loop: one optimizer step after another, each exactly one batch of the recipe."""

import math
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import cast

import torch
from transformers import PreTrainedModel

from pacos.core.errors import PacosError
from pacos.core.recipe import TrainTable
from pacos.train.data import Document, TrainingData
from pacos.train.loss import row_loss
from pacos.train.machine import Team
from pacos.train.optimizer import AdamW, scheduled_rate
from pacos.train.packing import Packer, label_weights, step_documents

CLIP_NORM = 1.0
OnStep = Callable[[dict[str, float]], None]
# What tells of the steps from the first one on that is yet to be taken.
Follow = Callable[[int], AbstractContextManager[OnStep]]


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

    def train(self, data: TrainingData, step: int, save: Callable[[int], None], on_step: OnStep) -> None:
        """Takes steps from `step` to the planned last one, saving on the way and on Ctrl-C.

        Raises KeyboardInterrupt after the step that Ctrl-C fell into, and PacosError where the loss is no number.
        """
        table, last = self.table, data.report["planned_steps"]
        with interrupt_after_step() as asked:
            while step < last:
                start = time.perf_counter()
                rate = scheduled_rate(step, last, table)
                batch = step_documents(data.documents, step, table)
                step += 1
                values = self.step(batch, rate, step)
                on_step(values | self.speed(values, time.perf_counter() - start))
                interrupted = bool(self.team.total(torch.tensor(float(asked.is_set()), device=self.team.device)))
                if interrupted or (step % table.checkpoint_every == 0 and step < last):
                    save(step)
                if interrupted:
                    raise KeyboardInterrupt

    def step(self, batch: Sequence[Document], rate: float, step: int) -> dict[str, float]:
        """One update from the batch's loss, gradients clipped to norm 1; what it measured."""
        # Dropout, where a model has any, depends on seed, step and process, and on how rows are cut.
        torch.manual_seed(((self.table.seed * 1_000_003 + step) * 4096 + self.team.rank) % 2**63)
        loss, computed = self.accumulate(batch)
        norms = [torch.linalg.vector_norm(each, dtype=torch.float32) for each in self.optimizer.gradients()]
        norm = float(self.team.total(torch.stack(norms).square().sum()).sqrt())
        if not math.isfinite(loss) or not math.isfinite(norm):
            ids = ", ".join(document.id for document in batch)
            raise PacosError(
                f"train: step {step} has loss {loss} and gradient norm {norm}; expected numbers. "
                "Stopped before its update, the last checkpoint is kept; look at the base's weights if this is the "
                f"first step, else at these records, or begin anew with a lower train.learning_rate. Records: {ids}"
            )
        self.optimizer.step(rate, min(1.0, CLIP_NORM / (norm + 1e-6)))
        self.model.zero_grad()
        real_tokens = sum(len(document.input_ids) for document in batch)
        values = {"step": step, "loss": loss, "grad_norm": norm, "learning_rate": rate, "real_tokens": real_tokens}
        return values | {"computed_tokens": computed, "labels": sum(document.num_labels for document in batch)}

    def accumulate(self, batch: Sequence[Document]) -> tuple[float, int]:
        """Adds the gradients of the batch's loss, each process its rows' part; loss and computed tokens of all."""
        rows = self.packer.pack(batch, label_weights(batch, self.table.mode))
        loss_sum = torch.zeros((), device=self.team.device)
        self.model.train()
        for row in rows[self.team.rank :: self.team.size]:
            with self._autocast():
                loss = row_loss(self.model, row.to(self.team.device))
            # Sharded gradients are averaged over processes.
            (loss * self.team.size).backward()  # type: ignore[no-untyped-call]
            loss_sum += loss.detach()
        return float(self.team.total(loss_sum)), sum(row.computed_tokens for row in rows)

    @torch.no_grad()
    def mean_loss(self, documents: Sequence[Document]) -> float:
        """Token-mean cross-entropy in nats, without gradients."""
        rows = self.packer.pack(documents, [1.0] * len(documents))
        total = torch.zeros((), device=self.team.device)
        self.model.train(False)
        with self._autocast():
            for row in rows[self.team.rank :: self.team.size]:
                total += row_loss(self.model, row.to(self.team.device))
        return float(self.team.total(total)) / sum(document.num_labels for document in documents)

    def _autocast(self) -> torch.autocast:
        """The context in which the model computes; weights and their updates stay as they are."""
        return torch.autocast(self.team.device.type, dtype=torch.bfloat16, enabled=self.precision == "bf16")

    def speed(self, values: dict[str, float], seconds: float) -> dict[str, float]:
        """Tokens a second, and the share of the device's peak: of products done, and as if none had been shared."""
        output = self.model.get_output_embeddings()  # type: ignore[no-untyped-call]
        head = cast(torch.nn.Linear, output).weight.numel()
        body = self.model.num_parameters() - head * (1 if self.model.config.tie_word_embeddings else 2)
        peak = self.peak_flops * self.team.size * seconds
        # Forward, and backward to the inputs and to the weights; not to weights that adapters stand beside.
        each = 4 if self.table.lora else 6
        done = each * (body * values["computed_tokens"] + head * values["labels"])
        return {
            "real_tokens_per_second": round(values["real_tokens"] / seconds, 1),
            "mfu": round(done / peak, 4),
            "mfu_unshared": round(each * (body * values["real_tokens"] + head * values["labels"]) / peak, 4),
            "seconds": round(seconds, 4),
        }


@contextmanager
def interrupt_after_step() -> Iterator[threading.Event]:
    """An event that Ctrl-C sets, so that no update is cut in half; a second Ctrl-C interrupts at once."""
    event = threading.Event()
    previous = signal.getsignal(signal.SIGINT)

    def on_interrupt(number: int, frame: object) -> None:
        signal.signal(signal.SIGINT, previous)
        event.set()
        if os.environ.get("RANK", "0") == "0":
            print("train: stopping after this step; Ctrl-C again stops at once", file=sys.stderr, flush=True)

    signal.signal(signal.SIGINT, on_interrupt)
    try:
        yield event
    finally:
        signal.signal(signal.SIGINT, previous)
