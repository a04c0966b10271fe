"""The run folder: where stages meet. One process at a time, stages finished by a last rename, nothing overwritten."""

import json
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import pacos
from pacos.core.errors import PacosError
from pacos.core.files import atomic_open, read_json, sha256_file, write_error, write_json, write_text
from pacos.core.keys import names_of
from pacos.core.locks import lock_folder
from pacos.core.recipe import Recipe, load_run, table_class
from pacos.core.stages import STAGES

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

# Larger files are not read again each time a stage is found done: that has to take no time.
HASHED_BYTES = 64 * 2**20
# What a run folder holds before any stage has made anything.
NOTES = (".lock", "events.jsonl", "recipe.toml", "resolved.json")
# Beside the tables, a stage's recipe.json holds the hashes of what it reads.
INPUTS = "inputs"


class RunFolder:
    """An open run: `with RunFolder(path, recipe) as run_folder`. Holds the lock until it is closed.

    A folder that was not there before is gone again where what was to be done is refused before a stage made anything.
    Raises PacosError when another process has the run open, or the folder cannot be written.
    """

    def __init__(self, path: Path, recipe: Recipe) -> None:
        self.path = path
        self.recipe = recipe
        self._new: list[Path] = []

    def __enter__(self) -> Self:
        self._new = [folder for folder in (self.path, *self.path.parents) if not folder.exists()]
        self._lock = lock_folder(self.path, "this run", "wait for it to end, or give --run another folder")
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        if isinstance(error, PacosError) and self._new and _holds_nothing(self.path):
            shutil.rmtree(self.path, ignore_errors=True)
            with suppress(OSError):  # another run is in it by now
                for parent in self._new[1:]:
                    parent.rmdir()
        self._lock.close()

    def log(self, stage: str, event: str, **values: Any) -> None:
        """Appends one line to events.jsonl."""
        line = json.dumps({"time": round(time.time(), 3), "stage": stage, "event": event, **values})
        try:
            with open(self.path / "events.jsonl", "a", encoding="utf-8") as file:
                file.write(line + "\n")
        except OSError as failure:
            raise write_error(self.path / "events.jsonl", failure) from failure

    @property
    def dataset(self) -> Path:
        """The data that the run trains on, there or not: the file that the recipe names, or what generate makes."""
        return Path(self.recipe.train.dataset or self.path / "generate" / "dataset.json")

    def finished(self, stage: str) -> Path:
        """The folder of a finished stage, for the stages that read it.

        Raises PacosError where it is not finished, or was made with another recipe.
        """
        folder = self.path / stage
        if not self.is_done(stage):
            raise PacosError(
                f"{folder}: the {stage} stage is not finished in this run; "
                f"run `pacos {stage} RECIPE --run {self.path}` first."
            )
        return folder

    def read_by(self, stage: str) -> dict[str, str] | None:
        """SHA-256 by path of the files that a finished stage has read; None where it is not finished."""
        done = self.path / stage / "done.json"
        return _object(done).get("inputs", {}) if done.exists() else None

    @contextmanager
    def stage(self, name: str, inputs: tuple[Path, ...] = ()) -> Iterator["OpenStage"]:
        """Begins or resumes a stage that is not finished.

        A folder begun with other values of what shapes the stage, or with other inputs, is refused, and so is a
        finished one: nothing is overwritten.
        """
        folder = self.path / name
        if self.is_done(name):
            raise PacosError(
                f"{folder}: the {name} stage is finished; remove the folder to make it again, or give --run another."
            )
        hashes = _small_hashes(inputs)
        if _is_begun(folder):
            _check_inputs(folder, _object(folder / "recipe.json").get(INPUTS, {}), hashes)
        self._record_stage(name, folder, hashes)
        self.log(name, "begin")
        try:
            yield OpenStage(self, name, folder, inputs)
        except KeyboardInterrupt:
            self.log(name, "interrupted")
            raise

    def is_done(self, name: str) -> bool:
        """Whether a stage is finished; PacosError where it was begun, finished or not, with another recipe."""
        folder = self.path / name
        done = folder / "done.json"
        # Where nothing was made yet, nothing is made with another recipe: a mistyped path may be mended.
        if not _is_begun(folder):
            return done.exists()
        if differences := self._differences(name, folder, done.exists()):
            raise PacosError(
                f"{folder}: made with another recipe: {'; '.join(differences)}. "
                "Give the recipe it was made with, or --run another folder."
            )
        if done.exists():
            _check_outputs(folder, _object(done), HASHED_BYTES)
        return done.exists()

    def share(self, name: str, other: Path) -> None:
        """Takes over a stage that the run `other` has finished; nothing is done where it is finished here.

        Its files are hard-linked, or copied to another file system; done.json says `shared_from`. Raises PacosError
        where a key that shapes the stage or a file it read is not the same here (naming them), where an output of it
        was changed, or where it was begun here.
        """
        folder, source = self.path / name, other / name
        if self.is_done(name):
            return
        if _is_begun(folder):
            raise PacosError(f"{folder}: begun in this run; finish it, or remove the folder to share {source}.")
        if not (source / "done.json").exists():
            raise PacosError(f"{source}: not finished; only a finished stage can be shared. Run `pacos {name}` there.")
        done = _object(source / "done.json")
        inputs = {_moved(Path(path), other, self.path): (Path(path), digest) for path, digest in done["inputs"].items()}
        differences = self._differences(name, source, True) + self._differences_in_reads(name, other, inputs)
        if differences:
            raise PacosError(
                f"{source}: cannot be shared with {self.path}: {'; '.join(differences)}. "
                f"Make that the same, or make the stage anew with `pacos {name}`."
            )
        _check_outputs(source, done)
        # Under another name until it is whole.
        partial = self.path / f".{name}.shared"
        for leftover in (partial, folder):
            shutil.rmtree(leftover, ignore_errors=True)
        # A study with people has personal links, and its votes would be cast in two runs.
        study = shutil.ignore_patterns("annotation")
        shutil.copytree(source, partial, ignore=study, copy_function=_link_or_copy)
        hashes = {str(path): sha256_file(path) for path in inputs}
        self._record_stage(name, partial, hashes)
        write_json(partial / "done.json", {**done, "inputs": hashes, "shared_from": str(other)})
        os.replace(partial, folder)
        self.log(name, "shared", other=str(other))

    def _differences(self, name: str, folder: Path, done: bool) -> list[str]:
        """The keys that shape a stage and are not as they were when `folder` was begun."""
        record, now = _object(folder / "recipe.json"), self._shape(name)
        record.pop(INPUTS, None)
        if odd := [table for table, was in record.items() if not isinstance(was, dict)]:
            raise PacosError(f"{folder / 'recipe.json'}: not the record that pacos wrote ({odd[0]}); put it back.")
        differences = []
        for table in record.keys() & now.keys():
            free = names_of(table_class(table), "free", *(() if done else ("free_until_done",)))
            differences += [
                f"{table}.{key} was {record[table].get(key)!r}, is now {value!r}"
                for key, value in now[table].items()
                if record[table].get(key) != value and key not in free
            ]
        engines = sorted(table for table in record.keys() ^ now.keys() if table.startswith("engines."))
        return sorted(differences) + [f"[{table}] is not named in both" for table in engines]

    def _differences_in_reads(self, name: str, other: Path, inputs: dict[Path, tuple[Path, str]]) -> list[str]:
        """The files that a stage of `other` has read and this run would not read, or with another content."""
        differences, theirs = [], load_run(other)
        for table, key in STAGES[name].reads:
            was, now = theirs.table(table)[key], self.recipe.table(table)[key]
            differences += [f"{table}.{key} is {was!r} there, {now!r} here"] * (was != now)
        for path, (read, digest) in inputs.items():
            if not path.is_file():
                differences.append(f"{path} is missing")
            # Of a stage that was read, what it made counts, and not when.
            elif sha256_file(path) != digest and not (path.name == "done.json" and _outputs(path) == _outputs(read)):
                differences.append(f"{path} is not the {read} that was read")
        return differences

    def _shape(self, name: str) -> dict[str, Any]:
        return {table: self.recipe.table(table) for table in STAGES[name].shaped_by(self.recipe)}

    def record_recipe(self) -> None:
        """Writes recipe.toml and resolved.json, by which `load_run` knows the run again."""
        write_text(self.path / "recipe.toml", self.recipe.text)
        write_json(self.path / "resolved.json", self.recipe.tables())

    def _record_stage(self, name: str, folder: Path, inputs: dict[str, str]) -> None:
        self.record_recipe()
        write_json(folder / "recipe.json", self._shape(name) | {INPUTS: inputs})


