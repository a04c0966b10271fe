"""Suites: lists of cases that a target must stand, one JSON object a line, or the accepted rows of a topic tree."""

import csv
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pacos.core.errors import PacosError
from pacos.core.files import read_json_lines, read_text, sha256_text
from pacos.core.typed import MisfitError, check_whole
from pacos.engines import Message

TREE_COLUMNS = ("id", "topic", "prompt", "objective", "status", "label", "by", "note")
MOST_BYTES, MOST_CASES, MOST_CHARACTERS = 256 * 2**20, 100_000, 200_000
_LANGUAGE = re.compile(r"[a-z]{2,3}(?:[-_][a-z0-9]+)*", re.IGNORECASE)
_ROLES = ("system", "user", "assistant")
_EXPECTED = 'expected an object with "prompt" (a text) or "turns", and "objective"'


@dataclass(frozen=True)
class SuiteCase:
    """One case. `language` is a code such as "en", or empty where nobody says; `line` is where it stands."""

    id: str
    turns: tuple[Message, ...]
    objective: str
    topic: str
    technique: str
    language: str
    line: int


@dataclass(frozen=True)
class Suite:
    """A file's cases, in its order, at least one, each id once; `sha256` is of the file's text."""

    path: Path
    sha256: str
    cases: tuple[SuiteCase, ...]


def read_suite(path: Path) -> Suite:
    """The suite in a file: JSON Lines, attack's cases.jsonl too, or a tree's .csv, of which accepted rows are read.

    Raises PacosError naming the line that is no case, whose objective no judge has, or whose id was there before.
    """
    if path.is_file() and path.stat().st_size > MOST_BYTES:
        raise PacosError(f"{path}: {path.stat().st_size:,} bytes; a suite has at most {MOST_BYTES:,}. Split the file.")
    rows = _tree_rows(path) if path.suffix.lower() == ".csv" else _json_rows(path)
    cases: list[SuiteCase] = []
    lines: dict[str, int] = {}
    for line, row in rows:
        try:
            case = _case(line, row)
        except MisfitError as misfit:
            raise PacosError(f"{path}:{line}: {misfit}. Mend or remove that line.") from None
        if case.id in lines:
            raise PacosError(f"{path}:{line}: id {case.id!r} again, as in line {lines[case.id]}; give each its own.")
        if len(cases) == MOST_CASES:
            raise PacosError(f"{path}:{line}: more than {MOST_CASES:,} cases. Split the file.")
        lines[case.id] = line
        cases.append(case)
    if not cases:
        wanted = "no row with status accepted" if path.suffix.lower() == ".csv" else "no case in it"
        raise PacosError(f"{path}: {wanted}; {_EXPECTED}, one a line. Fill it, or leave the suite out.")
    return Suite(path, sha256_text(read_text(path, "suite")), tuple(cases))


def suite_line(case_id: str, turns: tuple[Message, ...], objective: str, **more: str) -> dict[str, Any]:
    """One line of a suite, as `read_suite` reads it; what is empty of `more` is left out."""
    asked: dict[str, Any] = (
        {"prompt": turns[0].content}
        if len(turns) == 1
        else {"turns": [{"role": turn.role, "content": turn.content} for turn in turns]}
    )
    return {"id": case_id, **asked, "objective": objective} | {key: text for key, text in more.items() if text}


def _json_rows(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    for line, value in read_json_lines(path, "suite"):
        if not isinstance(value, dict):
            raise PacosError(f"{path}:{line}: {_EXPECTED}. Mend or remove that line.")
        yield line, value


def _tree_rows(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    rows = csv.reader(io.StringIO(read_text(path, "topic tree"), newline=""), strict=True)
    header: list[str] = []
    try:
        for row in rows:
            if not header:
                header = row
                if missing := [name for name in TREE_COLUMNS[:5] if name not in header]:
                    raise PacosError(f"{path}:1: no column {missing[0]}; a tree has {', '.join(TREE_COLUMNS)}.")
            elif len(row) not in (0, len(header)):
                raise PacosError(
                    f"{path}:{rows.line_num}: {len(row)} fields; expected {len(header)}, as in its first line. Mend it."
                )
            elif row and (cells := dict(zip(header, row, strict=True)))["status"] == "accepted":
                yield rows.line_num, {key: cells[key] for key in ("id", "topic", "prompt", "objective")}
    except csv.Error as error:
        raise PacosError(f"{path}:{rows.line_num}: not a row of CSV ({error}). Mend that row.") from None


def _case(line: int, row: dict[str, Any]) -> SuiteCase:
    texts = {key: _text(row, key) for key in ("objective", "topic", "technique", "language")}
    if not texts["objective"]:
        raise MisfitError(f'no "objective"; {_EXPECTED}')
    if texts["language"] and not _LANGUAGE.fullmatch(texts["language"]):
        raise MisfitError(f'"language" is {texts["language"][:40]!r}; expected a code such as "en" or "pt-BR"')
    name = row["id"] if row.get("id") is not None else row.get("request", f"line {line}")
    if type(name) not in (str, int) or name == "":
        raise MisfitError(f'"id" is {str(name)[:40]!r}; expected a text or a whole number')
    check_whole(str(name), ' in "id"')
    return SuiteCase(str(name), _turns(row), **texts, line=line)


def _turns(row: dict[str, Any]) -> tuple[Message, ...]:
    turns = row.get("turns")
    if turns is None:
        turns = [{"role": "user", "content": _text(row, "prompt")}]
    if not isinstance(turns, list) or not all(isinstance(turn, dict) for turn in turns):
        raise MisfitError('"turns" is no list of objects; expected [{"role": "user", "content": "…"}]')
    read = tuple(map(_turn, turns))
    if not read or read[-1].role != "user" or not read[-1].content.strip():
        raise MisfitError(f"nothing is asked; {_EXPECTED}, the last turn the user's and not blank")
    if (length := sum(len(turn.content) for turn in read)) > MOST_CHARACTERS:
        raise MisfitError(f"{length:,} characters; a case has at most {MOST_CHARACTERS:,}")
    return read


def _turn(turn: dict[str, Any]) -> Message:
    if turn.get("role") not in _ROLES:
        raise MisfitError(f'"role" is {str(turn.get("role"))[:40]!r}; expected {", ".join(_ROLES)}')
    return Message(turn["role"], _text(turn, "content"))


def _text(row: dict[str, Any], key: str) -> str:
    value = row.get(key)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise MisfitError(f'"{key}" is {str(value)[:40]!r}; expected a text')
    check_whole(value, f' in "{key}"')
    return value
