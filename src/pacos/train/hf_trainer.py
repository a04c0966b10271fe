"""`train.engine = "trainer"`: the same data, masks and hyperparameters through transformers' own Trainer.

It pads each micro-batch of four as the published run did. Several GPUs are sharded by accelerate's FSDP; on CPUs
accelerate would silently train copies under DDP instead, so that is refused.
"""

import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers.trainer_utils import get_last_checkpoint

from pacos.core.errors import PacosError
from pacos.core.recipe import TrainTable
from pacos.train.data import PUBLISHED, Document
from pacos.train.machine import Team
from pacos.train.optimizer import BETAS, EPSILON, scheduled_rate
from pacos.train.packing import PUBLISHED_MICRO_BATCH, collate, step_documents


class Steps(torch.utils.data.Dataset[Document]):
    """All steps' documents one after another, in the order that the packing loop takes them."""

    def __init__(self, documents: Sequence[Document], table: TrainTable, steps: int) -> None:
        self.documents, self.table, self.steps = documents, table, steps
        self.batch_size = min(table.batch_size, len(documents))

    def __len__(self) -> int:
        return self.steps * self.batch_size

    def __getitem__(self, index: int) -> Document:
        return step_documents(self.documents, index // self.batch_size, self.table)[index % self.batch_size]


class Trainer(transformers.Trainer):
    """The recipe's order of examples and schedule, and for `alpaca-2023` the mean over micro-batches."""

    def __init__(
        self, table: TrainTable, steps: int, on_step: Callable[[dict[str, float]], None], **options: Any
    ) -> None:
        super().__init__(**options)
        self.table, self.steps, self.on_step = table, steps, on_step
        self.table_documents, self.began = options["train_dataset"].documents, time.perf_counter()
        # Where the model takes no number of labels, Trainer takes the mean over micro-batches, as in 2023.
        self.model_accepts_loss_kwargs = table.mode != PUBLISHED

    def _get_train_sampler(self, train_dataset: Any = None) -> torch.utils.data.Sampler[int]:
        return torch.utils.data.SequentialSampler(self.train_dataset)  # type: ignore[arg-type]

    def create_scheduler(self, num_training_steps: int, optimizer: Any = None) -> Any:
        def factor(done: int) -> float:
            return scheduled_rate(done + 1, self.steps, 1.0, self.table.warmup_ratio)

        self.lr_scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer or self.optimizer, factor)  # type: ignore[arg-type]
        return self.lr_scheduler

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        if "grad_norm" not in logs:
            return
        step, now = self.state.global_step, time.perf_counter()
        batch = step_documents(self.table_documents, step - 1, self.table)
        tokens, seconds = sum(len(document.input_ids) for document in batch), now - self.began
        self.began = now
        values = {key: float(logs[key]) for key in ("loss", "grad_norm", "learning_rate")}
        speed = {"real_tokens": tokens, "real_tokens_per_second": round(tokens / seconds, 1), "seconds": seconds}
        self.on_step({"step": step, **values, **speed})


def train(
    model: transformers.PreTrainedModel,
    documents: Sequence[Document],
    table: TrainTable,
    total_steps: int,
    folder: Path,
    precision: str,
    team: Team,
    on_step: Callable[[dict[str, float]], None],
) -> None:
    """Trains to `total_steps`, from Trainer's own newest checkpoint in `folder`. PacosError on several CPUs."""
    if team.mesh and team.device.type == "cpu":
        raise PacosError(
            'train.engine = "trainer" on several CPU processes would silently be DDP, with no sharding; '
            'run it in one process, on GPUs, or with train.engine = "pacos".'
        )
    micro = math.gcd(table.batch_size, PUBLISHED_MICRO_BATCH)
    arguments = transformers.TrainingArguments(
        output_dir=str(folder),
        per_device_train_batch_size=micro,
        gradient_accumulation_steps=max(min(table.batch_size, len(documents)) // (micro * team.size), 1),
        max_steps=total_steps,
        learning_rate=table.learning_rate,
        weight_decay=table.weight_decay,
        adam_beta1=BETAS[0],
        adam_beta2=BETAS[1],
        adam_epsilon=EPSILON,
        max_grad_norm=1.0,
        bf16=precision == "bf16",
        use_cpu=team.device.type == "cpu",
        fsdp=bool(team.mesh),  # type: ignore[arg-type]
        fsdp_config={"version": 2} if team.mesh else None,
        seed=table.seed % 2**32,
        save_steps=table.checkpoint_every,
        save_total_limit=2,
        logging_steps=1,
        disable_tqdm=True,
        report_to=[],
        remove_unused_columns=False,
    )
    steps = Steps(documents, table, total_steps)
    trainer = Trainer(
        table, total_steps, on_step, model=model, args=arguments, train_dataset=steps, data_collator=collate
    )
    trainer.train(resume_from_checkpoint=get_last_checkpoint(str(folder)) if folder.exists() else None)  # type: ignore[no-untyped-call]
    # The model computes as it did before accelerate wrapped it.
    trainer.accelerator.unwrap_model(trainer.model_wrapped, keep_fp32_wrapper=False)
