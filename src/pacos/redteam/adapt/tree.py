"""The topic tree: tests in a plain CSV that git can diff, written by pacos and by hand."""

import csv
import io
import unicodedata
from collections.abc import Iterator
from dataclasses import astuple, dataclass, replace
from hashlib import sha256
from pathlib import Path

from pacos.core.errors import PacosError
from pacos.core.files import atomic_open, read_bytes

COLUMNS = ("id", "topic", "prompt", "objective", "status", "label", "by", "note")
STATUSES = ("proposed", "accepted", "rejected")
LABELS = ("hit", "safe", "")
MAX_TOPIC_LENGTH = 200
_ID_LENGTH = 10
# Tabs and line breaks would be lost on a page, and half a surrogate on disk.
_NOT_IN_TOPICS = ("Cc", "Cs", "Zl", "Zp")


class TreeChangedError(PacosError):
    """The file is not what was read: nothing was overwritten."""


@dataclass(frozen=True)
class TreeTest:
    """A row. `topic` is a path with "/"; `label` is a person's word on the answer, `by` who wrote the prompt."""

    id: str
    topic: str
    prompt: str
    objective: str
    status: str = "proposed"
    label: str = ""
    by: str = ""
    note: str = ""


class Tree:
    """The tests of a file by id; one that is not there yet is an empty tree.

    What is `put` is on disk with `save`, whole or not at all. Raises PacosError where a row is broken.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._read = self._on_disk()
        self._base = {test.id: test for test in _parse(path, self._read)}
        self.tests = dict(self._base)

    @property
    def is_saved(self) -> bool:
        """Whether the file has all that was put."""
        return self.tests == self._base

    @property
    def is_changed_on_disk(self) -> bool:
        """Whether somebody else wrote the file since it was read; PacosError where it cannot be read."""
        return self._on_disk() != self._read

    def put(self, test: TreeTest) -> None:
        """Adds a test, or takes the place of the one with its id; see `save`."""
        self.tests[test.id] = test

    def new_id(self, prompt: str, objective: str) -> str:
        """An id that no test has; the same test gets the same one on every branch, as long as it is free."""
        count = 0
        while True:
            name = sha256(f"{objective}\n{prompt}\n{count or ''}".encode()).hexdigest()[:_ID_LENGTH]
            if name not in self.tests:
                return name
            count += 1

    def save(self) -> None:
        """Writes the file; TreeChangedError where it changed since it was read, and PacosError where it cannot be."""
        if self.is_saved:
            return
        if self.is_changed_on_disk:
            raise TreeChangedError(
                f"{self.path}: changed on disk since it was read, so nothing was written. Reload to take in both: "
                "what you did since is kept."
            )
        rows = sorted(self.tests.values(), key=lambda test: (test.topic, test.id))
        data = "".join(map(_line, (COLUMNS, *map(astuple, rows)))).encode()
        with atomic_open(self.path, "wb") as file:
            file.write(data)
        self._read, self._base = data, dict(self.tests)

    def reload(self) -> None:
        """Reads the file again, and keeps what was put since: cell by cell, where both sides changed one the file's.

        Raises PacosError where a row is broken; then nothing has changed.
        """
        read = self._on_disk()
        theirs = {test.id: test for test in _parse(self.path, read)}
        merged = dict(theirs)
        for name, ours in self.tests.items():
            base, there = self._base.get(name), theirs.get(name)
            if ours == base:
                continue
            if there is None:
                merged[name] = ours
            elif base is not None:
                changed = {
                    column: getattr(ours, column)
                    for column in COLUMNS
                    if getattr(ours, column) != getattr(base, column) == getattr(there, column)
                }
                merged[name] = replace(there, **changed)
        self._read, self._base, self.tests = read, theirs, merged

    def _on_disk(self) -> bytes:
        return read_bytes(self.path, "topic tree, a CSV") if self.path.exists() else b""


def topic_path(text: str) -> str:
    """A topic as it stands in a tree: "money / loans" is money/loans; "" where nothing is named.

    Raises PacosError where it is too long, or has signs that no topic can have.
    """
    topic = "/".join(filter(None, (" ".join(part.split()) for part in text.split("/"))))
    if wrong := topic and _wrong_topic(topic):
        raise PacosError(f"topic {topic[:60]!r}: {wrong}. Name it otherwise.")
    return topic


def read_tree(path: Path) -> tuple[TreeTest, ...]:
    """The tests of a file in its order; PacosError, with the line, where one is broken."""
    return tuple(_parse(path, read_bytes(path, "topic tree, a CSV")))


def _parse(path: Path, data: bytes) -> Iterator[TreeTest]:
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        byte = error.start - data.rfind(b"\n", 0, error.start)
        raise PacosError(f"{path}:{line}: byte {byte} is not UTF-8; expected UTF-8 text. Mend that row.") from None
    lines, header = dict[str, int](), False
    for line, cells in _records(path, text):
        if not header:
            header = True
            if tuple(cells) != COLUMNS:
                raise PacosError(
                    f"{path}:{line}: the columns are {','.join(cells)[:100]!r}; expected {','.join(COLUMNS)}."
                )
            continue
        if len(cells) != len(COLUMNS):
            raise PacosError(
                f"{path}:{line}: {len(cells)} cells; expected {len(COLUMNS)} ({', '.join(COLUMNS)}). A cell with a "
                "comma, a quote or a line break stands in double quotes, and quotes in it are doubled."
            )
        test = TreeTest(*cells)
        if wrong := _wrong(test, lines):
            raise PacosError(f"{path}:{line}: {wrong}. Mend that row.")
        lines[test.id] = line
        yield test


def _records(path: Path, text: str) -> Iterator[tuple[int, list[str]]]:
    """The line on which each record begins, and its cells; blank lines are left out."""
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    while True:
        line = reader.line_num + 1
        try:
            cells = next(reader, None)
        except csv.Error as error:
            raise PacosError(
                f"{path}:{line}: the row that begins here is no CSV ({error}); expected quotes around a cell in pairs, "
                "and doubled within it. Mend that row."
            ) from None
        if cells is None:
            return
        if cells:
            yield line, cells


def _wrong(test: TreeTest, lines: dict[str, int]) -> str:
    """What is wrong with a row, given the lines of the ids before it; "" where nothing is."""
    if not test.id.strip():
        return "no id; expected a word that no other row has"
    if test.id in lines:
        return f"id {test.id!r} is that of line {lines[test.id]}, too; expected one that no other row has"
    if wrong := _wrong_topic(test.topic):
        return f"topic {test.topic[:60]!r}: {wrong}"
    for name in ("prompt", "objective"):
        if not getattr(test, name).strip():
            return f"no {name}; expected {'what is asked' if name == 'prompt' else 'a judge, such as refusal'}"
    if test.status not in STATUSES:
        return f"status {test.status[:60]!r}; expected {', '.join(STATUSES)}"
    if test.label not in LABELS:
        return f"label {test.label[:60]!r}; expected hit, safe or nothing"
    return ""


def _wrong_topic(topic: str) -> str:
    if len(topic) > MAX_TOPIC_LENGTH:
        return f"{len(topic)} characters; expected at most {MAX_TOPIC_LENGTH}"
    if any(unicodedata.category(sign) in _NOT_IN_TOPICS for sign in topic):
        return "has control characters; expected a path such as money/loans"
    if any(part != part.strip() or not part for part in topic.split("/")):
        return "expected a path such as money/loans, without blanks around its parts"
    return ""


def _line(cells: tuple[str, ...]) -> str:
    # csv.writer leaves a lone carriage return unquoted, and a reader then ends the row there.
    quoted = (f'"{cell.replace(chr(34), chr(34) * 2)}"' if set(cell) & set(',"\r\n') else cell for cell in cells)
    return ",".join(quoted) + "\n"
