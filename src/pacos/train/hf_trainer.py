"""`train.engine = "trainer"`: the same data, masks and hyperparameters through transformers' own Trainer.

It pads each micro-batch of four as the published run did. Several GPUs are sharded by accelerate's FSDP; on CPUs
accelerate would silently train copies under DDP instead, so that is refused.
"""

import math
import time
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers.trainer_utils import get_last_checkpoint

from pacos.core.errors import PacosError
from pacos.core.recipe import TrainTable
from pacos.train.checkpoints import KEPT, damaged, is_not_of_the_disk
from pacos.train.data import PUBLISHED, Document
from pacos.train.optimizer import BETAS, CLIP_NORM, EPSILON, scheduled_rate
from pacos.train.packing import PUBLISHED_MICRO_BATCH, collate, step_documents
from pacos.train.prepare import Prepared, Trained
from pacos.train.report import Step
from pacos.train.tracking import Follow, OnStep


class Trainer(transformers.Trainer):
    """The recipe's schedule, and for `alpaca-2023` the mean over micro-batches."""

    def __init__(self, table: TrainTable, documents: list[Document], on_step: OnStep, **options: Any) -> None:
        super().__init__(train_dataset=documents, data_collator=collate, **options)
        self.table, self.documents, self.on_step, self.began = table, documents, on_step, time.perf_counter()
        # Until the first step, whatever fails is the checkpoint.
        self.is_reading = True
        # Where the model takes no number of labels, Trainer takes the mean over micro-batches, as in 2023.
        self.model_accepts_loss_kwargs = table.mode != PUBLISHED

    def training_step(self, *args: Any, **options: Any) -> torch.Tensor:
        self.is_reading = False
        return super().training_step(*args, **options)

    def create_scheduler(self, num_training_steps: int, optimizer: Any = None) -> Any:
        def factor(done: int) -> float:
            return scheduled_rate(done, num_training_steps, self.table) / (self.table.learning_rate or 1)

        self.lr_scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer or self.optimizer, factor)  # type: ignore[arg-type]
        return self.lr_scheduler

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        if "grad_norm" not in logs:
            return
        step, now = self.state.global_step, time.perf_counter()
        size = len(self.documents) // self.args.max_steps
        batch = self.documents[(step - 1) * size : step * size]
        real_tokens, seconds = sum(len(document.input_ids) for document in batch), now - self.began
        self.began = now
        self.on_step(
            Step(
                step=step, loss=float(logs["loss"]), grad_norm=float(logs["grad_norm"]),
                learning_rate=float(logs["learning_rate"]), real_tokens=real_tokens,
                real_tokens_per_second=round(real_tokens / seconds, 1), seconds=round(seconds, 4),
            )
        )  # fmt: skip


def train(prepared: Prepared, folder: Path, follow: Follow) -> Trained:
    """Trains from Trainer's own newest checkpoint in `folder`. PacosError for what Trainer would do otherwise."""
    table, team, estimate, data = prepared.table, prepared.team, prepared.estimate, prepared.data
    batch, steps = min(table.batch_size, len(data.documents)), data.report.planned_steps
    micro = math.gcd(batch, PUBLISHED_MICRO_BATCH)
    if estimate.precision == "split" or estimate.eight_bit:
        raise PacosError(
            'train.engine = "trainer" keeps weights and optimizer states in fp32; '
            'leave train.precision = "split" and train.optimizer = "adamw-8bit" out, or take train.engine = "pacos".'
        )
    if team.mesh and team.device.type == "cpu":
        raise PacosError(
            'train.engine = "trainer" on several CPU processes would silently be DDP, with no sharding; '
            'run it in one process, on GPUs, or with train.engine = "pacos".'
        )
    if batch % (micro * team.size):
        raise PacosError(
            f'train.engine = "trainer" takes {micro} examples at once on each of {team.size} processes, which do not '
            f"make up {batch} a step; give another train.batch_size or --gpus."
        )
    last = get_last_checkpoint(str(folder)) if folder.exists() else None  # type: ignore[no-untyped-call]
    options: dict[str, Any] = {
        "per_device_train_batch_size": micro, "gradient_accumulation_steps": batch // (micro * team.size),
        "max_steps": steps, "learning_rate": table.learning_rate, "weight_decay": table.weight_decay,
        "adam_beta1": BETAS[0], "adam_beta2": BETAS[1], "adam_epsilon": EPSILON, "max_grad_norm": CLIP_NORM,
        "bf16": estimate.precision == "bf16", "use_cpu": team.device.type == "cpu", "seed": table.seed % 2**32,
        "fsdp": bool(team.mesh), "fsdp_config": {"version": 2} if team.mesh else None,
        "train_sampling_strategy": "sequential", "remove_unused_columns": False,
        "save_steps": table.checkpoint_every, "save_total_limit": KEPT,
        "logging_steps": 1, "disable_tqdm": True, "report_to": [],
    }  # fmt: skip
    arguments = transformers.TrainingArguments(output_dir=str(folder), **options)
    # All steps' documents one after another, in the order that the packing loop takes them.
    ordered = [each for step in range(steps) for each in step_documents(data.documents, step, table)]
    with follow(int(last.rpartition("-")[2]) + 1 if last else 1) as on_step:
        trainer = Trainer(table, ordered, on_step, model=prepared.base.model, args=arguments)
        try:
            trainer.train(resume_from_checkpoint=last)
        except Exception as error:
            if last is None or not trainer.is_reading or is_not_of_the_disk(error):
                raise
            raise damaged(last, error) from None
    # The model computes as it did before accelerate wrapped it.
    trainer.accelerator.unwrap_model(trainer.model_wrapped, keep_fp32_wrapper=False)
    return Trained({})
