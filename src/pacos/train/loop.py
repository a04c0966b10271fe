"""The loop: one optimizer step after another, each exactly one batch of the recipe."""

import math
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import cast

import torch
from torch.nn.functional import cross_entropy
from transformers import PreTrainedModel

from pacos.core.errors import PacosError
from pacos.core.recipe import TrainTable
from pacos.train.checkpoint import Checkpoints, Progress
from pacos.train.data import Document
from pacos.train.machine import Team
from pacos.train.optimizer import clip_gradients, scheduled_rate
from pacos.train.packing import NO_LABEL, Packer, Row, label_weights, step_documents

CLIP_NORM = 1.0
OnStep = Callable[[dict[str, float]], None]


@dataclass(frozen=True)
class Loop:
    """A model on its device and what moves it; `peak_flops` is one device's, for the MFU."""

    model: PreTrainedModel
    optimizer: torch.optim.Optimizer
    table: TrainTable
    team: Team
    packer: Packer
    precision: str
    peak_flops: float

    def train(
        self,
        documents: Sequence[Document],
        total_steps: int,
        progress: Progress,
        checkpoints: Checkpoints,
        on_step: OnStep,
    ) -> None:
        """Takes `progress` from where it stands to `total_steps`, saving on the way and on Ctrl-C.

        Raises KeyboardInterrupt after the step that Ctrl-C fell into, and PacosError where the loss is no number.
        """
        table = self.table
        with interrupt_after_step() as asked:
            while progress.step < total_steps:
                start = time.perf_counter()
                batch = step_documents(documents, progress.step, table)
                rate = scheduled_rate(progress.step + 1, total_steps, table.learning_rate, table.warmup_ratio)
                values, interrupted = self.step(batch, rate, progress.step + 1, asked.is_set())
                seconds = time.perf_counter() - start
                progress.step += 1
                progress.real_tokens += int(values["real_tokens"])
                progress.seconds += seconds
                on_step(values | self.speed(values, seconds))
                if interrupted or (progress.step % table.checkpoint_every == 0 and progress.step < total_steps):
                    checkpoints.save(self.model, self.optimizer, progress)
                if interrupted:
                    raise KeyboardInterrupt

    def step(
        self, batch: Sequence[Document], rate: float, step: int, interrupt: bool = False
    ) -> tuple[dict[str, float], bool]:
        """One update from the batch's loss, gradients clipped to norm 1; what it measured, and whether any process
        was asked to stop."""
        # Dropout, where a model has any, is a pure function of seed, step and process, as the order of examples is.
        torch.manual_seed(((self.table.seed * 1_000_003 + step) * 4096 + self.team.rank) % 2**63)
        loss, computed, labels, interrupted = self.accumulate(batch, interrupt)
        norm = clip_gradients(self.optimizer, CLIP_NORM, self.team.total)
        if not math.isfinite(loss) or not math.isfinite(norm):
            ids = ", ".join(document.id for document in batch)
            raise PacosError(
                f"train: step {step} has loss {loss} and gradient norm {norm}; expected numbers. "
                f"Stopped before its update, the last checkpoint is kept; lower train.learning_rate. Records: {ids}"
            )
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.step()
        self.optimizer.zero_grad()
        real = sum(len(document.input_ids) for document in batch)
        values = {"step": step, "loss": loss, "grad_norm": norm, "learning_rate": rate, "real_tokens": real}
        return values | {"computed_tokens": computed, "labels": labels}, interrupted

    def accumulate(self, batch: Sequence[Document], interrupt: bool = False) -> tuple[float, int, int, bool]:
        """Adds the gradients of the batch's loss, of which each process computes its rows' part.

        Returns loss, computed tokens and labels of all processes, and whether any of them was asked to stop.
        """
        rows = self.packer.pack(batch, label_weights(batch, self.table.mode))
        sums = torch.zeros(3, device=self.team.device)
        self.model.train()
        for row in rows[self.team.rank :: self.team.size]:
            with self._autocast():
                loss = row_loss(self.model, row.to(self.team.device))
            # Sharded gradients are averaged over processes.
            (loss * self.team.size).backward()  # type: ignore[no-untyped-call]
            sums += torch.stack([loss.detach(), loss.new_tensor(row.computed_tokens), loss.new_tensor(0)])
        sums[2] = float(interrupt)
        loss_sum, computed, interrupts = self.team.total(sums).tolist()
        return loss_sum, int(computed), sum(document.num_labels for document in batch), interrupts > 0

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
        done = 6 * (body * values["computed_tokens"] + head * values["labels"])
        return {
            "real_tokens_per_second": round(values["real_tokens"] / seconds, 1),
            "mfu": round(done / peak, 4),
            "mfu_unshared": round(6 * (body + head) * values["real_tokens"] / peak, 4),
            "seconds": round(seconds, 4),
        }


def row_logits(model: PreTrainedModel, row: Row) -> torch.Tensor:
    """Logits [L, V] at the row's predictors, in fp32."""
    if row.documents is None:
        output = model(row.input_ids, attention_mask=row.padding_mask, use_cache=False)
        return output.logits.flatten(0, 1)[row.predictors].float()  # type: ignore[no-any-return]
    options = {"position_ids": row.position_ids, "documents": row.documents, "use_cache": False}
    # The LM head, a third of a small model's products, is computed where there is a label.
    return model(row.input_ids, **options, logits_to_keep=row.predictors).logits.flatten(0, 1).float()  # type: ignore[no-any-return]


def row_loss(model: PreTrainedModel, row: Row) -> torch.Tensor:
    """The row's part of the step's loss: cross-entropy in nats at each label times the label's weight."""
    losses_L = cross_entropy(row_logits(model, row), row.labels, ignore_index=NO_LABEL, reduction="none")
    return (losses_L * row.weights[: len(losses_L)]).sum()


@contextmanager
def interrupt_after_step() -> Iterator[threading.Event]:
    """An event that Ctrl-C sets, so that no update is cut in half; a second Ctrl-C interrupts at once."""
    event = threading.Event()
    # Only the main thread may set handlers; elsewhere whoever started the thread decides.
    if threading.current_thread() is not threading.main_thread():
        yield event
        return
    previous = signal.getsignal(signal.SIGINT)

    def on_interrupt(number: int, frame: object) -> None:
        signal.signal(signal.SIGINT, previous)
        event.set()

    signal.signal(signal.SIGINT, on_interrupt)
    try:
        yield event
    finally:
        signal.signal(signal.SIGINT, previous)
