"""A vote with names: what every format is read into, and written from."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from pacos.core.typed import check_whole
from pacos.evaluate.items import Item, ItemSet
from pacos.evaluate.outcomes import Outcome, PairOutcome, joint_outcome, outcome_by
from pacos.judging import Choice

ANNOTATOR = "annotator "
"""What a voter's name begins with who is a person of a run's own study."""
VISITOR = "visitor "
"""What a voter's name begins with who is a visitor of `pacos serve`."""
Cell = tuple[str, tuple[str, str], str, bool]
"""An item's id, two models by name, a voter, and whether it was blind: what it says afterwards is another verdict."""


@dataclass(frozen=True)
class NamedVote:
    """What one voter said of two models' answers to one item, A being the answer shown first.

    Without `is_order_known` A is only the first in the record. `preference` is a graded vote on AlpacaEval's scale, 1
    for A to 2 for B; `said` is the verdict in the source's own words, where `choice` does not hold all of it. The votes
    of one `record` are one verdict: a judge's of a pair in both orders. A later record of the same voter on the same
    pair replaces an earlier one. `baseline` is the one of the two that the other is compared with, "" where the source
    does not say. A voter who was not `is_blind` saw the models' names.
    """

    item: Item
    voter: str
    model_a: str
    model_b: str
    answer_a: str
    answer_b: str
    choice: Choice
    preference: float | None = None
    said: str = ""
    is_order_known: bool = True
    record: int = 0
    baseline: str = ""
    is_blind: bool = True

    @property
    def models(self) -> tuple[str, str]:
        """Both models by name, the same for both orders."""
        return (min(self.model_a, self.model_b), max(self.model_a, self.model_b))

    def value_for(self, model: str) -> float | None:
        """1 where the vote is for this model, 0 for the other, between where it is graded or a tie; None unparsable."""
        if self.choice == "unparsable":
            return None
        for_b = self.preference - 1 if self.preference is not None else {"A": 0.0, "B": 1.0, "tie": 0.5}[self.choice]
        return for_b if model == self.model_b else 1 - for_b


@dataclass
class Reading:
    """What was read of a source: votes, answers of models by item, and what could not be read, each with its place."""

    votes: list[NamedVote] = field(default_factory=list)
    items: dict[str, Item] = field(default_factory=dict)
    outputs: dict[str, dict[str, str]] = field(default_factory=dict)
    unreadable: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def add(self, vote: NamedVote) -> None:
        """Takes a vote, its item and its answers; MisfitError as in `add_answer`."""
        for text in (vote.voter, vote.answer_a, vote.answer_b):
            check_whole(text)
        self.add_answer(vote.item, vote.model_a, vote.answer_a)
        self.add_answer(vote.item, vote.model_b, vote.answer_b)
        self.votes.append(vote)

    def add_answer(self, item: Item, model: str, text: str) -> str:
        """Takes a model's answer to an item unless it has one, and returns the one it has.

        MisfitError where a text cannot be kept, and then nothing is taken.
        """
        for each in (item.id, item.instruction, item.input, item.kind, model, text):
            check_whole(each)
        self.items.setdefault(item.id, item)
        return self.outputs.setdefault(model, {}).setdefault(item.id, text)

    def of_set(self, name: ItemSet) -> "Reading":
        """What is of the items of one set."""
        items = {key: item for key, item in self.items.items() if item.set == name}
        outputs = {m: {key: text for key, text in given.items() if key in items} for m, given in self.outputs.items()}
        return Reading([vote for vote in self.votes if vote.item.id in items], items, outputs)


@dataclass(frozen=True)
class NamedVerdict:
    """What a voter's last record on a pair comes to; `value` is of the candidate, None where it is unparsable."""

    item: str
    candidate: str
    baseline: str
    voter: str
    votes: tuple[NamedVote, ...]
    outcome: Outcome
    value: float | None


def orientation(votes: Iterable[NamedVote]) -> dict[tuple[str, str], tuple[str, str]]:
    """Candidate and baseline of every two models that were compared, in the order of first sight.

    Where the source names no baseline it is the model that is compared with fewer others, or else the second seen.
    """
    named: dict[tuple[str, str], str] = {}
    seen: dict[str, int] = {}
    rivals: dict[str, set[str]] = defaultdict(set)
    for vote in votes:
        named[vote.models] = named.get(vote.models) or vote.baseline
        for model, rival in ((vote.model_a, vote.model_b), (vote.model_b, vote.model_a)):
            seen.setdefault(model, len(seen))
            rivals[model].add(rival)
    pairs = {}
    for models, baseline in named.items():
        last = baseline or max(models, key=lambda model: (-len(rivals[model]), seen[model]))
        pairs[models] = (models[0] if last == models[1] else models[1], last)
    return pairs


def cells(votes: Iterable[NamedVote]) -> dict[Cell, dict[int, list[NamedVote]]]:
    """The votes of each voter on each pair, by record, in the order they came."""
    found: dict[Cell, dict[int, list[NamedVote]]] = {}
    for vote in votes:
        cell = vote.item.id, vote.models, vote.voter, vote.is_blind
        found.setdefault(cell, {}).setdefault(vote.record, []).append(vote)
    return found


def verdicts(votes: Sequence[NamedVote]) -> list[NamedVerdict]:
    """One verdict a voter and pair, of the last record: two orders that disagree are a conflict, which counts half."""
    pairs = orientation(votes)
    return [
        verdict_of(cell, pairs[cell[1]], records[next(reversed(records))]) for cell, records in cells(votes).items()
    ]


def verdict_of(cell: Cell, pair: tuple[str, str], votes: Sequence[NamedVote]) -> NamedVerdict:
    """The verdict of one record's votes for the pair's first model over its second."""
    values = [vote.value_for(pair[0]) for vote in votes]
    outcome = joint_outcome([outcome_of(value) for value in values])
    value = None
    if outcome == "conflict" and not any(vote.preference is not None for vote in votes):
        # Graded votes say how much each order weighs; plain ones that disagree are worth a half, whatever they are.
        value = 0.5
    elif outcome != "unparsable":
        value = sum(filter(None, values)) / len(values)
    return NamedVerdict(cell[0], *pair, cell[2], tuple(votes), outcome, value)


def outcome_of(value: float | None) -> PairOutcome:
    """What a vote's or a verdict's value says of the model that it is for."""
    return "unparsable" if value is None else outcome_by(value - 0.5)
