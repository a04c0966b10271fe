"""The loop: one optimizer step after another, each exactly one batch of the recipe."""

import math
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from transformers import PreTrainedModel

from pacos.core.errors import PacosError
from pacos.core.progress import ProgressBar
from pacos.core.recipe import TrainTable
from pacos.train.checkpoint import Checkpoints, Progress, StepLog
from pacos.train.data import Document
from pacos.train.loss import summed_loss
from pacos.train.optimizer import scheduled_rate
from pacos.train.packing import Row, pack, step_documents

CLIP_NORM = 1.0
ROW_TOKENS = {"cpu": 2048, "mps": 4096, "cuda": 8192}


@dataclass(frozen=True)
class StepResult:
    """What one optimizer step measured."""

    loss: float
    grad_norm: float
    real_tokens: int


def train(
    model: PreTrainedModel,
    optimizer: torch.optim.Optimizer,
    documents: Sequence[Document],
    table: TrainTable,
    total_steps: int,
    autocast: torch.autocast,
    progress: Progress,
    checkpoints: Checkpoints,
    log: StepLog,
) -> None:
    """Takes `progress` from where it stands to `total_steps`, saving on the way and on Ctrl-C.

    Raises KeyboardInterrupt after the step that Ctrl-C fell into, and PacosError where the loss is no number.
    """
    model.train()
    with ProgressBar("train", total_steps, "steps", progress.step) as bar, interrupt_after_step() as interrupted:
        while progress.step < total_steps:
            start = time.perf_counter()
            batch = step_documents(documents, progress.step, table.batch_size, table.seed)
            rate = scheduled_rate(progress.step + 1, total_steps, table.learning_rate, table.warmup_ratio)
            result = optimizer_step(model, optimizer, batch, rate, autocast, progress.step + 1)
            seconds = time.perf_counter() - start
            progress.step += 1
            progress.real_tokens += result.real_tokens
            progress.seconds += seconds
            log.write(step_line(progress.step, result, rate, seconds))
            bar.advance(1, f"loss {result.loss:.4f} lr {rate:.2e} {result.real_tokens / seconds:,.0f} tokens/s")
            if interrupted.is_set() or (progress.step % table.checkpoint_every == 0 and progress.step < total_steps):
                log.sync()
                checkpoints.save(model, optimizer, progress)
            if interrupted.is_set():
                raise KeyboardInterrupt


def optimizer_step(
    model: PreTrainedModel,
    optimizer: torch.optim.Optimizer,
    batch: Sequence[Document],
    learning_rate: float,
    autocast: torch.autocast,
    step: int,
) -> StepResult:
    """One update from the token-mean loss of the whole batch, gradients clipped to norm 1."""
    rows = pack(batch, row_tokens(model.device))
    loss = accumulate_gradients(model, rows, autocast)
    grad_norm = float(torch.nn.utils.clip_grad_norm_(model.parameters(), CLIP_NORM))
    if not math.isfinite(loss) or not math.isfinite(grad_norm):
        ids = ", ".join(document.id for document in batch)
        raise PacosError(
            f"train: step {step} has loss {loss} and gradient norm {grad_norm}; expected numbers. "
            f"Stopped before its update, the last checkpoint is kept; lower train.learning_rate. Records: {ids}"
        )
    for group in optimizer.param_groups:
        group["lr"] = learning_rate
    optimizer.step()
    optimizer.zero_grad()
    return StepResult(loss, grad_norm, sum(len(document.input_ids) for document in batch))


def accumulate_gradients(model: PreTrainedModel, rows: Sequence[Row], autocast: torch.autocast) -> float:
    """Adds the gradients of the rows' token-mean loss to the model's; returns that loss."""
    num_labels = sum(row.num_labels for row in rows)
    total = torch.zeros((), device=model.device)
    for row in rows:
        with autocast:
            loss = summed_loss(model, row.to(model.device)) / num_labels
        loss.backward()  # type: ignore[no-untyped-call]
        total += loss.detach()
    return float(total)


def row_tokens(device: torch.device) -> int:
    """Tokens of a full row: enough to keep the device busy, few enough for its activations to stay small."""
    return ROW_TOKENS[device.type]


def step_line(step: int, result: StepResult, rate: float, seconds: float) -> dict[str, float]:
    """One line of steps.jsonl."""
    return {
        "step": step,
        "loss": result.loss,
        "grad_norm": result.grad_norm,
        "learning_rate": rate,
        "real_tokens": result.real_tokens,
        "real_tokens_per_second": round(result.real_tokens / seconds, 1),
        "seconds": round(seconds, 4),
    }


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
