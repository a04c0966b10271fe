"""The training stage: a base and instruction data in, a student out."""

import importlib
import re
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from pacos.core.errors import PacosError
from pacos.core.files import sha256_file
from pacos.core.models import resolve_model, weights_sha256
from pacos.core.recipe import Recipe, TrainTable
from pacos.core.run_folder import RunFolder
from pacos.train.base import Base, has_dropout, load_base, split_weights
from pacos.train.checkpoint import Checkpoints, check_origin
from pacos.train.data import TrainingData, load_data, report_lines, shared_prefixes
from pacos.train.loop import Follow, Loop, OnStep
from pacos.train.machine import (
    Team,
    compile_layers,
    memory_named,
    open_team,
    peak_flops,
    peak_memory_bytes,
    same_bits_again,
)
from pacos.train.memory import MemoryEstimate, estimate_memory
from pacos.train.optimizer import AdamW, Remainders
from pacos.train.packing import PUBLISHED_MICRO_BATCH, Packer, row_fill
from pacos.train.student import check_student, probe, save_student
from pacos.train.tracking import logged_steps, tracker

MOST_FINAL_STEPS = 10
# What transformers reads of a checkpoint's folder.
READ_OF_A_BASE = re.compile(
    r"(config|generation_config|special_tokens_map|added_tokens|tokenizer.*|vocab.*|merges|chat_template.*|model.*)"
    r"\.(json|jinja|txt|model|safetensors)$"
)


@dataclass(frozen=True)
class TrainReport:
    """train/report.json. Losses are token means in nats; `final_loss` is the mean of the last tenth of the
    steps, ten at most."""

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
    trained_parameters: int
    """Fewer than `parameters` where adapters were trained, which `parameters` counts too."""
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
            return _train(recipe.train, dataset, run, team)
        with run.stage("train", tables, (dataset, *_base_files(recipe.train.base))) as stage:
            if stage.done:
                return _told(TrainReport(**stage.report()), stage.folder)
            report = _train(recipe.train, dataset, run, team)
            assert report
            stage.finish(asdict(report), ("steps.jsonl", "model"))
        return _told(report, stage.folder)


