"""The run folder: where stages meet. One process at a time, stages finished by a last rename, nothing overwritten."""

import fcntl
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pacos
from pacos.core.errors import PacosError
from pacos.core.files import read_json, sha256_file, write_error, write_json, write_text
from pacos.core.recipe import TABLES, Recipe

# Keys that shape nothing of what is asked: a stopped run may go on with other values, at another address too.
_FREE_KEYS = {
    *("max_usd", "concurrency", "api_key_env", "base_url", "batch"),
    *("input_usd_per_mtok", "cached_input_usd_per_mtok", "output_usd_per_mtok"),
}
# How much is asked for shapes nothing that was asked before, and how much is computed at once nothing but the order of
# sums: these may change until the stage is done.
_FREE_UNTIL_DONE = {"generate.num_examples", "train.row_tokens"}
# Larger files are not read again each time a stage is found done: that has to take no time.
HASHED_BYTES = 64 * 2**20
# Beside the tables, a stage's recipe.json holds the hashes of what it reads.
INPUTS = "inputs"


class RunFolder:
    """An open run: `with RunFolder(path, recipe) as run`. Holds the lock until it is closed.

    Raises PacosError when another process has the run open, or the folder cannot be written.
    """

    def __init__(self, path: Path, recipe: Recipe) -> None:
        self.path = path
        self.recipe = recipe

    def __enter__(self) -> Self:
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self._lock = open(self.path / ".lock", "a+")
        except OSError as error:
            raise write_error(self.path, error) from error
        try:
            # The kernel drops the lock with the process, however it ends: no stale lock files.
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._lock.seek(0)
            owner = self._lock.read().strip() or "unknown"
            self._lock.close()
            raise PacosError(
                f"{self.path}: another pacos process (id {owner}) is at work on this run; "
                "wait for it to end, or give --run another folder."
            ) from None
        self._lock.truncate(0)
        self._lock.write(str(os.getpid()))
        self._lock.flush()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._lock.close()

    def log(self, stage: str, event: str, **values: Any) -> None:
        """Appends one line to events.jsonl."""
        line = json.dumps({"time": round(time.time(), 3), "stage": stage, "event": event, **values})
        try:
            with open(self.path / "events.jsonl", "a", encoding="utf-8") as file:
                file.write(line + "\n")
        except OSError as failure:
            raise write_error(self.path / "events.jsonl", failure) from failure

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
    def stage(self, name: str, tables: tuple[str, ...], inputs: tuple[Path, ...] = ()) -> Iterator["Stage"]:
        """Begins or resumes a stage; `stage.done` tells that it was finished before, and then nothing is to be done.

        `tables` are the recipe tables that shape this stage's result: a folder begun with other values is refused.
        """
        folder = self.path / name
        if self.is_done(name):
            yield Stage(self, name, folder, True, inputs)
            return
        self._record_recipe(folder, tables, _hashes(folder, inputs))
        self.log(name, "begin")
        try:
            yield Stage(self, name, folder, False, inputs)
        except KeyboardInterrupt:
            self.log(name, "interrupted")
            raise

    def is_done(self, name: str) -> bool:
        """Whether a stage is finished; PacosError where it was begun, finished or not, with another recipe."""
        folder = self.path / name
        record, done = folder / "recipe.json", folder / "done.json"
        # Where nothing was made yet, nothing is made with another recipe: a mistyped path may be mended.
        if not record.exists() or all(path == record for path in folder.iterdir()):
            return done.exists()
        differences = []
        for table, was in _object(record).items():
            if table == INPUTS:
                continue
            if table not in TABLES or not isinstance(was, dict):
                raise PacosError(f"{record}: not the record that pacos wrote ({table}); put it back as it was.")
            now = self.recipe.table(table)
            differences += [
                f"{table}.{key} was {was.get(key)!r}, is now {value!r}"
                for key, value in now.items()
                if was.get(key) != value
                and key not in _FREE_KEYS
                and (done.exists() or f"{table}.{key}" not in _FREE_UNTIL_DONE)
            ]
        if differences:
            raise PacosError(
                f"{folder}: made with another recipe: {'; '.join(differences)}. "
                "Give the recipe it was made with, or --run another folder."
            )
        if done.exists():
            _check_outputs(folder, _object(done))
        return done.exists()

    def _record_recipe(self, folder: Path, tables: tuple[str, ...], inputs: dict[str, str]) -> None:
        write_text(self.path / "recipe.toml", self.recipe.text)
        resolved = {
            table: self.recipe.table(table) for table in ("teacher", "judge", "generate", "train", "evaluate", "serve")
        }
        write_json(self.path / "resolved.json", resolved)
        write_json(folder / "recipe.json", {table: resolved[table] for table in tables} | {INPUTS: inputs})


def _hashes(folder: Path, inputs: tuple[Path, ...]) -> dict[str, str]:
    """SHA-256 of the small inputs; PacosError where one is not what an unfinished stage began with."""
    hashes = {str(path): sha256_file(path) for path in inputs if path.is_file() and _is_small(path)}
    record = folder / "recipe.json"
    made = record.exists() and any(path != record for path in folder.iterdir())
    began_with = _object(record).get(INPUTS, {}) if made else {}
    for name, digest in hashes.items():
        if began_with.get(name, digest) != digest:
            raise PacosError(
                f"{name}: has changed since {folder} was begun with it; put it back as it was, or give --run another "
                "folder."
            )
    # By content: where a file lies shapes nothing.
    for names, others, what in ((hashes, began_with, "without"), (began_with, hashes, "with")):
        odd = [name for name, digest in names.items() if digest not in others.values()] if made else []
        if odd:
            raise PacosError(
                f"{odd[0]}: {folder} was begun {what} this file; give the recipe it was begun with, or --run another "
                "folder."
            )
    return hashes


def _is_small(path: Path) -> bool:
    return path.stat().st_size <= HASHED_BYTES


def _object(path: Path) -> dict[str, Any]:
    value = read_json(path, "record of a stage")
    if not isinstance(value, dict):
        raise PacosError(f"{path}: not the record that pacos wrote; remove the folder {path.parent} to make it again.")
    return value


def _check_outputs(folder: Path, done: dict[str, Any]) -> None:
    """Refuses a finished stage that is no longer what it made; of the largest files only that they are there."""
    for name, digest in done.get("outputs", {}).items():
        path = folder / name
        if not path.is_file():
            changed = "is missing"
        elif _is_small(path) and sha256_file(path) != digest:
            changed = "has changed"
        else:
            continue
        raise PacosError(
            f"{path}: {changed} since its stage was finished; put it back, or remove the folder {folder} "
            "and those of the stages after it to make them again."
        )


@dataclass(frozen=True)
class Stage:
    """One stage's folder while it is being made."""

    run: RunFolder
    name: str
    folder: Path
    done: bool
    inputs: tuple[Path, ...]

    def log(self, event: str, **values: Any) -> None:
        """Appends one line to the run's events.jsonl."""
        self.run.log(self.name, event, **values)

    def report(self) -> dict[str, Any]:
        """The finished stage's report.json."""
        report: dict[str, Any] = read_json(self.folder / "report.json", "stage report")
        return report

    def finish(self, report: dict[str, Any], outputs: tuple[str, ...]) -> None:
        """Writes report.json, then done.json last, with the SHA-256 of every input and output.

        `outputs` are paths inside the stage's folder; a folder stands for every file in it.
        """
        write_json(self.folder / "report.json", report)
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
