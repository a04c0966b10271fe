"""Votes with names in a folder as evaluate/ has it: items, answers, and blind ballots under ids that tell nothing.

What votes of other sources have besides, such as a graded preference, stands in a table of its own beside them.
"""

from collections import Counter
from collections.abc import Mapping
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from sqlalchemy import Boolean, Column, Connection, Float, Integer, MetaData, String, Table, select, true

from pacos.core.errors import PacosError
from pacos.core.files import read_json, read_json_lines, write_json_lines
from pacos.core.recipe import load_run
from pacos.core.run_folder import RunFolder
from pacos.evaluate.annotation.study_plan import FOLDER as ANNOTATION
from pacos.evaluate.answer_files import Answer, read_answers
from pacos.evaluate.ballots import Ballot, BallotBox, Pair, Vote, answer_id, blind_id
from pacos.evaluate.formats.records import file_name
from pacos.evaluate.formats.votes import ANNOTATOR, NamedVote, Reading
from pacos.evaluate.items import read_or_make_items
from pacos.evaluate.report import read as read_report
from pacos.store.database import Database, Schema

BOX = "ballots.sqlite"
_METADATA = MetaData()
_IMPORTED = Table(
    "imported_votes",
    _METADATA,
    Column("ballot", String, primary_key=True),
    Column("voter", String, primary_key=True),
    Column("number", Integer, nullable=False),
    Column("record", Integer, nullable=False),
    Column("preference", Float),
    Column("said", String, nullable=False),
    Column("is_order_known", Boolean, nullable=False),
    Column("baseline", String, nullable=False),
    Column("is_blind", Boolean, nullable=False, server_default=true()),
)


def _add_blindness(connection: Connection) -> None:
    connection.exec_driver_sql("ALTER TABLE imported_votes ADD COLUMN is_blind BOOLEAN DEFAULT 1 NOT NULL")


SCHEMA = Schema("imported votes", _METADATA, (_add_blindness,))


def write_folder(reading: Reading, folder: Path) -> None:
    """Writes all of a reading; the database last and at once, so that a folder with one is whole."""
    write_json_lines(folder / "items.jsonl", map(asdict, reading.items.values()))
    answers = {
        (model, item, text): Answer(item, model, text, "", 0, 0.0)
        for model, given in reading.outputs.items()
        for item, text in given.items()
    }
    for vote in reading.votes:
        for model, text in ((vote.model_a, vote.answer_a), (vote.model_b, vote.answer_b)):
            answers.setdefault((model, vote.item.id, text), Answer(vote.item.id, model, text, "", 0, 0.0))
    for model in reading.outputs:
        own = [asdict(answer) for (name, _, _), answer in answers.items() if name == model]
        write_json_lines(folder / "answers" / f"{file_name(model)}.jsonl", own)
    ids = {key: answer_id(0, key[0], answer) for key, answer in answers.items()}
    models = {ids[key]: key[0] for key in ids}
    shown: Counter[tuple[str, str, str]] = Counter()
    ballots, pairs, votes, rows = [], [], [], []
    for number, vote in enumerate(reading.votes):
        a, b = (ids[m, vote.item.id, t] for m, t in ((vote.model_a, vote.answer_a), (vote.model_b, vote.answer_b)))
        # Who votes on the same two answers again has been handed another ballot.
        shown[vote.voter, a, b] += 1
        ballot = blind_id(vote.item.id, a, b, shown[vote.voter, a, b])
        ballots.append(Ballot(ballot, vote.item.id, a, b))
        pairs.append(Pair(vote.item, a, b))
        votes.append(Vote(ballot, vote.voter, vote.choice, preference=vote.value_for(vote.model_a)))
        rows.append(
            {
                "ballot": ballot, "voter": vote.voter, "number": number, "record": vote.record,
                "preference": vote.preference, "said": vote.said, "is_order_known": vote.is_order_known,
                "baseline": vote.baseline, "is_blind": vote.is_blind,
            }
        )  # fmt: skip
    # Not whole: an import that was stopped.
    for left in folder.glob(f"{BOX}*"):
        left.unlink()
    with closing(BallotBox(folder / BOX)) as box:
        box.add(ballots, pairs, models)
        box.vote(votes)
    with closing(Database(folder / BOX, SCHEMA)) as database, database.transaction() as connection:
        if rows:
            connection.execute(_IMPORTED.insert(), rows)


def read_folder(path: Path) -> Reading:
    """The answers and votes of a run, its people's once their study is closed, or of a folder of imported votes."""
    if (path / "imported.json").is_file():
        return _read_imported(path)
    recipe = load_run(path)
    evaluate = RunFolder(path, recipe).finished("evaluate")
    reading = _read(evaluate, recipe.evaluate.seed, read_report(evaluate).baseline, {})
    _add_people(evaluate, reading)
    return reading


