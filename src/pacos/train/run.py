"""The training stage: a base and instruction data in, a student out."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel

from pacos.core.errors import PacosError
from pacos.core.files import sha256_file
from pacos.core.models import resolve_model, weights_sha256
from pacos.core.recipe import Recipe
from pacos.core.run_folder import RunFolder
from pacos.engines.local.device import choose_device, choose_precision
from pacos.train.checkpoint import Checkpoints, StepLog, logged_losses
from pacos.train.data import DataReport, Document, load_data
from pacos.train.device import autocast, memory_named, peak_memory_bytes
from pacos.train.loop import row_tokens, train
from pacos.train.loss import mean_loss
from pacos.train.optimizer import make_optimizer
from pacos.train.packing import pack
from pacos.train.student import base_sha256, load_base, save_student

FINAL_STEPS = 10


@dataclass(frozen=True)
class TrainReport:
    """train/report.json. Losses are token means in nats; `final_loss` is the mean of the last ten steps'."""

    steps: int
    examples: int
    real_tokens: int
    real_tokens_per_second: float
    final_loss: float
    seconds: float
    weights_sha256: str
    base: str
    base_sha256: str
    dataset: str
    counts: dict[str, Any]
    heldout_loss_before: float | None
    heldout_loss_after: float | None
    device: str
    precision: str
    parameters: int
    peak_memory_bytes: int


def run(recipe: Recipe, run: RunFolder) -> TrainReport:
    """Fine-tunes recipe.train.base on the recipe's dataset, or on the one this run generated.

    Writes train/steps.jsonl, train/checkpoints/ and train/model/; resumes from the newest checkpoint, and then ends
    in the same weights to the bit. Raises PacosError for a bad base, dataset or loss, or too little memory.
    """
    table = recipe.train
    dataset, tables = _dataset(recipe, run)
    with run.stage("train", tables, (dataset, *_base_files(table.base))) as stage:
        if stage.done:
            return _told(TrainReport(**stage.report()), stage.folder)
        device = choose_device()
        precision = choose_precision(table.precision, device)
        torch.manual_seed(table.seed)
        model, tokenizer = load_base(table.base)
        data = load_data(dataset, table, tokenizer)
        _tell(data.report, model, f"{device.type}, {precision}")

        origin = {"base": base_sha256(table.base, model), "dataset": sha256_file(dataset)}
        checkpoints = Checkpoints(stage.folder / "checkpoints", origin)
        with memory_named(device):
            model.to(device)  # type: ignore[arg-type]
            optimizer = make_optimizer(model, table.learning_rate, table.weight_decay)
            progress = checkpoints.load(model, optimizer)
            stage.log("train", step=progress.step, device=device.type, precision=precision)
            compute = autocast(device, precision)
            if progress.step == 0 and data.heldout:
                print(f"train: measuring the loss on {len(data.heldout):,} held-out examples", flush=True)
                progress.heldout_loss_before = _heldout_loss(model, data.heldout, compute)
            with StepLog(stage.folder / "steps.jsonl", progress.step) as log:
                steps = data.report.planned_steps
                train(model, optimizer, data.documents, table, steps, compute, progress, checkpoints, log)
            heldout_loss_after = _heldout_loss(model, data.heldout, compute)
            save_student(model, tokenizer, stage.folder / "model")

        losses = logged_losses(stage.folder / "steps.jsonl")[-FINAL_STEPS:]
        report = TrainReport(
            steps=progress.step,
            examples=data.report.examples,
            real_tokens=progress.real_tokens,
            real_tokens_per_second=round(progress.real_tokens / progress.seconds, 1),
            final_loss=sum(losses) / len(losses),
            seconds=round(progress.seconds, 2),
            weights_sha256=weights_sha256(stage.folder / "model"),
            base=table.base,
            base_sha256=origin["base"],
            dataset=str(dataset),
            counts=asdict(data.report),
            heldout_loss_before=progress.heldout_loss_before,
            heldout_loss_after=heldout_loss_after,
            device=device.type,
            precision=precision,
            parameters=model.num_parameters(),
            peak_memory_bytes=peak_memory_bytes(device),
        )
        stage.finish(asdict(report), ("steps.jsonl", "model"))
    return _told(report, stage.folder)


def _dataset(recipe: Recipe, run: RunFolder) -> tuple[Path, tuple[str, ...]]:
    """The dataset's path, and the recipe tables that shape the result."""
    if not recipe.train.dataset:
        return run.finished("generate") / "dataset.json", ("train", "teacher", "generate")
    path = Path(recipe.train.dataset)
    if not path.is_file():
        raise PacosError(f"train.dataset {path}: no such file; expected an Alpaca-format dataset. Check the path.")
    return path, ("train",)


def _base_files(name: str) -> tuple[Path, ...]:
    folder = Path(resolve_model(name))
    return tuple(sorted(folder.glob("model*.safetensors"))) if folder.is_dir() else ()


def _heldout_loss(model: PreTrainedModel, heldout: list[Document], compute: torch.autocast) -> float | None:
    return mean_loss(model, pack(heldout, row_tokens(model.device)), compute) if heldout else None


def _tell(report: DataReport, model: PreTrainedModel, machine: str) -> None:
    print(f"train: {model.num_parameters():,} parameters on {machine}")
    print("\n".join(report.lines()), flush=True)


def _told(report: TrainReport, folder: Path) -> TrainReport:
    heldout = ""
    if report.heldout_loss_before is not None and report.heldout_loss_after is not None:
        heldout = f", held-out loss {report.heldout_loss_before:.4f} -> {report.heldout_loss_after:.4f}"
    print(
        f"train: {report.steps:,} steps in {report.seconds:,.1f} s, {report.real_tokens_per_second:,.0f} tokens/s, "
        f"final loss {report.final_loss:.4f}{heldout}\n{folder / 'model'}"
    )
    return report
