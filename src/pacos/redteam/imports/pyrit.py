"""PyRIT's memory (SQLite, 1.1), and the prompt entries that versions below 1.0 export as JSON or CSV.

An answer is a case of each scorer that looked at it. The memory also holds the talks of the attackers and scorers that
are models; what no attack names and no scorer looked at is no case.
"""

import ast
import json
import math
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any

from pacos.core.errors import PacosError
from pacos.engines import Message
from pacos.redteam.cases import Answered, Verdict
from pacos.redteam.imports.foreign import CaseSource, Foreign, LeftOut, Told, Word, bring, message
from pacos.redteam.imports.rejudging import REFUSAL_SCORER, judge_of_scorer
from pacos.redteam.imports.rows import FileRow, FileRows, parse
from pacos.store.read_only import open_to_read

_ENTRIES, _SCORES, _ATTACKS, _TALKS = "PromptMemoryEntries", "ScoreEntries", "AttackResultEntries", "Conversations"
_EXPECTED = f"PyRIT's memory, an SQLite database with the tables {_ENTRIES} and {_SCORES}. Give a whole copy of it"
# What is read of an entry and of a score; older versions lack some.
_OF_ENTRY = (
    *("conversation_id", "sequence", "role", "id", "original_prompt_id", "converted_value"),
    *("converted_value_data_type", "response_error", "converter_identifiers"),
)
_OF_SCORE = (
    *("score_value", "status", "score_type", "score_category", "score_rationale", "scorer_class_identifier"),
    "timestamp",
)
_NO_SCORER = "pyrit: no scorer"
_THRESHOLD = 0.5


@dataclass(frozen=True)
class _Score:
    scorer: dict[str, Any]
    word: Word


@dataclass
class _Turn:
    """One message of a conversation, of one piece or more."""

    role: str
    piece: str
    is_copy: bool
    error: str
    converters: tuple[str, ...]
    texts: list[str] = field(default_factory=list)
    has_file: bool = False
    scores: dict[str, _Score] = field(default_factory=dict)

    @property
    def text(self) -> str:
        return "\n".join(self.texts)


def read_memory(path: Path) -> Iterator[Told]:
    """Reads an SQLite memory; PacosError where it is damaged or another program's."""
    try:
        with closing(open_to_read(path, _EXPECTED)) as memory:
            if not {_ENTRIES, _SCORES} <= _tables(memory):
                raise PacosError(f"{path}: is an SQLite database; expected {_EXPECTED}.")
            yield from _read(memory)
    except sqlite3.Error as error:
        raise PacosError(f"{path}: cannot be read ({error}); expected {_EXPECTED}.") from None


def read_entries(rows: FileRows) -> Iterator[Told]:
    """Reads exported prompt entries, each with its `scores` where the export has them, in any order."""
    with closing(sqlite3.connect("")) as memory:
        memory.execute(f"CREATE TABLE {_ENTRIES} ({', '.join(_OF_ENTRY)})")
        memory.execute(f"CREATE TABLE {_SCORES} (prompt_request_response_id, {', '.join(_OF_SCORE)})")
        for row in rows:
            if not row.text("conversation_id") or not row.values.get("id"):
                raise row.misfit("a prompt entry with id and conversation_id")
            memory.execute(f"INSERT INTO {_ENTRIES} VALUES ({_marks(_OF_ENTRY)})", _cells(row.values, _OF_ENTRY))
            for score in _scores(row):
                cells = (row.values["id"], *_cells(score, _OF_SCORE))
                memory.execute(f"INSERT INTO {_SCORES} VALUES (?, {_marks(_OF_SCORE)})", cells)
        yield from _read(memory)


def _read(memory: sqlite3.Connection) -> Iterator[Told]:
    memory.text_factory = lambda told: told.decode("utf-8", "replace")
    entry, score = _columns(memory, _ENTRIES, _OF_ENTRY, "e"), _columns(memory, _SCORES, _OF_SCORE, "s")
    rows = memory.execute(
        f"SELECT {', '.join(entry + score)}, s.rowid FROM {_ENTRIES} e LEFT JOIN {_SCORES} s "
        "ON s.prompt_request_response_id = e.id ORDER BY e.conversation_id, CAST(e.sequence AS INTEGER), e.rowid, "
        f"{score[-1]}, s.rowid"
    )
    for name, talk in groupby(rows, key=lambda row: row[0]):
        yield from _conversation(
            memory, str(name), [_turn(list(rows)) for _, rows in groupby(talk, lambda row: row[1])]
        )


