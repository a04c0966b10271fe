"""redteam import: what other tools and users found, stored as cases, and as a suite that a gate can judge again."""

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path

from pacos.core.data_files import shown
from pacos.core.errors import PacosError
from pacos.core.files import atomic_open, sha256_file, sha256_text
from pacos.core.recipe import Recipe
from pacos.core.run_folder import RunFolder
from pacos.judging.objectives import find_judge, is_asked
from pacos.judging.offline import offline_judge
from pacos.redteam.cases import Brought, Case, CaseStore
from pacos.redteam.imports.answer_rows import read_answers, read_reports
from pacos.redteam.imports.foreign import Foreign, LeftOut, Remark, Told
from pacos.redteam.imports.garak import GarakReport, read_hitlog
from pacos.redteam.imports.pyrit import read_entries, read_memory
from pacos.redteam.imports.rows import READS, SQLITE, FileRows, beginning
from pacos.redteam.suites import MOST_CHARACTERS

# A suite's own limit for a case.
# Names that are shown of many.
_SHOWN = 5
_NAMES = {"hit": "hits", "safe": "safe", "unscored": "unscored", "error": "errors"}


@dataclass
class ImportTally:
    """What came of one file. `new` cases were not stored before, `in_suite` are in the suite now and were not."""

    form: str
    verdicts: Counter[str] = field(default_factory=Counter)
    left_out: Counter[str] = field(default_factory=Counter)
    without_judge: Counter[str] = field(default_factory=Counter)
    remarks: list[str] = field(default_factory=list)
    new: int = 0
    in_suite: int = 0


def import_results(run: Path, files: Sequence[Path], objective: str, recipe: Recipe) -> list[ImportTally]:
    """Imports each file, whole or not at all, into redteam/ of the run folder; what is there already stays once.

    `objective` is for cases that have none of their own in the suite; "" leaves those out of it. Raises PacosError
    where a file is none that is known, or holds what cannot be read; what the files before it brought is kept.
    """
    if objective:
        find_judge(objective, recipe.engines)
    if run.is_file():
        raise PacosError(f"{run}: is a file; expected the run folder first, then the files. Name the run folder.")
    told = [_open(path, bool(objective)) for path in files]
    with RunFolder(run / "redteam", recipe) as room, closing(CaseStore(room.path / "cases.sqlite")) as store:
        suite, tallies = _Suite(room.path / "imported.jsonl"), []
        for path, (form, cases, rows) in zip(files, told, strict=True):
            tally = ImportTally(form)
            with suite.growing():
                tally.new = store.bring(_taken(cases, tally, suite, objective))
            if rows and rows.is_cut:
                tally.left_out["a last line that was cut"] += 1
            _print(path, tally)
            tallies.append(tally)
        print(f"{suite.path}: {suite.size:,} cases")
    return tallies


def _open(path: Path, has_objective: bool) -> tuple[str, Iterator[Told], FileRows | None]:
    """The file's form, by what it begins with, and its reader."""
    if beginning(path).startswith(SQLITE):
        return "PyRIT's memory", read_memory(path), None
    rows = FileRows(path)
    first = next(iter(rows), None)
    keys = first.values.keys() if first else set()
    if "entry_type" in keys:
        return "garak's report", GarakReport().read(rows), rows
    if {"attempt_id", "detector"} <= keys:
        return "garak's hitlog", read_hitlog(rows), rows
    if {"conversation_id", "converted_value"} <= keys:
        return "PyRIT's prompt entries", read_entries(rows), rows
    if {"messages", "answer", "reason"} <= keys:
        return "reports of users", read_reports(rows, has_objective), rows
    if {"answer", "verdict"} <= keys and keys & {"prompt", "turns"}:
        return "answers with verdicts", read_answers(rows, sha256_file(path)), rows
    found = f"its first row has {', '.join(map(repr, sorted(keys)[:_SHOWN]))}" if keys else "it holds no row"
    raise PacosError(f"{path}: is nothing that is known ({found}); {READS}.")