def _moved(path: Path, source: Path, target: Path) -> Path:
    """`path` as it is called under `target` where it lies under `source`; else as it is."""
    whole, source = path.resolve(), source.resolve()
    return target / whole.relative_to(source) if whole.is_relative_to(source) else path


def _holds_nothing(path: Path) -> bool:
    """Whether a run folder holds no more than the notes of what was to be done."""
    return all(
        all(each.name == "recipe.json" for each in entry.iterdir()) if entry.is_dir() else entry.name in NOTES
        for entry in path.iterdir()
    )


def _is_begun(folder: Path) -> bool:
    """Whether a stage has made anything yet."""
    record = folder / "recipe.json"
    return record.exists() and any(path != record for path in folder.iterdir())


def _small_hashes(inputs: tuple[Path, ...]) -> dict[str, str]:
    return {str(path): sha256_file(path) for path in inputs if path.is_file() and path.stat().st_size <= HASHED_BYTES}


def _check_inputs(folder: Path, began_with: dict[str, str], hashes: dict[str, str]) -> None:
    """PacosError where the inputs are not what an unfinished stage began with."""
    for name, digest in hashes.items():
        if began_with.get(name, digest) != digest:
            raise PacosError(
                f"{name}: has changed since {folder} was begun with it; put it back, or give --run another folder."
            )
    # By content: where a file lies shapes nothing.
    new = [name for name, digest in hashes.items() if digest not in began_with.values()]
    gone = [name for name, digest in began_with.items() if digest not in hashes.values()]
    for name, what in [*((name, "without") for name in new), *((name, "with") for name in gone)]:
        raise PacosError(
            f"{name}: {folder} was begun {what} this file; give the recipe it was begun with, or --run another folder."
        )


