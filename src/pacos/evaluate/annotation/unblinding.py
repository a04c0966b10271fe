"""From the log to votes with names: which vote holds, what it says of the models, and how long it took."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal

from pacos.evaluate.annotation.study_plan import Showing, StudyPlan
from pacos.evaluate.annotation.vote_log import LogEvent, by_annotator

Says = Literal["win", "loss", "tie", "both bad", "skip"]


@dataclass(frozen=True)
class HumanVote:
    """One vote of the log; `says` is of the candidate's answer, in an attention check of the one that belongs.

    `seconds` are raw, without the pauses that were told, and None where it is not known when the item was shown.
    """

    showing: Showing
    place: int
    choice: str
    comment: str
    says: Says
    first_won: bool | None
    at: str
    seconds: float | None
    is_undone: bool = False


def votes_of(plan: StudyPlan, events: Sequence[LogEvent]) -> list[HumanVote]:
    """Every vote of the log, undone or not, annotator by annotator."""
    events_of = by_annotator(events)
    return [
        vote
        for annotator, sequence in plan.sequences().items()
        for vote in _votes_of_one(plan, sequence, events_of.get(annotator, ()))
    ]


def _votes_of_one(plan: StudyPlan, sequence: Sequence[Showing], events: Sequence[LogEvent]) -> list[HumanVote]:
    showings = {showing.id: (place, showing) for place, showing in enumerate(sequence, start=1)}
    votes: list[HumanVote] = []
    holding: list[int] = []
    # When what is shown now was shown first, and the seconds that it was looked at before a pause.
    since, before = "", 0.0
    for event in events:
        if event.kind == "shown":
            since = since or event.at
        elif event.kind == "pause":
            before, since = before + (_seconds(since, event.at) if since else 0.0), ""
        elif event.kind == "undo":
            undone = holding.pop()
            votes[undone] = replace(votes[undone], is_undone=True)
            since, before = "", 0.0
        elif event.kind == "vote":
            place, showing = showings[event.showing]
            seconds = before + _seconds(since, event.at) if since else before or None
            holding.append(len(votes))
            votes.append(_vote(plan, showing, place, event, seconds))
            since, before = "", 0.0
    return votes


def _vote(plan: StudyPlan, showing: Showing, place: int, event: LogEvent, seconds: float | None) -> HumanVote:
    first = _says_of_first(event.choice)
    # Of a check's two answers one belongs to another item.
    belongs = showing.first.item == showing.item
    is_first = belongs if showing.is_attention else showing.first.model == plan.candidate
    says: Says = first
    if first in ("win", "loss") and not is_first:
        says = "loss" if first == "win" else "win"
    first_won = first == "win" if first in ("win", "loss") else None
    shown_seconds = None if seconds is None else round(seconds, 3)
    return HumanVote(showing, place, event.choice, event.comment, says, first_won, event.at, shown_seconds)


def _says_of_first(choice: str) -> Says:
    """What a stored choice says of the answer shown first; of two levels the better one wins."""
    known: dict[str, Says] = {"A": "win", "B": "loss", "tie": "tie", "bad": "both bad", "skip": "skip"}
    if choice in known:
        return known[choice]
    first, second = choice[0], choice[1]
    return "win" if first < second else "loss" if first > second else "both bad" if first == "D" else "tie"


def _seconds(start: str, end: str) -> float:
    return (datetime.fromisoformat(end) - datetime.fromisoformat(start)).total_seconds()
