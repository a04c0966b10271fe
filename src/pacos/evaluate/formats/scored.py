"""Every model's answers with what was said of them: what harness logs have, one log a model and one sample an item."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pacos.evaluate.formats.votes import ANNOTATOR, NamedVote, Reading, verdicts
from pacos.evaluate.items import Item
from pacos.statistics import clustered_mean
from pacos.text.exact import is_exact

WIN_RATE, PEOPLE, EXACT = "win_rate", "win_rate_people", "exact_match"


@dataclass(frozen=True)
class ScoredAnswer:
    """A model's answer to an item; `scores` has the mean of the verdicts for it, ties half, people's of a run's study
    apart, and exact match, each where there is one to have. `votes` are all votes that it was part of, with the
    models' names."""

    item: Item
    text: str
    scores: Mapping[str, float]
    votes: Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class Mean:
    """A score's mean over the answers that have it, and its standard error, None for under two."""

    value: float
    standard_error: float | None
    count: int


def scored_answers(reading: Reading) -> dict[str, list[ScoredAnswer]]:
    """Each model's answers in the order of the items."""
    values: dict[tuple[str, str], dict[str, list[float]]] = {}
    for verdict in verdicts(reading.votes):
        if verdict.value is not None:
            # As in the report, where people and judges are told apart.
            name = PEOPLE if verdict.voter.startswith(ANNOTATOR) else WIN_RATE
            for model, value in ((verdict.candidate, verdict.value), (verdict.baseline, 1 - verdict.value)):
                values.setdefault((model, verdict.item), {}).setdefault(name, []).append(value)
    votes: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for vote in reading.votes:
        for model in vote.models:
            votes.setdefault((model, vote.item.id), []).append(vote_row(vote))
    answers = {}
    for model, given in reading.outputs.items():
        answers[model] = [
            ScoredAnswer(item, given[name], _scores(item, given[name], values.get((model, name), {})), own)
            for name, item in reading.items.items()
            if name in given
            for own in [votes.get((model, name), [])]
        ]
    return answers


def vote_row(vote: NamedVote) -> dict[str, Any]:
    """A vote as logs keep it: whose answers, in the order shown, and what was said."""
    return {
        "voter": vote.voter, "model_a": vote.model_a, "model_b": vote.model_b, "choice": vote.choice,
        "preference": vote.preference, "said": vote.said, "is_order_known": vote.is_order_known,
        "record": vote.record,
    }  # fmt: skip


def means_of(answers: Sequence[ScoredAnswer]) -> dict[str, Mean]:
    """The mean of each score."""
    means = {}
    for name in dict.fromkeys(name for answer in answers for name in answer.scores):
        values = [answer.scores[name] for answer in answers if name in answer.scores]
        error = clustered_mean(values, range(len(values))).standard_error if len(values) > 1 else None
        means[name] = Mean(sum(values) / len(values), error, len(values))
    return means


def _scores(item: Item, text: str, values: Mapping[str, Sequence[float]]) -> dict[str, float]:
    scores = {name: sum(values[name]) / len(values[name]) for name in (WIN_RATE, PEOPLE) if name in values}
    return scores | ({EXACT: float(is_exact(item.reference, text))} if item.reference else {})
