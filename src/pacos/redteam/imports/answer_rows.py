"""JSON Lines with prompt, answer and verdict, such as an attack's cases.jsonl; and the review page's export."""

from collections.abc import Iterable, Iterator
from typing import Literal, get_args

from pacos.core.files import sha256_text
from pacos.engines import Message
from pacos.redteam.cases import Answered, Verdict
from pacos.redteam.imports.foreign import CaseSource, Foreign, LeftOut, Told, Word, bring, message
from pacos.redteam.imports.rows import FileRow

_VERDICTS: tuple[Verdict, ...] = get_args(Verdict)
# A report that was confirmed says of its answer that it failed.
_OF_STATUS: dict[str, Literal["hit", "safe", "unscored"]] = {"confirmed": "hit", "dismissed": "safe"}


def read_answers(rows: Iterable[FileRow], file: str) -> Iterator[Told]:
    """Reads rows with `prompt` or `turns`, `answer` and `verdict`; `file` is its SHA-256, by which its cases go."""
    for row in rows:
        verdict = row.text("verdict") or "unscored"
        if verdict not in _VERDICTS or not {"prompt", "turns"} & row.values.keys() or "answer" not in row.values:
            raise row.misfit(f"prompt (or turns), answer and a verdict of {', '.join(_VERDICTS)}")
        turns = _turns(row, "turns") if "turns" in row.values else (Message("user", row.text("prompt")),)
        if not any(turn.content.strip() for turn in turns):
            yield LeftOut("rows with an empty prompt")
            continue
        rationale, objective, score = row.text("rationale"), row.text("objective"), row.values.get("score")
        answer: str | Answered | None = row.text("answer") if row.values["answer"] is not None else None
        if verdict == "error":
            answer = Answered("", "error", rationale or "no answer came")
        judge = row.text("judge") or objective or "its file"
        number = float(score) if isinstance(score, float) or score in (0, 1) else None
        word = Word(objective, judge, verdict, number, rationale)
        source = CaseSource(f"file {file}", row.text("target"), str(row.number))
        yield Foreign(bring(source, row.text("topic"), row.text("technique"), turns, answer, word), objective)


def read_reports(rows: Iterable[FileRow], has_objective: bool) -> Iterator[Told]:
    """Reads the review page's export: what is confirmed is a hit, dismissed safe, open unscored.

    Those that nobody made a test case are cases where an objective was given for them.
    """
    for row in rows:
        objective, status, reason = row.text("objective"), row.text("status"), row.text("reason")
        if "messages" not in row.values or "answer" not in row.values or not reason:
            raise row.misfit("a report with messages, answer and reason")
        if not objective and not has_objective:
            yield LeftOut("reports that nobody made a test case; --objective makes them cases, too")
            continue
        turns = _turns(row, "messages")
        if not any(turn.content.strip() for turn in turns):
            yield LeftOut("reports without a conversation")
            continue
        answer, topic = row.text("answer"), row.text("label") or reason
        name = f"{row.values.get('id')} {row.text('reported_at')} {sha256_text(answer)[:16]}"
        word = Word(f"reported as {reason}", "a reviewer", _OF_STATUS.get(status, "unscored"), None, row.text("note"))
        source = CaseSource("reports", row.text("model_sha256") or row.text("model"), name)
        yield Foreign(bring(source, topic, "report", turns, answer, word), objective)


def _turns(row: FileRow, key: str) -> tuple[Message, ...]:
    told = row.values[key]
    turns = [
        message(turn.get("role"), turn["content"])
        if isinstance(turn, dict) and isinstance(turn.get("content"), str)
        else None
        for turn in (told if isinstance(told, list) else [None])
    ]
    known = [turn for turn in turns if turn]
    if len(known) < len(turns):
        raise row.misfit(f"a list of turns, each with role and content, in {key!r}")
    return tuple(known)