def _train(table: TrainTable, dataset: Path, run: RunFolder, team: Team) -> TrainReport | None:
    """The whole of it, by every process; the report is process 0's."""
    folder = run.path / "train"
    estimate = estimate_memory(table, team.device, team.size)
    torch.manual_seed(table.seed)
    with memory_named(team.device, estimate):
        base = load_base(table, weights=team.rank == 0 or table.engine == "trainer")
        data = load_data(dataset, table, base.tokenizer)
        _check_positions(table, base, data)
        packer = _packer(table, base, estimate, team)
        origin, follow = {}, _untold
        if team.rank == 0:
            _tell(table, data.report, base, packer, estimate, team)
            run.log("train", "train", device=team.device.type, processes=team.size, precision=estimate.precision)
            origin = {"base": weights_sha256(base.folder), "dataset": sha256_file(dataset)}
            check_origin(folder / "checkpoints", origin)
            follow = partial(tracker, folder, table, data.report["planned_steps"])
        if table.engine == "trainer":
            # It takes two seconds to import, and few need it.
            trainer = importlib.import_module("pacos.train.hf_trainer")
            trainer.train(base.model, data, table, folder / "checkpoints", estimate, team, follow)
            trained: Trained = {}, None, None
        else:
            checkpoints = Checkpoints(folder / "checkpoints", team)
            trained = _by_loop(table, base, data, packer, estimate, checkpoints, follow)
        remainders, before, after = trained
        expected = probe(base.model, team.device)
        save_student(base, remainders, table.lora is not None, folder / "model", team)
        team.wait()
    if team.rank:
        return None
    check_student(folder / "model", expected, estimate.precision)
    told = logged_steps(folder)
    real_tokens, seconds = (sum(step[key] for step in told) for key in ("real_tokens", "seconds"))
    last = [step["loss"] for step in told[-min(MOST_FINAL_STEPS, -(-len(told) // 10)) :]]
    return TrainReport(
        steps=len(told),
        examples=data.report["examples"],
        real_tokens=int(real_tokens),
        real_tokens_per_second=round(real_tokens / seconds, 1),
        final_loss=sum(last) / len(last),
        seconds=round(seconds, 2),
        weights_sha256=weights_sha256(folder / "model"),
        base=table.base,
        base_sha256=origin["base"],
        dataset=str(dataset),
        counts=data.report,
        heldout_loss_before=before,
        heldout_loss_after=after,
        device=team.device.type,
        processes=team.size,
        precision=estimate.precision,
        optimizer="adamw-8bit" if estimate.eight_bit else "adamw",
        parameters=base.model.num_parameters(),
        trained_parameters=base.model.num_parameters(only_trainable=True),
        peak_memory_bytes=peak_memory_bytes(team.device),
        estimated_memory_bytes=estimate.total,
    )


# What the weights lack of fp32, and the held-out loss before and after.
Trained = tuple[Remainders, float | None, float | None]


def _by_loop(
    table: TrainTable, base: Base, data: TrainingData, packer: Packer, estimate: MemoryEstimate,
    checkpoints: Checkpoints, follow: Follow,
) -> Trained:  # fmt: skip
    model, team = base.model, checkpoints.team
    lows = split_weights(model) if estimate.precision == "split" else {}
    # On a CPU it does not pay: attention and products take the time there, and compiling a minute.
    if team.device.type == "cuda" and base.packs:
        compile_layers(model)
    team.place(model)
    if base.packs:
        same_bits_again(model)
    remainders = {p: team.share(lows.pop(name), p) for name, p in model.named_parameters() if name in lows}
    optimizer = AdamW(model, table.weight_decay, remainders, estimate.eight_bit)
    step, before = checkpoints.load(model, optimizer)
    if step and team.rank == 0:
        print(f"train: goes on after step {step:,}, from the checkpoint in {checkpoints.folder}", flush=True)
    loop = Loop(model, optimizer, table, team, packer, estimate.precision, peak_flops(team.device, estimate.precision))
    if step == 0 and data.heldout:
        before = loop.mean_loss(data.heldout)
    with follow(step + 1) as on_step:
        loop.train(data, step, lambda step: checkpoints.save(model, optimizer, step, before), on_step)
    return remainders, before, loop.mean_loss(data.heldout) if data.heldout else None


def _untold(first: int) -> AbstractContextManager[OnStep]:
    return nullcontext(lambda values: None)


def _check_positions(table: TrainTable, base: Base, data: TrainingData) -> None:
    known, longest = getattr(base.model.config, "max_position_embeddings", None), data.report["longest_tokens"]
    if known and longest > known:
        raise PacosError(
            f"train.max_length {table.max_length}: the longest example has {longest:,} tokens and {table.base} knows "
            f"{known:,} positions; set train.max_length={known}."
        )


def _packer(table: TrainTable, base: Base, estimate: MemoryEstimate, team: Team) -> Packer:
    share = table.share_prefix and base.packs and not has_dropout(base.model)
    prefixes = shared_prefixes(base.tokenizer) if share else ()
    fill = row_fill(estimate.row_tokens, team.device)
    # Filled up, a row has no more tokens than the estimate's.
    rows = max(estimate.row_tokens - estimate.row_tokens % fill, 1)
    return Packer(rows, prefixes, team.size, not base.packs, fill)


def _dataset(recipe: Recipe, run: RunFolder) -> tuple[Path, tuple[str, ...]]:
    """The dataset's path, and the recipe tables that shape the result."""
    if not recipe.train.dataset:
        return run.finished("generate") / "dataset.json", ("train", "teacher", "generate")
    path = Path(recipe.train.dataset)
    if not path.is_file():
        raise PacosError(f"train.dataset {path}: no file there; expected an Alpaca-format dataset. Check the path.")
    return path, ("train",)


def _base_files(name: str) -> tuple[Path, ...]:
    folder = Path(resolve_model(name))
    files = sorted(folder.iterdir()) if folder.is_dir() else []
    return tuple(path for path in files if READ_OF_A_BASE.match(path.name))


def _tell(
    table: TrainTable, report: dict[str, Any], base: Base, packer: Packer, estimate: MemoryEstimate, team: Team
) -> None:
    kind = "8-bit" if estimate.eight_bit else "fp32"
    machine = f"{team.size} x {team.device.type}, {estimate.precision}, {kind} AdamW"
    shared = " and ".join(str(len(prefix)) for prefix in packer.prefixes)
    how = f"packed in rows of at most {packer.row_tokens:,} tokens{f', sharing prefixes of {shared}' if shared else ''}"
    if not base.packs:
        how = f"padded, with the model's own attention, at most {packer.row_tokens:,} tokens at once"
    if table.engine == "trainer":
        how = f"by Hugging Face's Trainer, padded, {PUBLISHED_MICRO_BATCH} examples at once, without a held-out loss"
    parameters, trained = base.model.num_parameters(), base.model.num_parameters(only_trainable=True)
    adapters = f", {trained:,} of them trained (LoRA, rank {table.lora.rank})," if table.lora else ""
    print(f"train: {parameters:,} parameters{adapters} on {machine}, {estimate.said}\ntrain: {how}")
    print("\n".join(report_lines(report)), flush=True)


def _told(report: TrainReport, folder: Path) -> TrainReport:
    heldout = ""
    if report.heldout_loss_before is not None and report.heldout_loss_after is not None:
        heldout = f", held-out loss {report.heldout_loss_before:.4f} -> {report.heldout_loss_after:.4f}"
    print(
        f"train: {report.steps:,} steps in {report.seconds:,.1f} s, {report.real_tokens_per_second:,.0f} tokens/s, "
        f"final loss {report.final_loss:.4f}{heldout}\n{folder / 'model'}"
    )
    return report
