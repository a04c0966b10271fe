"""The training stage: a base and instruction data in, a student out."""

import importlib
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from pacos.core.errors import PacosError
from pacos.core.files import sha256_file
from pacos.core.models import resolve_model, weights_sha256
from pacos.core.recipe import Recipe, TrainTable
from pacos.core.run_folder import RunFolder
from pacos.train.base import Base, has_dropout, load_base, split_weights
from pacos.train.checkpoint import Checkpoints, Progress
from pacos.train.data import DataReport, TrainingData, load_data, shared_prefixes
from pacos.train.loop import Loop, OnStep
from pacos.train.machine import Team, compile_layers, memory_named, open_team, peak_flops, peak_memory_bytes
from pacos.train.memory import MemoryEstimate, estimate_memory
from pacos.train.optimizer import make_optimizer
from pacos.train.packing import Packer, row_fill
from pacos.train.student import Remainders, check_student, probe, save_student
from pacos.train.tracking import Tracker, logged_steps

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
    processes: int
    precision: str
    optimizer: str
    parameters: int
    peak_memory_bytes: int
    estimated_memory_bytes: int


def run(recipe: Recipe, run: RunFolder) -> TrainReport | None:
    """Fine-tunes recipe.train.base on the recipe's dataset, or on the one this run generated.

    Writes train/steps.jsonl, train/checkpoints/ and train/model/; resumes from the newest checkpoint, and then ends
    in the same weights to the bit. Of several processes that torchrun started, number 0 has the run folder's lock and
    returns the report. Raises PacosError for a bad base, dataset or loss, or too little memory.
    """
    dataset, tables = _dataset(recipe, run)
    with open_team() as team:
        if team.rank:
            _train(recipe.train, dataset, run.path / "train", team, lambda event, **values: None)
            return None
        with run.stage("train", tables, (dataset, *_base_files(recipe.train.base))) as stage:
            if stage.done:
                return _told(TrainReport(**stage.report()), stage.folder)
            report = _train(recipe.train, dataset, stage.folder, team, stage.log)
            stage.finish(asdict(report), ("steps.jsonl", "model"))
        return _told(report, stage.folder)


def _train(table: TrainTable, dataset: Path, folder: Path, team: Team, log: Callable[..., None]) -> TrainReport:
    estimate = estimate_memory(table, team.device, team.size)
    torch.manual_seed(table.seed)
    base = load_base(table, weights=team.rank == 0 or table.engine == "trainer")
    data = load_data(dataset, table, base.tokenizer)
    packer = _packer(table, base, estimate, team)
    origin = {"base": base.sha256, "dataset": sha256_file(dataset)}
    if team.rank == 0:
        _tell(data.report, base, packer, estimate, team)
    log("train", device=team.device.type, processes=team.size, precision=estimate.precision)
    with memory_named(team.device, estimate), ExitStack() as stack:
        on_step: OnStep = lambda values: None  # noqa: E731
        if team.rank == 0:
            on_step = stack.enter_context(Tracker(folder, table, data.report.planned_steps)).step
        train = _by_trainer if table.engine == "trainer" else _by_loop
        checkpoints = Checkpoints(folder / "checkpoints", origin, team)
        progress, remainders, heldout_loss_after = train(table, base, data, packer, estimate, checkpoints, on_step)
        expected = probe(base.model, team.device)
        save_student(base, remainders, table.lora is not None, folder / "model", team)
        team.wait()
    if team.rank == 0:
        check_student(folder / "model", expected, estimate.precision)
    losses = [step["loss"] for step in logged_steps(folder)][-FINAL_STEPS:]
    return TrainReport(
        steps=progress.step,
        examples=data.report.examples,
        real_tokens=progress.real_tokens,
        real_tokens_per_second=round(progress.real_tokens / progress.seconds, 1),
        final_loss=sum(losses) / len(losses),
        seconds=round(progress.seconds, 2),
        weights_sha256=weights_sha256(folder / "model"),
        base=table.base,
        base_sha256=base.sha256,
        dataset=str(dataset),
        counts=asdict(data.report),
        heldout_loss_before=progress.heldout_loss_before,
        heldout_loss_after=heldout_loss_after,
        device=team.device.type,
        processes=team.size,
        precision=estimate.precision,
        optimizer="adamw-8bit" if estimate.eight_bit else "adamw",
        parameters=base.model.num_parameters(),
        peak_memory_bytes=peak_memory_bytes(team.device),
        estimated_memory_bytes=estimate.total,
    )


