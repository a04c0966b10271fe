"""The training stage: a base and instruction data in, a student out."""

import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import torch

from pacos.core.errors import PacosError
from pacos.core.files import sha256_file
from pacos.core.models import resolve_model, weights_sha256
from pacos.core.recipe import Recipe
from pacos.core.run_folder import RunFolder
from pacos.train import loop
from pacos.train.checkpoints import check_origin
from pacos.train.conversations import keep_chat
from pacos.train.machine import memory_named, open_team, peak_memory_bytes
from pacos.train.prepare import Prepared, Trained, TrainingEngine, prepare
from pacos.train.report import TrainReport, read_steps
from pacos.train.student import check_student, probe, save_student
from pacos.train.tracking import Follow, tracker, untold

MOST_FINAL_STEPS = 10
# What transformers reads of a checkpoint's folder.
READ_OF_A_BASE = re.compile(
    r"(config|generation_config|special_tokens_map|added_tokens|tokenizer.*|vocab.*|merges|chat_template.*|model.*)"
    r"\.(json|jinja|txt|model|safetensors)$"
)


def run(recipe: Recipe, run_folder: RunFolder) -> TrainReport | None:
    """Fine-tunes recipe.train.base on the recipe's dataset, or on the one this run generated.

    Writes train/steps.jsonl, train/checkpoints/ and train/model/; resumes from the newest checkpoint, and then ends
    in the same weights to the bit. Of several processes that torchrun started, number 0 has the run folder's lock and
    returns the report. Raises PacosError for a bad base, dataset or loss, or too little memory, and KeyboardInterrupt
    on Ctrl-C or SIGTERM.
    """
    table, dataset = recipe.train, _dataset(run_folder)
    with _ending_is_interrupting(), open_team() as team:
        if not team.leads:
            _train(prepare(table, dataset, team), run_folder.path / "train", untold)
            return None
        with run_folder.stage("train", (dataset, *_base_files(table.base))) as stage:
            prepared = prepare(table, dataset, team)
            print("\n".join(prepared.lines()), flush=True)
            origin = {"base": weights_sha256(prepared.base.folder), "dataset": sha256_file(dataset)}
            check_origin(stage.folder / "checkpoints", origin)
            stage.log("train", device=team.device.type, processes=team.size, precision=prepared.estimate.precision)
            follow = partial(tracker, stage.folder, table, prepared.data.report.planned_steps)
            trained, logits = _train(prepared, stage.folder, follow)
            check_student(stage.folder / "model", logits, prepared.estimate.precision)
            report = _report(prepared, trained, origin, dataset, stage.folder)
            stage.finish(report, ("steps.jsonl", "model"))
    _tell(report, stage.folder)
    return report


@contextmanager
def _ending_is_interrupting() -> Iterator[None]:
    """Makes SIGTERM, by which schedulers, containers and systemd end what they run, what Ctrl-C is."""
    previous = signal.getsignal(signal.SIGTERM)
    if previous is not signal.SIG_IGN:
        signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)


def _train(prepared: Prepared, folder: Path, follow: Follow) -> tuple[Trained, torch.Tensor]:
    """Every process's part: trains, and writes the student, whose logits are to be these at fixed tokens."""
    team, data = prepared.team, prepared.data
    # Saving gives the student Alpaca's template, which is not what it was trained on if conversations were among it.
    template = prepared.base.tokenizer.get_chat_template() if data.report.conversations else ""
    with memory_named(team.device, prepared.estimate):
        trained = _engine(prepared.table.engine)(prepared, folder / "checkpoints", follow)
        logits = probe(prepared.base.model, team.device)
        save_student(prepared.base, trained.remainders, folder / "model", team)
    if template and team.leads:
        keep_chat(folder / "model", template, data.ends)
    return trained, logits


def _engine(name: str) -> TrainingEngine:
    if name == "pacos":
        return loop.train
    # It takes two seconds to import, and few need it.
    from pacos.train import hf_trainer

    return hf_trainer.train


def _report(prepared: Prepared, trained: Trained, origin: dict[str, str], dataset: Path, folder: Path) -> TrainReport:
    table, team, estimate, model = prepared.table, prepared.team, prepared.estimate, prepared.base.model
    steps = read_steps(folder)
    real_tokens, seconds = sum(step.real_tokens for step in steps), sum(step.seconds for step in steps)
    last = [step.loss for step in steps[-_final_steps(len(steps)) :]]
    return TrainReport(
        steps=len(steps), examples=prepared.data.report.examples, counts=prepared.data.report,
        real_tokens=real_tokens, seconds=round(seconds, 2), real_tokens_per_second=round(real_tokens / seconds, 1),
        final_loss=sum(last) / len(last),
        heldout_loss_before=trained.heldout_loss_before, heldout_loss_after=trained.heldout_loss_after,
        base=table.base, base_sha256=origin["base"], dataset=str(dataset),
        weights_sha256=weights_sha256(folder / "model"),
        device=team.device.type, processes=team.size,
        precision=estimate.precision, optimizer="adamw-8bit" if estimate.eight_bit else "adamw",
        parameters=model.num_parameters(), trained_parameters=model.num_parameters(only_trainable=True),
        peak_memory_bytes=peak_memory_bytes(team.device), estimated_memory_bytes=estimate.total,
    )  # fmt: skip


def _final_steps(steps: int) -> int:
    """How many of the last steps the final loss is the mean of: a tenth, ten at most."""
    return min(MOST_FINAL_STEPS, -(-steps // 10))


def _dataset(run_folder: RunFolder) -> Path:
    path = run_folder.dataset
    if not run_folder.recipe.train.dataset:
        run_folder.finished("generate")
    elif not path.is_file():
        raise PacosError(f"train.dataset {path}: no file there; expected a file of records. Check the path.")
    return path


def _base_files(name: str) -> tuple[Path, ...]:
    folder = Path(resolve_model(name))
    files = sorted(folder.iterdir()) if folder.is_dir() else []
    return tuple(path for path in files if READ_OF_A_BASE.match(path.name))


def _tell(report: TrainReport, folder: Path) -> None:
    heldout = ""
    if report.heldout_loss_before is not None and report.heldout_loss_after is not None:
        heldout = f", held-out loss {report.heldout_loss_before:.4f} -> {report.heldout_loss_after:.4f}"
    last = _final_steps(report.steps)
    averaged = f" (the mean of the last {last} steps)" if last > 1 else ""
    print(
        f"train: {report.steps:,} steps in {report.seconds:,.1f} s, {report.real_tokens_per_second:,.0f} tokens/s, "
        f"final loss {report.final_loss:.4f}{averaged}{heldout}\n{folder / 'model'}"
    )
