"""Judges at work: who they are, what they are asked, and their votes on every pair in both orders."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from pacos.core.files import atomic_open
from pacos.core.recipe import EngineTable, Recipe
from pacos.engines import Message, Request, Sampling, open_engine
from pacos.engines.budget import Budget
from pacos.evaluate.asking import ask_all
from pacos.evaluate.ballots import Ballot, BallotBox, Pair, Vote, answer_id
from pacos.evaluate.exact_match import Answers
from pacos.evaluate.items import Item
from pacos.evaluate.verdicts import Verdict, verdicts_of

# A reason of one sentence and a verdict; thinking judges are asked for by a [judge] table with its own max_tokens.
MAX_TOKENS = 512


@dataclass(frozen=True)
class Judge:
    """An engine that votes, under the name that its ballots carry."""

    name: str
    engine: EngineTable | str
    sampling: Sampling

    @property
    def table(self) -> EngineTable:
        """The engine's table; a judge named in `evaluate.judges` has none, and so neither prices nor a limit."""
        return self.engine if isinstance(self.engine, EngineTable) else EngineTable()


def judges_of(recipe: Recipe) -> list[Judge]:
    """The engines of `evaluate.judges`, asked greedily; where it is empty, the [judge] table as it is written."""
    if recipe.evaluate.judges:
        greedy = Sampling(MAX_TOKENS, temperature=0.0, seed=recipe.evaluate.seed)
        return [Judge(name, name, greedy) for name in dict.fromkeys(recipe.evaluate.judges)]
    table = recipe.judge
    name = f"{table.engine}:{table.model or table.path or 'judge'}"
    sampling = Sampling(table.max_tokens, table.temperature, table.top_p, seed=recipe.evaluate.seed)
    return [Judge(name, table, sampling)]


@dataclass(frozen=True)
class Judgment:
    """All ballots with their votes and verdicts, and each candidate's pairs with the baseline by its label."""

    ballots: list[Ballot]
    votes: dict[str, Vote]
    verdicts: list[Verdict]
    pairs: dict[str, list[Pair]]


def judge_answers(
    path: Path, judges: Sequence[Judge], items: Sequence[Item], answers: Answers, baseline: str, seed: int
) -> Judgment:
    """Every candidate's answers against the baseline's, every item in both orders, by every judge.

    Asks only for the votes that `path`, the ballot database, does not hold yet.
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
    models = {answer: label for (label, _), answer in ids.items()}
    with BallotBox(path) as box:
        every_pair = [pair for of_candidate in pairs.values() for pair in of_candidate]
        ballots = box.add_pairs(every_pair, [judge.name for judge in judges], texts, models, seed)
        for judge in judges:
            _vote(box, judge, ballots, seed, path.parent)
        votes = box.votes()
    return Judgment(ballots, votes, verdicts_of(ballots, votes), pairs)


def _vote(box: BallotBox, judge: Judge, ballots: Sequence[Ballot], seed: int, folder: Path) -> None:
    voted = box.votes()
    missing = [ballot for ballot in ballots if ballot.judge == judge.name and ballot.id not in voted]
    if missing:
        requests = [Request(ballot.id, (Message("user", ballot.prompt),), judge.sampling) for ballot in missing]
        spent = sum(voted[ballot.id].usd for ballot in ballots if ballot.judge == judge.name and ballot.id in voted)
        budget = Budget("judge", judge.table, spent)
        engine = open_engine(judge.engine, role="judge", seed=seed, folder=folder)
        ask_all(engine, requests, box.record, f"votes of {judge.name}", budget)


def write_verdicts(path: Path, verdicts: Sequence[Verdict]) -> None:
    """One verdict a line, as blind as the ballots."""
    with atomic_open(path) as file:
        file.writelines(json.dumps(asdict(verdict)) + "\n" for verdict in verdicts)