def _object(path: Path) -> dict[str, Any]:
    value = read_json(path, "record of a stage")
    if not isinstance(value, dict):
        raise PacosError(f"{path}: not the record that pacos wrote; remove the folder {path.parent} to make it again.")
    return value


def _outputs(done: Path) -> Any:
    return _object(done).get("outputs") if done.is_file() else None


def _check_outputs(folder: Path, done: dict[str, Any], most_bytes: int | None = None) -> None:
    """Refuses a finished stage that is no longer what it made; of files over `most_bytes` only that they are there."""
    for name, digest in done.get("outputs", {}).items():
        path = folder / name
        if not path.is_file():
            changed = "is missing"
        elif (most_bytes is None or path.stat().st_size <= most_bytes) and sha256_file(path) != digest:
            changed = "has changed"
        else:
            continue
        raise PacosError(
            f"{path}: {changed} since its stage was finished; put it back, or remove the folder {folder} "
            "and those of the stages after it to make them again."
        )


def _link_or_copy(source: str, target: str) -> None:
    # A database may be written to by whoever opens it, and would be in both runs.
    if ".sqlite" not in Path(source).name:
        try:
            return os.link(source, target)
        except OSError:
            pass
    with open(source, "rb") as theirs, atomic_open(Path(target), "wb") as ours:
        shutil.copyfileobj(theirs, ours)


@dataclass(frozen=True)
class OpenStage:
    """One stage's folder while it is being made."""

    run_folder: RunFolder
    name: str
    folder: Path
    inputs: tuple[Path, ...]

    def log(self, event: str, **values: Any) -> None:
        """Appends one line to the run's events.jsonl."""
        self.run_folder.log(self.name, event, **values)

    def finish(self, report: "DataclassInstance", outputs: tuple[str, ...]) -> None:
        """Writes report.json, then done.json last, with the SHA-256 of every input and output.

        `outputs` are paths inside the stage's folder; a folder stands for every file in it.
        """
        write_json(self.folder / "report.json", asdict(report))
        files = [self.folder / "report.json"]
        for output in outputs:
            path = self.folder / output
            files += sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
        write_json(
            self.folder / "done.json",
            {
                "stage": self.name,
                "pacos": pacos.__version__,
                "finished": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
                "inputs": {str(path): sha256_file(path) for path in self.inputs if path.is_file()},
                "outputs": {str(path.relative_to(self.folder)): sha256_file(path) for path in files},
            },
        )
        self.log("done")
