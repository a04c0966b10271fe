"""The stage: the student, its data, the cards, the difference to the base, and checksums of it all in one folder."""

import shutil
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pacos.core.errors import PacosError
from pacos.core.files import read_json, sha256_file, write_text
from pacos.core.models import weights_sha256
from pacos.core.recipe import Recipe
from pacos.core.run_folder import RunFolder
from pacos.release.adapters import has_adapters, merge_adapters
from pacos.release.cards import Facts, datasheet_of_given_data, licence_of, model_card
from pacos.release.checkpoint import local_folder, weight_files
from pacos.release.checksums import copy_file, read_sums, write_sums
from pacos.release.weights_diff import write_weights_diff

PARTS = ("model", "data", "weights_diff", "DATASHEET.md", "MODEL_CARD.md")


@dataclass(frozen=True)
class ReleaseReport:
    """What was made; sizes in bytes, `weights_diff_bytes` None where the base has no safetensors to compare with."""

    files: int
    bytes: int
    weights_bytes: int
    weights_diff_bytes: int | None
    seconds: float


def run(recipe: Recipe, run: RunFolder) -> ReleaseReport:
    """Writes release/ from the run's finished stages; a finished release is only read."""
    started = time.monotonic()
    student = run.finished("train") / "model"
    inputs = tuple(run.path / stage / "done.json" for stage in ("generate", "train", "evaluate"))
    if not run.is_done("release"):
        # One that was stopped is made anew: what it read may be more by now, such as an evaluation.
        shutil.rmtree(run.path / "release", ignore_errors=True)
    with run.stage("release", (), inputs) as stage:
        if stage.done:
            print(f"release: done before, see {stage.folder}")
            return ReleaseReport(**stage.report())
        _copy_model(student, stage.folder / "model")
        student = stage.folder / "model"
        base = _write_difference(recipe.train.base, student, stage.folder / "weights_diff")
        facts = _facts(recipe, run, base, student)
        _write_data(facts, run, stage.folder)
        write_text(stage.folder / "MODEL_CARD.md", model_card(facts))
        write_sums(stage.folder, PARTS)
        report = _report(stage.folder, student, started)
        stage.finish(asdict(report), (*(part for part in PARTS if (stage.folder / part).exists()), "SHA256SUMS"))
        _print(report, stage.folder)
        return report


def _copy_model(student: Path, target: Path) -> None:
    if has_adapters(student):
        merge_adapters(student, target)
        return
    for path in sorted(path for path in student.rglob("*") if path.is_file()):
        copy_file(path, target / path.relative_to(student))


def _write_difference(base: str, student: Path, folder: Path) -> Path | None:
    """Writes weights_diff/ and returns the base's folder; None, and said so, where the base has no safetensors."""
    source = local_folder(base)
    try:
        weight_files(source)
    except PacosError as reason:
        print(f"release: no weight difference is made: {reason}")
        return None
    write_weights_diff(source, base, student, folder)
    return source


def _facts(recipe: Recipe, run: RunFolder, base: Path | None, model: Path) -> Facts:
    dataset = Path(recipe.train.dataset) if recipe.train.dataset else run.finished("generate") / "dataset.json"
    return Facts(
        recipe=recipe,
        generate=None if recipe.train.dataset else _stage_report(run, "generate"),
        train=read_json(run.path / "train" / "report.json", "stage report"),
        evaluate=_stage_report(run, "evaluate"),
        dataset_sha256=sha256_file(dataset),
        base_licence=licence_of(local_folder(recipe.train.base)),
        has_weights_diff=base is not None,
        weights_sha256=weights_sha256(model),
    )


def _stage_report(run: RunFolder, stage: str) -> dict[str, Any] | None:
    if not (run.path / stage / "done.json").exists():
        return None
    report: dict[str, Any] = read_json(run.path / stage / "report.json", "stage report")
    return report


def _write_data(facts: Facts, run: RunFolder, folder: Path) -> None:
    """The run's own data and its datasheet, or what is known of data that was given."""
    if facts.generate is None:
        given = facts.recipe.train.dataset
        sheet = datasheet_of_given_data(given, facts.dataset_sha256, facts.train["examples"])
        write_text(folder / "DATASHEET.md", sheet)
        return
    generated = run.path / "generate"
    for name in ("dataset.json", "dataset.jsonl"):
        copy_file(generated / name, folder / "data" / name)
    copy_file(generated / "datasheet.md", folder / "DATASHEET.md")


def _report(folder: Path, student: Path, started: float) -> ReleaseReport:
    sizes = {name: (folder / name).stat().st_size for name in read_sums(folder)}
    difference = sum(size for name, size in sizes.items() if name.startswith("weights_diff/"))
    return ReleaseReport(
        files=len(sizes),
        bytes=sum(sizes.values()),
        weights_bytes=sum(file.stat().st_size for file in weight_files(student)),
        weights_diff_bytes=difference or None,
        seconds=round(time.monotonic() - started, 2),
    )


def _print(report: ReleaseReport, folder: Path) -> None:
    print(f"release: {report.files} files, {report.bytes / 1e6:,.1f} MB, in {report.seconds:,.1f} s; {folder}")
    if report.weights_diff_bytes is not None:
        share = report.weights_diff_bytes / report.weights_bytes
        print(f"release: weight difference {report.weights_diff_bytes / 1e6:,.1f} MB, {share:.0%} of the weights")