def _read_imported(folder: Path) -> Reading:
    """PacosError where not every vote that was imported is there: items, answers and votes hang together."""
    again = "put the folder back as it was, or import the votes again."
    try:
        count = read_json(folder / "imported.json", "record of an import")["tally"]["votes"]
        if not (folder / BOX).is_file():
            raise PacosError(f"{folder / BOX}: no such file; expected the {count:,} votes that were imported; {again}")
        opened = Database(folder / BOX, SCHEMA, read_only=True)
        with closing(opened) as database, database.reading() as connection:
            imported = {(row.ballot, row.voter): row for row in connection.execute(select(_IMPORTED))}
        reading = _read(folder, 0, "", imported)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise PacosError(f"{folder}: not as `pacos ballots import` left it ({error!r}); {again}") from None
    if len(reading.votes) != count:
        raise PacosError(f"{folder}: holds {len(reading.votes):,} of the {count:,} votes that were imported; {again}")
    return reading


def _read(folder: Path, seed: int, baseline: str, imported: Mapping[tuple[str, str], Any]) -> Reading:
    reading = Reading(items={item.id: item for item in read_or_make_items(folder / "items.jsonl", ())})
    texts: dict[str, str] = {}
    for path in sorted((folder / "answers").glob("*.jsonl")):
        model = unquote(path.stem)
        for answer in read_answers(path):
            texts[answer_id(seed, model, answer)] = answer.text
            reading.outputs.setdefault(model, {}).setdefault(answer.item, answer.text)
    if not (folder / BOX).is_file():
        return reading
    with closing(BallotBox(folder / BOX, read_only=True)) as box:
        ballots, models, votes = {each.id: each for each in box.ballots()}, box.models(), box.votes()
    judged: dict[tuple[str, frozenset[str]], int] = {}
    found: list[tuple[int, NamedVote]] = []
    for vote in votes:
        ballot = ballots[vote.ballot]
        if not {ballot.answer_a, ballot.answer_b} <= texts.keys():
            # On what other weights answered, before the stage was stopped.
            continue
        more = imported.get((vote.ballot, vote.voter))
        pair = (vote.voter, frozenset((ballot.answer_a, ballot.answer_b)))
        named = NamedVote(
            reading.items[ballot.item],
            vote.voter,
            models[ballot.answer_a],
            models[ballot.answer_b],
            texts[ballot.answer_a],
            texts[ballot.answer_b],
            vote.choice,
            more.preference if more else _graded(vote),
            more.said if more else "",
            more.is_order_known if more else True,
            more.record if more else judged.setdefault(pair, len(judged) + 1),
            more.baseline if more else baseline,
            more.is_blind if more else True,
        )
        found.append((more.number if more else len(found), named))
    reading.votes = [vote for _, vote in sorted(found, key=lambda each: each[0])]
    return reading


def _graded(vote: Vote) -> float | None:
    """A judge's preference on AlpacaEval's scale, None where the choice says all of it."""
    return None if vote.preference in (None, 0.0, 0.5, 1.0) else 2 - (vote.preference or 0.0)


def _add_people(evaluate: Path, reading: Reading) -> None:
    """The votes that hold of a closed study; an open one's stay where nobody sees them."""
    path = evaluate / ANNOTATION / "votes.jsonl"
    if not path.is_file():
        return
    baseline = reading.votes[0].baseline if reading.votes else ""
    for record, (number, row) in enumerate(read_json_lines(path, "votes of a closed study"), start=len(reading.votes)):
        try:
            if row["undone"] or row["attention"] or row["choice"] == "skip":
                continue
            a, b, item = row["first_model"], row["second_model"], row["item"]
            choice = {a: "A", b: "B"}.get(row["preferred"], "tie")
            said = row["choice"] if choice == "tie" and row["choice"] != "tie" else ""
            answers = reading.outputs[a][item], reading.outputs[b][item]
            reading.votes.append(
                NamedVote(
                    reading.items[item], f"{ANNOTATOR}{row['annotator']}", a, b, *answers,
                    "A" if choice == "A" else "B" if choice == "B" else "tie",
                    said=said, record=record + 1, baseline=baseline,
                )
            )  # fmt: skip
        except (KeyError, TypeError) as error:
            raise PacosError(
                f"{path}:{number}: not a vote as pacos writes it ({error}); `pacos annotate RUN --close` writes the "
                "file again."
            ) from None
