"""Judged pairs as the evaluate stage leaves them: its own ballots, votes, ledger and counting, made-up answers."""

import json
import random
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import asdict
from pathlib import Path

from pacos.asking import Call, Ledger
from pacos.core.files import write_json_lines
from pacos.engines import Message, Reply, Request, Sampling, Usage
from pacos.engines.builtin.skills import SKILLS
from pacos.evaluate.answer_files import Answer
from pacos.evaluate.ballots import Ballot, BallotBox, Pair, Vote, answer_id, ballots_of
from pacos.evaluate.items import Item
from pacos.evaluate.report import Comparison
from pacos.evaluate.verdicts import judge_agreement, pairwise, slot_effect_of, verdicts_of
from pacos.evaluate.voting import write_verdicts

# How often each judge prefers the candidate, and what it writes.
JUDGES = {"builtin:judge": (0.7, "by the rules"), "stern": (0.4, "by its looks")}


def make_pairs(
    evaluate: Path,
    count: int = 48,
    candidates: Sequence[str] = ("student", "rival"),
    judges: Sequence[str] = tuple(JUDGES),
    hostile: str = "",
    replies: bool = True,
) -> None:
    """Adds pairs to a finished evaluate/ and puts what they come to into its report; a quarter are harder items."""
    rng = random.Random(3)
    # The stage writes UTF-8.
    hostile = hostile.encode(errors="replace").decode()
    items = [_item(number, count, rng, hostile) for number in range(count)]
    answers = {
        model: {item.id: Answer(item.id, model, _text(item, model, rng) + hostile, "stop", 9, 0.1) for item in items}
        for model in ("base", *candidates)
    }
    write_json_lines(evaluate / "items.jsonl", map(asdict, items))
    for model, given in answers.items():
        write_json_lines(evaluate / "answers" / f"{model}.jsonl", map(asdict, given.values()))
    ids = {
        (model, item): answer_id(1, model, answer) for model, given in answers.items() for item, answer in given.items()
    }
    pairs = {c: [Pair(item, ids[c, item.id], ids["base", item.id]) for item in items] for c in candidates}
    every = [pair for of_candidate in pairs.values() for pair in of_candidate]
    ballots = ballots_of(every, 1)
    models = {answer: model for (model, _), answer in ids.items()}
    votes = [_vote(ballot, judge, models, rng) for judge in judges for ballot in ballots]
    with closing(BallotBox(evaluate / "ballots.sqlite")) as box:
        box.add(ballots, every, models)
        box.vote(votes)
    if replies:
        _store_replies(evaluate, votes, hostile)
    verdicts = verdicts_of(ballots, votes)
    write_verdicts(evaluate / "verdicts.jsonl", verdicts)
    comparisons = {
        candidate: Comparison(
            *(pairwise([p for p in own if p.item.set == part], verdicts) for part in ("main", "harder"))
        )
        for candidate, own in pairs.items()
    }
    first = comparisons[candidates[0]].main
    _rewrite(evaluate, candidates, {
        "items": sum(item.set == "main" for item in items), "items_harder": sum(item.set == "harder" for item in items),
        "candidates": list(candidates), "judges": list(judges), "pairwise": asdict(first),
        "comparisons": {name: asdict(each) for name, each in comparisons.items()},
        "slot_effect": {j: asdict(slot_effect_of(ballots, [v for v in votes if v.voter == j])) for j in judges},
        "judge_agreement": judge_agreement(verdicts),
    })  # fmt: skip


def _item(number: int, count: int, rng: random.Random, hostile: str) -> Item:
    skill = list(SKILLS.values())[number % len(SKILLS)]
    task = skill.sample(rng)
    part = "harder" if number >= 0.75 * count else "main"
    return Item(f"{number:016x}", part, skill.name, f"{task.instruction} ({number})" + hostile, task.input, task.output)


def _text(item: Item, model: str, rng: random.Random) -> str:
    if model == "base":
        return " ".join([f"{item.instruction[:30]} the of a the"] * rng.randint(1, 4))
    return f"{item.reference} says {model}" * rng.randint(1, 3) if item.id != "0" * 16 else ""


def _vote(ballot: Ballot, judge: str, models: Mapping[str, str], rng: random.Random) -> Vote:
    share, _ = JUDGES[judge]
    side = "B" if models[ballot.answer_a] == "base" else "A"
    choice = side if rng.random() < share else rng.choice(["A", "B", "tie", "tie", "unparsable"])
    return Vote(ballot.id, judge, choice, f"{judge}/{ballot.id}")


def _store_replies(evaluate: Path, votes: Sequence[Vote], hostile: str) -> None:
    for judge in dict.fromkeys(vote.voter for vote in votes):
        with closing(Ledger(evaluate / "ledger.sqlite", f"judge {judge}")) as ledger:
            for number, vote in enumerate(vote for vote in votes if vote.voter == judge):
                request = Request(vote.ballot, (Message("user", "Which?"),), Sampling(9, temperature=0.0))
                said = f"I choose {JUDGES[judge][1]}.{hostile}\nVerdict: {vote.choice}"
                reply = Reply(vote.ballot, said, "stop", Usage(9, 9), 0.0, 0.1)
                ledger.store(Call(number, str(vote.ledger_key), request), reply)


def _rewrite(evaluate: Path, candidates: Sequence[str], values: Mapping[str, object]) -> None:
    """Puts values into report.json; candidates beyond the student have its exact match."""
    path = evaluate / "report.json"
    report = json.loads(path.read_text()) | dict(values)
    rates = [report[key] for key in report if key.startswith("exact_match") and isinstance(report[key], dict)]
    rates += [row[key] for row in report["per_skill"] for key in ("exact_match", "chance_corrected")]
    for each in rates:
        each |= {candidate: each["student"] for candidate in candidates}
    for example in report["examples"]:
        example |= {candidate: example["student"] for candidate in candidates}
    path.write_text(json.dumps(report))