def _conversation(memory: sqlite3.Connection, name: str, turns: Sequence[_Turn]) -> Iterator[Told]:
    attack = _one(memory, _ATTACKS, ("objective", "atomic_attack_identifier"), name)
    if attack is None and not any(turn.scores for turn in turns):
        yield LeftOut("conversations that no attack names and no scorer looked at, such as a scorer's own")
        return
    goal, technique = (_plain(attack[0]), _attack(attack[1])) if attack else ("", "")
    talk = _one(memory, _TALKS, ("target_identifier",), name)
    target = _identified(talk[0], "model_name") if talk else ""
    said: list[Message] = []
    for place, turn in enumerate(turns):
        is_last, is_answer = place == len(turns) - 1, turn.role == "assistant"
        if is_answer and not turn.is_copy and (turn.scores or turn.error or is_last):
            yield from _cases(turn, tuple(said), target, goal, technique)
        own = message(turn.role, turn.text)
        if turn.has_file or own is None:
            yield LeftOut("conversations with a picture, a file or a tool, from there on")
            return
        said.append(own)
        new = [each for each in turn.converters if each not in technique.split("+")]
        technique = "+".join((technique or "pyrit", *new)) if new else technique
        if is_last and not is_answer and turn.role == "user":
            source = CaseSource("pyrit", target, f"{name} unanswered")
            yield Foreign(bring(source, goal, technique, tuple(said), None, Word(_NO_SCORER, _NO_SCORER, "error")), "")


def _cases(turn: _Turn, said: tuple[Message, ...], target: str, goal: str, technique: str) -> Iterator[Told]:
    """The cases of one answer; what the target's own filter withheld is unscored, whatever a scorer said of it."""
    if not said or turn.has_file:
        yield LeftOut("answers to nothing, or with a picture or a file")
        return
    error = turn.error if turn.error not in ("blocked", "empty") else ""
    finish = "content_filter" if turn.error == "blocked" else "error" if error else ""
    answer = Answered("" if turn.error else turn.text, finish, error and f"pyrit: {error}")
    unscored = {"": _Score({}, Word(_NO_SCORER, _NO_SCORER, "unscored", None, "no scorer looked at it"))}
    for name, score in (turn.scores or unscored).items():
        source = CaseSource("pyrit", target, f"{turn.piece} {name}".strip())
        scorer = score.scorer
        judge = judge_of_scorer(_scorer(scorer), _plain(scorer.get("substring")), _plain(scorer.get("text_matcher")))
        yield Foreign(bring(source, goal, technique, said, answer, score.word), judge)


def _turn(rows: Sequence[tuple[Any, ...]]) -> _Turn:
    """The message of all rows of one sequence number: a row for each piece, or for each score of it."""
    first = dict(zip(_OF_ENTRY, rows[0], strict=False))
    error = _plain(first["response_error"])
    own = _plain(first["id"])
    turn = _Turn(
        _plain(first["role"]),
        own,
        _plain(first["original_prompt_id"]) not in ("", "None", own),
        "" if error in ("none", "None") else error,
        tuple(filter(None, (_identified(each) for each in _listed(first["converter_identifiers"])))),
    )
    seen = set()
    for row in rows:
        entry = dict(zip(_OF_ENTRY, row, strict=False))
        if entry["id"] not in seen:
            seen.add(entry["id"])
            kind = _plain(entry["converted_value_data_type"]) or "text"
            if kind in ("text", "error"):
                turn.texts.append(_plain(entry["converted_value"]))
            elif kind != "reasoning":
                turn.has_file = True
        if row[-1] is not None:
            score = _score(dict(zip(_OF_SCORE, row[len(_OF_ENTRY) :], strict=False)))
            # The last of a scorer's scores counts.
            turn.scores[score.word.judge] = score
    return turn


