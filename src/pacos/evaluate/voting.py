"""Judges at work: their votes on every pair in both orders, and the verdicts these come to."""

import sys
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path

from pacos.asking import Call, Ledger, ask_all, call_key
from pacos.core.errors import PacosError
from pacos.core.files import write_json_lines
from pacos.core.models import resolve_model
from pacos.core.recipe import EngineTable
from pacos.engines import Message, Request, open_engine
from pacos.engines.local.tokenizer import load_tokenizer
from pacos.evaluate.answer_files import Answers
from pacos.evaluate.answers import opened_as
from pacos.evaluate.ballots import Ballot, BallotBox, Pair, Vote, answer_id, ballots_of
from pacos.evaluate.items import Item
from pacos.evaluate.verdicts import Verdict, verdicts_of
from pacos.judging import Judge, ReadVote, read_vote

# As many of the likeliest tokens as every server tells; the letters are among them, or are no verdict.
LIKELIEST = 5


@dataclass(frozen=True)
class Judgment:
    """All ballots with their votes and verdicts, and each candidate's pairs with the baseline by its label.

    `usd` is what the judges' replies cost.
    """

    ballots: list[Ballot]
    votes: list[Vote]
    verdicts: list[Verdict]
    pairs: dict[str, list[Pair]]
    usd: float


def judge_answers(
    folder: Path, judges: Sequence[Judge], items: Sequence[Item], answers: Answers, baseline: str, seed: int
) -> Judgment:
    """Every candidate's answers against the baseline's, every item in both orders, by every judge.

    Asks only for the replies that the ledger in `folder` does not hold yet; ballots.sqlite there has the votes.
    """
    ids = {
        (label, item.id): answer_id(seed, label, given[item.id]) for label, given in answers.items() for item in items
    }
    texts = {ids[label, item.id]: given[item.id].text for label, given in answers.items() for item in items}
    pairs = {
        label: [Pair(item, ids[label, item.id], ids[baseline, item.id]) for item in items]
        for label in answers
        if label != baseline
    }
    every_pair = [pair for of_candidate in pairs.values() for pair in of_candidate]
    ballots = ballots_of(every_pair, seed)
    usd = 0.0
    with closing(BallotBox(folder / "ballots.sqlite")) as box:
        box.add(ballots, every_pair, {answer: label for (label, _), answer in ids.items()})
        for judge in judges:
            votes, paid = cast_votes(judge, ballots, items, texts, seed, folder)
            box.vote(votes)
            usd += paid
        # The box may hold votes on what other weights answered, from before this stage was stopped.
        asked = {ballot.id for ballot in ballots}
        cast = [vote for vote in box.votes() if vote.ballot in asked]
    return Judgment(ballots, cast, verdicts_of(ballots, cast), pairs, usd)


def cast_votes(
    judge: Judge, ballots: Sequence[Ballot], items: Sequence[Item], texts: Mapping[str, str], seed: int, folder: Path
) -> tuple[list[Vote], float]:
    """The judge's vote on every ballot, and what all its replies cost; a refused ballot is an unparsable one.

    `texts` are the answers by blind id. Asks only for the replies that the ledger in `folder` does not hold yet.
    """
    by_id, as_chat = {item.id: item for item in items}, _takes_chat(judge.table)
    logprobs = LIKELIEST if judge.prompt.keys.read == "letter" and judge.table.engine != "builtin" else None
    requests = []
    for ballot in ballots:
        item = by_id[ballot.item]
        answers = texts[ballot.answer_a], texts[ballot.answer_b]
        shown = judge.prompt.shown(item.instruction, item.input, item.reference, *answers)
        prompt = (Message("user", shown),) if as_chat else shown
        requests.append(Request(ballot.id, prompt, judge.sampling, logprobs=logprobs))
    # Two ballots may show the same, and each has a reply of its own.
    calls = [Call(number, call_key(judge.table, each, each.id), each) for number, each in enumerate(requests)]
    engine = open_engine(opened_as(judge.table), role="judge", seed=seed, folder=folder)
    with closing(Ledger(folder / "ledger.sqlite", f"judge {judge.name}", engine.name)) as ledger:
        replies = ask_all(judge.table_name, f"votes of {judge.name}", engine, judge.table, calls, ledger)
        usd = ledger.totals().usd
    read = [read_vote(replies[call.key], judge.prompt.keys) for call in calls]
    _tell_of_plain_letters(judge, read)
    votes = [
        Vote(call.request.id, judge.name, vote.choice, call.key, vote.preference)
        for call, vote in zip(calls, read, strict=True)
    ]
    return votes, usd


def _tell_of_plain_letters(judge: Judge, read: Sequence[ReadVote]) -> None:
    plain = sum(not vote.is_weighted and vote.choice != "unparsable" for vote in read)
    if plain and judge.prompt.keys.read == "letter":
        print(
            f"{judge.name}: {plain:,} of {len(read):,} replies came without log-probabilities; "
            "their letters count whole, as plain verdicts",
            file=sys.stderr,
        )


def _takes_chat(table: EngineTable) -> bool:
    """A checkpoint without a chat template is shown the same as raw text."""
    if table.engine != "local":
        return True
    try:
        return bool(load_tokenizer(resolve_model(table.path)).chat_template)
    except (PacosError, OSError, ValueError):
        # What is wrong with it is said when it is opened or loaded.
        return True


def write_verdicts(path: Path, verdicts: Sequence[Verdict]) -> None:
    """One verdict a line, as blind as the ballots."""
    write_json_lines(path, map(asdict, verdicts))
