"""The stage: the student, its data, the cards, the difference to the base, and checksums of it all in one folder."""

import shutil
import time
from pathlib import Path

import pacos.evaluate.report
import pacos.generate.report
import pacos.train.report
from pacos.core.errors import PacosError
from pacos.core.files import sha256_file, write_text
from pacos.core.models import weights_sha256
from pacos.core.recipe import Recipe
from pacos.core.run_folder import RunFolder
from pacos.core.stages import STAGES
from pacos.release.adapters import has_adapters, merge_adapters
from pacos.release.cards import Facts, datasheet_of_given_data, licence_of, model_card
from pacos.release.checksums import copy_file, read_sums, write_sums
from pacos.release.report import ReleaseReport
from pacos.release.safetensors_files import local_folder, weight_files
from pacos.release.weights_diff import write_weights_diff

PARTS = ("model", "data", "weights_diff", "DATASHEET.md", "MODEL_CARD.md")


def run(recipe: Recipe, run_folder: RunFolder) -> ReleaseReport:
    """Writes release/ from the run's finished stages."""
    started = time.monotonic()
    student = run_folder.finished("train") / "model"
    inputs = tuple(run_folder.path / name / "done.json" for name in STAGES if name != "release")
    if not run_folder.is_done("release"):
        # One that was stopped is made anew: what it read may be more by now, such as an evaluation.
        shutil.rmtree(run_folder.path / "release", ignore_errors=True)
    with run_folder.stage("release", inputs) as stage:
        _copy_model(student, stage.folder / "model")
        student = stage.folder / "model"
        stored_whole = _write_difference(recipe.train.base, student, stage.folder / "weights_diff")
        facts = _facts(recipe, run_folder, stored_whole, student)
        _write_data(facts, run_folder.path / "generate", stage.folder)
        write_text(stage.folder / "MODEL_CARD.md", model_card(facts))
        write_sums(stage.folder, PARTS)
        report = _report(stage.folder, student, started)
        stage.finish(report, (*(part for part in PARTS if (stage.folder / part).exists()), "SHA256SUMS"))
        _print(report, stage.folder)
        return report


def _copy_model(student: Path, target: Path) -> None:
    if has_adapters(student):
        merge_adapters(student, target)
        return
    for path in sorted(path for path in student.rglob("*") if path.is_file()):
        copy_file(path, target / path.relative_to(student))


def _write_difference(base: str, student: Path, folder: Path) -> float | None:
    """Writes weights_diff/ and returns what part of it the base has nothing for; None, and said so, where the base has
    no safetensors to compare with."""
    source = local_folder(base)
    try:
        weight_files(source)
    except PacosError as reason:
        print(f"release: no weight difference is made: {reason}")
        return None
    stored_whole = write_weights_diff(source, base, student, folder)
    if stored_whole:
        print(f"release: {stored_whole:.1%} of the weights have no counterpart in the base and are stored whole")
    return stored_whole


def _facts(recipe: Recipe, run_folder: RunFolder, stored_whole: float | None, model: Path) -> Facts:
    folder, given = run_folder.path, recipe.train.dataset
    if not given:
        run_folder.finished("generate")
    evaluated = (folder / "evaluate" / "done.json").exists()
    return Facts(
        recipe=recipe,
        generate=None if given else pacos.generate.report.read(folder / "generate"),
        train=pacos.train.report.read(folder / "train"),
        evaluate=pacos.evaluate.report.read(folder / "evaluate") if evaluated else None,
        dataset_sha256=sha256_file(run_folder.dataset),
        base_licence=licence_of(local_folder(recipe.train.base)),
        stored_whole=stored_whole,
        weights_sha256=weights_sha256(model),
    )


def _write_data(facts: Facts, generated: Path, folder: Path) -> None:
    """The run's own data and its datasheet, or what is known of data that was given."""
    if facts.generate is None:
        given = facts.recipe.train.dataset
        sheet = datasheet_of_given_data(given, facts.dataset_sha256, facts.train.examples)
        write_text(folder / "DATASHEET.md", sheet)
        return
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