Trained = tuple[Progress, Remainders, float | None]


def _by_loop(
    table: TrainTable, base: Base, data: TrainingData, packer: Packer, estimate: MemoryEstimate,
    checkpoints: Checkpoints, on_step: OnStep,
) -> Trained:  # fmt: skip
    model, team = base.model, checkpoints.team
    lows = split_weights(model) if estimate.precision == "split" else {}
    # On a CPU it does not pay: attention and products take the time there, and compiling a minute.
    if team.device.type == "cuda" and base.packs:
        compile_layers(model)
    team.place(model)
    remainders = {p: team.share(lows[name], p) for name, p in model.named_parameters() if name in lows}
    optimizer = make_optimizer(model, table.weight_decay, remainders, estimate.eight_bit)
    progress = checkpoints.load(model, optimizer)
    loop = Loop(model, optimizer, table, team, packer, estimate.precision, peak_flops(team.device, estimate.precision))
    if progress.step == 0 and data.heldout:
        progress.heldout_loss_before = loop.mean_loss(data.heldout)
    loop.train(data.documents, data.report.planned_steps, progress, checkpoints, on_step)
    return progress, remainders, loop.mean_loss(data.heldout) if data.heldout else None


def _by_trainer(
    table: TrainTable, base: Base, data: TrainingData, packer: Packer, estimate: MemoryEstimate,
    checkpoints: Checkpoints, on_step: OnStep,
) -> Trained:  # fmt: skip
    """Without held-out losses: Trainer has the model until it is done."""
    if estimate.precision == "split" or estimate.eight_bit:
        raise PacosError(
            'train.engine = "trainer" keeps weights and optimizer states in fp32; '
            'leave train.precision = "split" and train.optimizer = "adamw-8bit" out, or take train.engine = "pacos".'
        )
    # It takes two seconds to import, and few need it.
    trainer = importlib.import_module("pacos.train.hf_trainer")
    steps, folder = data.report.planned_steps, checkpoints.folder
    trainer.train(base.model, data.documents, table, steps, folder, estimate.precision, checkpoints.team, on_step)
    told = logged_steps(folder.parent)
    return Progress(steps, *(int(sum(step[key] for step in told)) for key in ("real_tokens", "seconds"))), {}, None


def _packer(table: TrainTable, base: Base, estimate: MemoryEstimate, team: Team) -> Packer:
    share = table.share_prefix and base.packs and not has_dropout(base.model)
    prefixes = shared_prefixes(base.tokenizer) if share else ()
    rows = estimate.row_tokens
    return Packer(rows, prefixes, team.size, not base.packs, row_fill(rows, team.device))


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


def _tell(report: DataReport, base: Base, packer: Packer, estimate: MemoryEstimate, team: Team) -> None:
    kind = "8-bit" if estimate.eight_bit else "fp32"
    machine = f"{team.size} x {team.device.type}, {estimate.precision}, {kind} AdamW"
    how = "packed" if base.packs else "padded: its attention is its own"
    shared = " and ".join(str(len(prefix)) for prefix in packer.prefixes)
    print(f"train: {base.model.num_parameters():,} parameters on {machine}, {estimate.said}")
    print(f"train: {how}, rows of {packer.row_tokens:,} tokens{f', sharing prefixes of {shared}' if shared else ''}")
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