def _taken(cases: Iterator[Told], tally: ImportTally, suite: "_Suite", objective: str) -> Iterator[Brought]:
    """Counts what is told, writes the suite, and hands on what is to be stored."""
    for told in cases:
        if isinstance(told, LeftOut):
            tally.left_out[told.why] += told.number
        elif isinstance(told, Remark):
            tally.remarks.append(told.text)
        else:
            tally.verdicts[str(told.brought.judged.verdict)] += 1
            own = told.objective if told.objective and _has_judge(told.objective) else objective
            if not own:
                tally.without_judge[told.objective or told.brought.objective or "no objective"] += 1
            elif not _can_be_asked(told.brought.judged.case):
                tally.left_out["of the suite, since nothing is asked last, or in more than 200,000 characters"] += 1
            else:
                tally.in_suite += suite.add(told, own)
            yield told.brought


def _can_be_asked(case: Case) -> bool:
    """Whether a suite may have it."""
    last = case.turns[-1]
    return (
        last.role == "user"
        and bool(last.content.strip())
        and sum(len(turn.content) for turn in case.turns) <= MOST_CHARACTERS
    )


@cache
def _has_judge(objective: str) -> bool:
    if is_asked(objective):
        # Which engines there are is known where the suite is run.
        return True
    try:
        offline_judge(objective)
    except PacosError:
        return False
    return True


class _Suite:
    """The suite file: each case once, by its turns and its objective."""

    def __init__(self, path: Path) -> None:
        self.path = path
        there = FileRows(path) if path.exists() and path.stat().st_size else ()
        self._ids = {_id(row.values.get("turns") or row.values.get("prompt"), row.text("objective")) for row in there}

    @property
    def size(self) -> int:
        """How many cases it has."""
        return len(self._ids)

    @contextmanager
    def growing(self) -> Iterator[None]:
        """What is added meanwhile is in the file once this ends without an error."""
        with atomic_open(self.path) as self._file:
            if self.path.exists():
                with open(self.path, encoding="utf-8") as there:
                    self._file.writelines(line.removesuffix("\n") + "\n" for line in there)
            yield

    def add(self, told: Foreign, objective: str) -> bool:
        """Adds a case; whether it was not there."""
        case = told.brought.judged.case
        is_plain = len(case.turns) == 1 and case.turns[0].role == "user"
        turns = case.prompt if is_plain else [asdict(turn) for turn in case.turns]
        name = _id(turns, objective)
        if name in self._ids:
            return False
        self._ids.add(name)
        line = {"id": name, "topic": case.topic, "technique": case.technique, "objective": objective}
        line |= {"language": told.language} if told.language else {}
        self._file.write(json.dumps(line | {"prompt" if is_plain else "turns": turns}, ensure_ascii=False) + "\n")
        return True


def _id(turns: object, objective: str) -> str:
    return sha256_text(json.dumps([turns, objective], sort_keys=True))[:16]


def _print(path: Path, tally: ImportTally) -> None:
    counts = ", ".join(f"{tally.verdicts[verdict]:,} {name}" for verdict, name in _NAMES.items())
    print(
        f"import: {path} ({tally.form}): {tally.verdicts.total():,} cases, {counts}; {tally.new:,} of them new; "
        f"{tally.in_suite:,} new in the suite"
    )
    for why, number in tally.left_out.items():
        print(f"  left out: {number:,} {why}")
    if tally.without_judge:
        most = ", ".join(f"{shown(name)} ({number:,})" for name, number in tally.without_judge.most_common(_SHOWN))
        rest = len(tally.without_judge) - _SHOWN
        print(
            f"  not in the suite: {tally.without_judge.total():,} cases of what no judge here looks for; --objective "
            f"gives them one: {most}{f' and {rest:,} more' if rest > 0 else ''}"
        )
    for remark in tally.remarks:
        print(f"  {remark}")
