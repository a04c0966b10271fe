"""Judges at work: their votes on every pair in both orders, and the verdicts these come to."""

from collections.abc import Sequence
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
from pacos.evaluate.answers import Answers, opened_as
from pacos.evaluate.ballots import Ballot, BallotBox, Pair, Vote, answer_id, ballots_of
from pacos.evaluate.items import Item
from pacos.evaluate.verdicts import Verdict, verdicts_of
from pacos.judging import Judge, comparison_prompt, read_choice


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
        prompts = _prompts(ballots, items, texts)
        for judge in judges:
            votes, paid = _ask(judge, prompts, seed, folder)
            box.vote(votes)
            usd += paid
        # The box may hold votes on what other weights answered, from before this stage was stopped.
        cast = [vote for vote in box.votes() if vote.ballot in prompts]
    return Judgment(ballots, cast, verdicts_of(ballots, cast), pairs, usd)


def _prompts(ballots: Sequence[Ballot], items: Sequence[Item], texts: dict[str, str]) -> dict[str, str]:
    """What is shown of each ballot, by its id."""
    by_id = {item.id: item for item in items}
    shown = {}
    for ballot in ballots:
        item = by_id[ballot.item]
        answers = texts[ballot.answer_a], texts[ballot.answer_b]
        shown[ballot.id] = comparison_prompt(item.instruction, item.input, item.reference, *answers)
    return shown


def _ask(judge: Judge, prompts: dict[str, str], seed: int, folder: Path) -> tuple[list[Vote], float]:
    """The judge's vote on every ballot, and what all its replies cost; a refused ballot is an unparsable one."""
    as_chat = _takes_chat(judge.table)
    requests = [
        Request(ballot, (Message("user", prompt),) if as_chat else prompt, judge.sampling)
        for ballot, prompt in prompts.items()
    ]
    # Two ballots may show the same, and each has a reply of its own.
    calls = [Call(number, call_key(judge.table, each, each.id), each) for number, each in enumerate(requests)]
    engine = open_engine(opened_as(judge.table), role="judge", seed=seed, folder=folder)
    with closing(Ledger(folder / "ledger.sqlite", f"judge {judge.name}", engine.name)) as ledger:
        replies = ask_all(judge.table_name, f"votes of {judge.name}", engine, judge.table, calls, ledger)
        usd = ledger.totals().usd
    choices = [read_choice(replies[call.key]) for call in calls]
    votes = [Vote(c.request.id, judge.name, choice, c.key) for c, choice in zip(calls, choices, strict=True)]
    return votes, usd


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
