"""Visitors' votes between two models of `pacos serve`, as its page for reviewers exports them: /review/votes.jsonl."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from pacos.core.typed import MisfitError
from pacos.evaluate.formats.records import name_of, rows_of, text_of
from pacos.evaluate.formats.votes import VISITOR, NamedVote, Reading
from pacos.evaluate.items import Item
from pacos.judging import Choice

CHOICES: Mapping[str, Choice] = {"a": "A", "b": "B", "tie": "tie", "bad": "tie"}
# In the words of a person's vote of MT-Bench.
BOTH_BAD = "tie (bothbad)"
HASH_DIGITS = 8


def read_served_votes(path: Path, reading: Reading) -> None:
    """Adds a file's votes. A question is known by its hash; who consents to none of the texts being kept leaves its
    words to another visitor's vote on it, and what nobody left is a number alone."""
    rows = list(rows_of(path, "votes of pacos serve", reading))
    names = _names(row for _, row in rows)
    asked: dict[str, str] = {}
    for _, row in rows:
        with suppress(MisfitError):
            if question := _question(row):
                asked.setdefault(text_of(row, "prompt_sha256"), question)
    records = len(reading.votes)
    for where, row in rows:
        records += 1
        try:
            reading.add(_vote(row, names, asked, records))
        except MisfitError as misfit:
            reading.unreadable.append(f"{where}: {misfit}")
    if bare := sum(row.get("answer_a") is None for _, row in rows):
        reading.notes.append(f"{path}: {bare:,} votes were cast without consent to keep the texts; they count alike")
    if withheld := sum(row.get("is_withheld") is True for _, row in rows):
        reading.notes.append(
            f"{path}: {withheld:,} votes are on an answer that the filter withheld, in whole or in part; they are kept "
            "as unparsable and are in no rate"
        )


def _names(rows: Iterable[Mapping[str, Any]]) -> dict[tuple[str, str], str]:
    """What each model is called, by name and weights: a name that stood for several has the weights' hash beside it."""
    weights: dict[str, set[str]] = defaultdict(set)
    for row in rows:
        for side in "ab":
            weights[str(row.get(f"model_{side}"))].add(str(row.get(f"model_sha256_{side}")))
    return {
        (name, sha256): name if len(several) == 1 else f"{name} ({sha256[:HASH_DIGITS]})"
        for name, several in weights.items()
        for sha256 in several
    }


def _vote(
    row: Mapping[str, Any], names: Mapping[tuple[str, str], str], asked: Mapping[str, str], record: int
) -> NamedVote:
    a, b = (names[name_of(row, f"model_{side}"), text_of(row, f"model_sha256_{side}")] for side in "ab")
    if a == b:
        raise MisfitError(f"compares {a[:40]} with itself")
    word, baseline = text_of(row, "choice"), text_of(row, "baseline")
    if word not in CHOICES:
        raise MisfitError(f"has the choice {word[:40]!r}; expected {', '.join(CHOICES)}")
    if baseline not in ("a", "b"):
        raise MisfitError(f"has the baseline {baseline[:40]!r}; expected a or b")
    is_blind, is_withheld = (_flag(row, key) for key in ("is_blind", "is_withheld"))
    question, own = text_of(row, "prompt_sha256"), _question(row)
    item = Item(question, "main", "", own or asked.get(question, f"question {question}"), "", "")
    # Votes from before sessions were kept are each a visitor's of its own.
    voter = name_of(row, "voter") if row.get("voter") is not None else f"of {name_of(row, 'id')}"
    said = BOTH_BAD if word == "bad" else ""
    return NamedVote(
        item, f"{VISITOR}{voter}", a, b, _answer(row, "answer_a"), _answer(row, "answer_b"),
        "unparsable" if is_withheld else CHOICES[word], said=f"{word}, withheld" if is_withheld else said,
        record=record, baseline=a if baseline == "a" else b, is_blind=is_blind,
    )  # fmt: skip


def _flag(row: Mapping[str, Any], key: str) -> bool:
    value = row.get(key)
    if not isinstance(value, bool):
        raise MisfitError(f"has no true or false for {key}")
    return value


def _answer(row: Mapping[str, Any], key: str) -> str:
    value = row.get(key)
    if value is not None and not isinstance(value, str):
        raise MisfitError(f"has no text for {key}")
    return value or ""


def _question(row: Mapping[str, Any]) -> str:
    """The conversation up to the answers, "" where it is not kept; a single question is its words alone."""
    messages = row.get("messages")
    if messages is None:
        return ""
    if not isinstance(messages, list) or not all(
        isinstance(turn, dict) and isinstance(turn.get("content"), str) for turn in messages
    ):
        raise MisfitError("has something other than turns, with role and content, in messages")
    if len(messages) == 1:
        return str(messages[0]["content"])
    return "\n\n".join(f"{turn.get('role')}:\n{turn['content']}" for turn in messages)