def _score(told: dict[str, Any]) -> _Score:
    scorer = _object(told["scorer_class_identifier"])
    categories = ", ".join(map(str, _listed(told["score_category"])))
    name = f"pyrit: {_scorer(scorer) or 'unknown scorer'}" + (f" ({categories})" if categories else "")
    value, rationale = _plain(told["score_value"]).lower(), _plain(told["score_rationale"])
    verdict: Verdict = "unscored"
    number = None
    if told["score_type"] == "true_false" and value in ("true", "false"):
        # What refuses is no failure of the model that is attacked.
        is_hit = (value == "true") != (_scorer(scorer) == REFUSAL_SCORER)
        verdict, number = ("hit", 1.0) if is_hit else ("safe", 0.0)
    elif told["score_type"] == "float_scale" and (number := _number(value)) is not None:
        verdict = "hit" if number >= _THRESHOLD else "safe"
    return _Score(scorer, Word(name, name, verdict, number, rationale or f"scored {value or 'nothing'}"))


def _number(value: str) -> float | None:
    try:
        number = float(value)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _scorer(identifier: dict[str, Any]) -> str:
    """A scorer's class with those that it is made of: "TrueFalseInverterScorer(SelfAskRefusalScorer)"."""
    own, children = _identified(identifier), identifier.get("children")
    made_of = []
    for child in children.values() if isinstance(children, dict) else ():
        made_of += [_scorer(each) for each in (child if isinstance(child, list) else [child]) if isinstance(each, dict)]
    scorers = [each for each in made_of if "Scorer" in each]
    return f"{own}({', '.join(scorers)})" if scorers else own


def _attack(identifier: object) -> str:
    """The class of the attack within its nested identifier."""
    inner = _object(identifier)
    for name in ("attack_technique", "attack"):
        children = inner.get("children")
        inner = children.get(name, inner) if isinstance(children, dict) else inner
    return _identified(inner)


def _identified(identifier: object, *more: str) -> str:
    """Class and further names of an identifier, in the spelling of any version."""
    values = _object(identifier)
    own = _plain(values.get("class_name") or values.get("__type__"))
    return " ".join(filter(None, (own, *(_plain(values.get(name)) for name in more))))


def _one(memory: sqlite3.Connection, table: str, names: Sequence[str], conversation: str) -> tuple[Any, ...] | None:
    """The newest row of a conversation in another table; None where either is not there."""
    if table not in _tables(memory):
        return None
    columns = ", ".join(_columns(memory, table, names, "t"))
    query = f"SELECT {columns} FROM {table} t WHERE t.conversation_id = ? ORDER BY t.rowid DESC LIMIT 1"
    row: tuple[Any, ...] | None = memory.execute(query, (conversation,)).fetchone()
    return row


def _tables(memory: sqlite3.Connection) -> set[str]:
    return {_plain(row[0]) for row in memory.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}


def _columns(memory: sqlite3.Connection, table: str, names: Sequence[str], alias: str) -> tuple[str, ...]:
    there = {_plain(row[1]) for row in memory.execute(f"PRAGMA table_info({table})")}
    return tuple(f"{alias}.{name}" if name in there else "NULL" for name in names)


def _marks(names: Iterable[str]) -> str:
    return ", ".join("?" for _ in names)


def _cells(values: dict[str, Any], names: Sequence[str]) -> list[Any]:
    cells = [values.get(name) for name in names]
    return [json.dumps(each) if isinstance(each, list | dict) else each for each in cells]


def _scores(row: FileRow) -> list[dict[str, Any]]:
    told = _listed(row.values.get("scores"))
    if not all(isinstance(each, dict) for each in told):
        raise row.misfit("a list of scores in 'scores'")
    return told


def _listed(told: object) -> list[Any]:
    value = _value(told)
    return value if isinstance(value, list) else []


def _object(told: object) -> dict[str, Any]:
    value = _value(told)
    return value if isinstance(value, dict) else {}


def _value(told: object) -> Any:
    """What a cell holds as JSON, or as Python writes it into a CSV file."""
    if not isinstance(told, str):
        return told
    for reading in (parse, ast.literal_eval):
        try:
            return reading(told)
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            continue
    return None


def _plain(told: object) -> str:
    return told if isinstance(told, str) else "" if told is None else str(told)
