"""Every judged pair of a finished evaluate/, unblinded, for whoever shows it: texts, verdicts, votes, judges' words."""

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pacos.core.errors import PacosError
from pacos.core.files import read_json_lines
from pacos.evaluate.answer_files import read_answers
from pacos.evaluate.items import Item, read_or_make_items
from pacos.evaluate.outcomes import PairOutcome, majority
from pacos.store.read_only import open_to_read


@dataclass(frozen=True)
class ShownVote:
    """One judge's vote in one order: the label of the model shown first, and of the one preferred, "tie" or
    "unparsable". `reply` is what the judge wrote, "" where the ledger has nothing."""

    first: str
    preferred: str
    reply: str


@dataclass(frozen=True)
class ShownVerdict:
    """What one judge's two votes come to for the candidate; `is_conflict` where the two orders disagree, a tie.

    `preference` is how far the candidate is preferred, 0 to 1, where the judge was read by log-probability.
    """

    judge: str
    outcome: PairOutcome
    is_conflict: bool
    preference: float | None
    votes: tuple[ShownVote, ...]


@dataclass(frozen=True)
class JudgedPair:
    """A candidate's answer against the baseline's; the outcome is the majority of the readable verdicts.

    `sorts_first` says whether the candidate's blind answer id comes before the baseline's, which is random.
    """

    item: Item
    candidate: str
    sorts_first: bool
    outcome: PairOutcome
    verdicts: tuple[ShownVerdict, ...]


@dataclass(frozen=True)
class JudgedPairs:
    """All pairs, by candidate and then in the order of the items; `answers` has texts by model label and item id."""

    pairs: list[JudgedPair]
    answers: dict[tuple[str, str], str]


def read_pairs(folder: Path, baseline: str, candidates: Sequence[str]) -> JudgedPairs | None:
    """Reads a finished evaluate/ and writes nothing there; None where its verdicts or ballots were taken away.

    Raises PacosError where a file is damaged, or is of another evaluation than the rest.
    """
    needed = [folder / name for name in ("items.jsonl", "verdicts.jsonl", "ballots.sqlite")]
    needed += [folder / "answers" / f"{label}.jsonl" for label in (baseline, *candidates)]
    if not all(path.exists() for path in needed):
        return None
    items = {item.id: item for item in read_or_make_items(folder / "items.jsonl", ())}
    try:
        answers = {
            (label, answer.item): answer.text
            for label in (baseline, *candidates)
            for answer in read_answers(folder / "answers" / f"{label}.jsonl")
        }
        pairs = [
            JudgedPair(
                items[name], candidate, sorts_first, majority([each.outcome for each in verdicts]), tuple(verdicts)
            )
            for (candidate, name), (sorts_first, verdicts) in _verdicts(folder, baseline).items()
        ]
        places = {name: place for place, name in enumerate(items)}
        pairs.sort(key=lambda pair: (candidates.index(pair.candidate), places[pair.item.id]))
        return JudgedPairs(pairs, answers)
    except (KeyError, TypeError, ValueError) as error:
        raise PacosError(
            f"{folder}: its items, answers, ballots and verdicts are not of one evaluation ({error!r} is missing); "
            "put the files back as they were, or evaluate the run again in another folder."
        ) from None


def _verdicts(folder: Path, baseline: str) -> dict[tuple[str, str], tuple[bool, list[ShownVerdict]]]:
    """Each judge's verdict by candidate and item, and whether the candidate's answer id comes first."""
    ballots = folder / "ballots.sqlite"
    models = dict(_rows(ballots, "SELECT answer, model FROM blind_labels"))
    orders = {name: both for name, *both in _rows(ballots, "SELECT id, answer_a, answer_b FROM ballots")}
    votes = {
        (ballot, voter): (choice, key)
        for ballot, voter, choice, key in _rows(ballots, "SELECT ballot, voter, choice, ledger_key FROM votes")
    }
    replies = _replies(folder / "ledger.sqlite")
    found: dict[tuple[str, str], tuple[bool, list[ShownVerdict]]] = {}
    for _, verdict in read_json_lines(folder / "verdicts.jsonl", "verdicts"):
        shown = []
        for ballot in verdict["ballots"]:
            choice, key = votes[ballot, verdict["judge"]]
            first, second = (models[answer] for answer in orders[ballot])
            shown.append(ShownVote(first, {"A": first, "B": second}.get(choice, choice), replies.get(key, "")))
        shown_models = [models[answer] for answer in verdict["answers"]]
        (candidate,) = set(shown_models) - {baseline}
        outcome: PairOutcome = "unparsable" if verdict["outcome"] == "unparsable" else "tie"
        if verdict["preferred"] is not None:
            outcome = "win" if models[verdict["preferred"]] == candidate else "loss"
        is_first, graded = shown_models[0] == candidate, verdict.get("preference")
        preference = graded if is_first or graded is None else 1 - graded
        is_conflict = verdict["outcome"] == "conflict"
        _, of_pair = found.setdefault((candidate, verdict["item"]), (is_first, []))
        of_pair.append(ShownVerdict(verdict["judge"], outcome, is_conflict, preference, tuple(shown)))
    return found


def _replies(ledger: Path) -> dict[str | None, str]:
    """What was answered to each request that a vote may name, or why it was not."""
    if not ledger.exists():
        return {}
    failed = _rows(ledger, "SELECT key, message FROM failures WHERE given_up")
    said = _rows(ledger, "SELECT key, text FROM replies WHERE role LIKE 'judge %'")
    return {key: f"(no reply: {message})" for key, message in failed} | dict(said)


def _rows(path: Path, query: str) -> list[tuple[Any, ...]]:
    with closing(open_to_read(path)) as connection:
        return connection.execute(query).fetchall()
