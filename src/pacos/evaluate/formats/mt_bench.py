"""MT-Bench as FastChat writes it: a judge's pairwise verdicts, people's votes, questions and answers.

The layout of FastChat's data/mt_bench: question.jsonl, model_answer/MODEL.jsonl, model_judgment/JUDGE_pair.jsonl.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pacos.core.data_files import read_data_file
from pacos.core.typed import MisfitError
from pacos.evaluate.formats.records import name_of, number_of, rows_of, text_of
from pacos.evaluate.formats.votes import NamedVote, Reading
from pacos.evaluate.items import Item
from pacos.judging import Choice

QUESTIONS, ANSWERS = "question.jsonl", "model_answer"
TIES = ("tie", "tie (bothbad)")
TURNS = ("First turn", "Second turn")


@dataclass
class _BenchTexts:
    """What is asked, by question, and answered, by model and question: each a text a turn."""

    questions: dict[str, list[str]] = field(default_factory=dict)
    categories: dict[str, str] = field(default_factory=dict)
    answers: dict[tuple[str, str], list[str]] = field(default_factory=dict)


def read_mt_bench(path: Path, reading: Reading) -> None:
    """Adds a file's votes. Texts are taken from the votes' conversations or from question.jsonl and model_answer/,
    which are looked for beside the file and in the folder above; without them items have numbers alone."""
    texts = _texts(path)
    records = len(reading.votes)
    for where, row in rows_of(path, "MT-Bench judgments", reading):
        records += 1
        try:
            for vote in _votes(row, texts, records):
                reading.add(vote)
        except MisfitError as misfit:
            reading.unreadable.append(f"{where}: {misfit}")
    if not texts.questions and any(not vote.answer_a for vote in reading.votes):
        reading.notes.append(
            f"{path}: no {QUESTIONS} beside it or in the folder above, so that items without a conversation have "
            f"numbers and no texts; put {QUESTIONS} and {ANSWERS}/ there as FastChat has them."
        )


def _texts(path: Path) -> _BenchTexts:
    texts = _BenchTexts()
    for folder in (path.parent, path.parent.parent):
        if (folder / QUESTIONS).is_file() and not texts.questions:
            for _, row in read_data_file(folder / QUESTIONS, "MT-Bench questions").values:
                if isinstance(row, dict) and isinstance(row.get("turns"), list):
                    question = str(row.get("question_id"))
                    texts.questions[question] = [str(turn) for turn in row["turns"]]
                    texts.categories[question] = str(row.get("category") or "")
        for answers in sorted((folder / ANSWERS).glob("*.jsonl")):
            for _, row in read_data_file(answers, "MT-Bench answers").values:
                turns = _turns_of(row)
                if turns is not None:
                    key = (str(row.get("model_id") or answers.stem), str(row.get("question_id")))
                    texts.answers.setdefault(key, turns)
    return texts


def _turns_of(row: Any) -> list[str] | None:
    try:
        return [str(turn) for turn in row["choices"][0]["turns"]]
    except (KeyError, IndexError, TypeError):
        return None


def _votes(row: Mapping[str, Any], texts: _BenchTexts, record: int) -> Iterator[NamedVote]:
    if "g1_winner" in row:
        yield from _judged(row, texts, record)
    elif "winner" in row:
        yield _voted(row, texts, record)
    elif "score" in row:
        raise MisfitError("is a score of one answer and no comparison; expected FastChat's pairwise judgments")
    else:
        raise MisfitError("has neither g1_winner, as a judge's, nor winner, as a person's")


def _judged(row: Mapping[str, Any], texts: _BenchTexts, record: int) -> Iterator[NamedVote]:
    """Two games: in the first model_1 is shown first, in the second model_2; winners are named by slot."""
    first, second = name_of(row, "model_1"), name_of(row, "model_2")
    item, one, two = _item(row, texts, first, second)
    voter = _judge(row)
    # Read before either is given out: a record counts whole or not at all.
    words = [_word(row, game) for game in ("g1_winner", "g2_winner")]
    winners = {"model_1": first, "model_2": second}
    for a, b, answer_a, answer_b, word in zip(
        (first, second), (second, first), (one, two), (two, one), words, strict=True
    ):
        choice: Choice = "unparsable" if word == "error" else "tie" if word in TIES else "A"
        if word in winners:
            choice = "A" if winners[word] == a else "B"
        yield NamedVote(item, voter, a, b, answer_a, answer_b, choice, record=record, baseline=second)


def _word(row: Mapping[str, Any], key: str) -> str:
    word = text_of(row, key)
    if word not in ("model_1", "model_2", "error", *TIES):
        raise MisfitError(f"has {word[:40]!r} for {key}; expected model_1, model_2, tie or error")
    return word


def _voted(row: Mapping[str, Any], texts: _BenchTexts, record: int) -> NamedVote:
    a, b, word = name_of(row, "model_a"), name_of(row, "model_b"), text_of(row, "winner").strip()
    known: dict[str, Choice] = {"model_a": "A", "model_b": "B", "tie": "tie", "tie (bothbad)": "tie"}
    if word not in known:
        raise MisfitError(f"has the winner {word[:40]!r}; expected model_a, model_b, tie or tie (bothbad)")
    item, answer_a, answer_b = _item(row, texts, a, b)
    said = word if word == "tie (bothbad)" else ""
    return NamedVote(item, _judge(row), a, b, answer_a, answer_b, known[word], said=said, record=record)


def _judge(row: Mapping[str, Any]) -> str:
    judge = row.get("judge")
    # FastChat's judges are a model and a prompt; its people are names.
    return "/".join(map(str, judge)) if isinstance(judge, list) else name_of(row, "judge")


def _item(row: Mapping[str, Any], texts: _BenchTexts, one: str, two: str) -> tuple[Item, str, str]:
    """The question up to the judged turn, and both models' answers up to it."""
    question, turn = number_of(row, "question_id"), number_of(row, "turn", "1")
    if turn not in ("1", "2"):
        raise MisfitError(f"is of turn {turn[:20]}; expected 1 or 2")
    if one == two:
        raise MisfitError(f"compares {one[:40]} with itself")
    turns, answers = texts.questions.get(question), [texts.answers.get((model, question)) for model in (one, two)]
    for place, key in enumerate(("conversation_a", "conversation_b")):
        said = row.get(key)
        if isinstance(said, list):
            if not all(isinstance(each, dict) for each in said):
                raise MisfitError(f"has something other than turns, with role and content, in {key}")
            asked = [str(each.get("content")) for each in said if each.get("role") == "user"]
            answers[place] = [str(each.get("content")) for each in said if each.get("role") == "assistant"]
            turns = turns or asked
    upto = int(turn)
    text = _joined(turns, upto) or f"MT-Bench question {question}, turn {turn}"
    item = Item(f"{question}-{turn}", "main", texts.categories.get(question, ""), text, "", "")
    return item, _joined(answers[0], upto), _joined(answers[1], upto)


def _joined(turns: list[str] | None, upto: int) -> str:
    shown = (turns or [])[:upto]
    if len(shown) < 2:
        return "".join(shown)
    return "\n\n".join(f"{name}:\n{text}" for name, text in zip(TURNS, shown, strict=True))
