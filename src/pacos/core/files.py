"""Whole files or none: atomic writes, reading that says what is wrong, and hashes."""

import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from pacos.core.errors import PacosError


@contextmanager
def atomic_open(path: Path, mode: str = "w") -> Iterator[IO[Any]]:
    """Opens a file beside `path` that takes its name only when it is whole and on disk.

    Raises PacosError when the disk is full or the folder cannot be written; `path` is then as it was.
    """
    # The process's number keeps two writers of one file apart.
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with _write_errors_named(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            file = open(partial, mode, encoding=None if "b" in mode else "utf-8")  # noqa: SIM115
        try:
            yield file
            with _write_errors_named(path):
                file.flush()
                os.fsync(file.fileno())
        finally:
            with _write_errors_named(path):
                file.close()
        with _write_errors_named(path):
            os.replace(partial, path)
    finally:
        # Where it could not even be made, why is being told already.
        with suppress(OSError):
            partial.unlink()


@contextmanager
def _write_errors_named(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise write_error(path, error) from error


def write_error(path: Path, error: OSError) -> PacosError:
    """The line for a write the system refused."""
    return PacosError(
        f"{path}: cannot be written ({error.strerror or error}); nothing was left half-written. "
        "Free space there, then repeat the same command: it goes on from here; or begin anew with --run another folder."
    )


def write_json(path: Path, value: Any) -> None:
    """Writes `value` as indented UTF-8 JSON, atomically."""
    with atomic_open(path) as file:
        json.dump(value, file, indent=2, ensure_ascii=False)
        file.write("\n")


def write_json_lines(path: Path, values: Iterable[Any]) -> None:
    """Writes each value as one line of UTF-8 JSON, atomically."""
    with atomic_open(path) as file:
        file.writelines(json.dumps(value, ensure_ascii=False) + "\n" for value in values)


def write_text(path: Path, text: str) -> None:
    """Writes `text` as UTF-8, atomically."""
    with atomic_open(path) as file:
        file.write(text)


@contextmanager
def _read_errors_named(path: Path, what: str) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise PacosError(f"{path}: no such file; expected the {what}. Check the path.") from None
    except IsADirectoryError:
        raise PacosError(f"{path}: is a folder; expected the {what} as a file. Give a file in it.") from None
    except UnicodeDecodeError as error:
        raise PacosError(f"{path}: byte {error.start} is not UTF-8; the {what} must be UTF-8 text.") from None
    except ValueError:
        raise PacosError(f"{str(path)!r}: no path can hold a NUL; expected the {what}. Check the path.") from None
    except OSError as error:
        raise PacosError(f"{path}: the {what} cannot be read ({error.strerror}).") from None


def read_text(path: Path, what: str) -> str:
    """The file's text; `what` names it in the error ("recipe", "seed tasks")."""
    with _read_errors_named(path, what):
        return path.read_text(encoding="utf-8-sig")


def read_bytes(path: Path, what: str) -> bytes:
    """The file as it is; `what` names it in the error."""
    with _read_errors_named(path, what):
        # A pipe is read once only, and some devices never end.
        if path.exists() and not path.is_file() and not path.is_dir():
            raise PacosError(f"{path}: is a pipe or a device; expected the {what} as a file. Save it as one.")
        return path.read_bytes()


def read_json(path: Path, what: str) -> Any:
    """The file's JSON value, or a PacosError naming line and column."""
    return _parsed(read_text(path, what), path, 1, f"the {what} must be one JSON value")


def read_json_lines(path: Path, what: str, being_written: bool = False) -> Iterator[tuple[int, Any]]:
    """Yields (line number from 1, JSON value) for each line that is not blank.

    Of a file `being_written`, what follows the last newline is left out: a kill may have cut it.
    """
    expected = f"the {what} must hold one JSON object a line. Mend or remove that line"
    lines = read_text(path, what).split("\n")
    for number, line in enumerate(lines[:-1] if being_written else lines, start=1):
        if line.strip():
            yield number, _parsed(line, path, number, expected)


def _parsed(text: str, path: Path, first_line: int, expected: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        where = f"{path}:{first_line + error.lineno - 1}: column {error.colno}"
        raise PacosError(f"{where} is not JSON ({error.msg}); {expected}.") from None
    except (RecursionError, ValueError):
        raise PacosError(f"{path}:{first_line}: nested too deep, or a number too long; {expected}.") from None


def sha256_text(text: str) -> str:
    """SHA-256 of a text's UTF-8, in hexadecimal digits."""
    return hashlib.sha256(text.encode()).hexdigest()


def sha256_file(path: Path) -> str:
    """The file's SHA-256 in hex, read in pieces."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
