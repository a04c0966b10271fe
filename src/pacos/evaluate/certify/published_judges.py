"""Published judges recomputed from their raw replies: LLMBar's result.json files, against their statistics.json."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pacos.core.errors import PacosError
from pacos.core.files import read_json
from pacos.engines import Reply
from pacos.evaluate.certify.judge_scores import BothOrders, JudgeScore, score
from pacos.evaluate.certify.judge_tests import llmbar_entries
from pacos.judging import Choice, JudgeKeys, read_vote
from pacos.statistics import cohen_kappa

# How LLMBar's judges were asked to reply.
LABELS = JudgeKeys(read="label", a="Output (a)", b="Output (b)")
ORDERS = "swap = False", "swap = True"


@dataclass(frozen=True)
class PublishedJudge:
    """One judge on one subset: its score from the raw replies, and LLMBar's own figures from them, as counts.

    `figures` are right votes in the published order and swapped, right in both, and equal in both; `kappa` is Cohen's
    between the two orders as published. `differing` names what statistics.json has otherwise, None without such a file.
    """

    subset: str
    judge: str
    score: JudgeScore
    figures: dict[str, int]
    kappa: float
    differing: tuple[str, ...] | None


def published_judges(folder: Path) -> list[PublishedJudge]:
    """Every result.json below the folder; PacosError where there is none or one cannot be read."""
    files = sorted(folder.rglob("result.json"))
    if not files:
        what = "no result.json below it" if folder.is_dir() else "no such folder"
        raise PacosError(f"{folder}: {what}; expected LLMBar's replies, SUBSET/JUDGE/PROMPT/result.json.")
    return [_judge(folder, path) for path in files]


def _judge(folder: Path, path: Path) -> PublishedJudge:
    entries = llmbar_entries(path)
    winners = [_winners(path, number, entry) for number, entry in enumerate(entries, start=1)]
    labels = [entry["label"] for entry in entries]
    votes: list[BothOrders] = []
    for (as_given, swapped), label in zip(winners, labels, strict=True):
        # In the published order output 1 is shown as A, swapped as B.
        given_choice, swapped_choice = _choice(as_given, "A", "B"), _choice(swapped, "B", "A")
        votes.append((given_choice, swapped_choice) if label == 1 else (swapped_choice, given_choice))
    right = [tuple(winner == label for winner in both) for both, label in zip(winners, labels, strict=True)]
    figures = {
        "correct_False": sum(given for given, _ in right),
        "correct_True": sum(swapped for _, swapped in right),
        "correct_both": sum(given and swapped for given, swapped in right),
        "equal": sum(given == swapped for given, swapped in winners),
    }
    # As published: what could not be read counts there as output 2, in this figure alone.
    kappa = cohen_kappa(*zip(*[(given == 1, swapped == 1) for given, swapped in winners], strict=True))
    place = path.parent.relative_to(folder).parts
    subset, judge = "/".join(place[:-2]), "/".join(place[-2:])
    published = path.with_name("statistics.json")
    differing = _differing(published, figures, kappa, len(entries)) if published.exists() else None
    return PublishedJudge(subset, judge, score(votes), figures, kappa, differing)


def _winners(path: Path, number: int, entry: dict[str, Any]) -> tuple[int | None, int | None]:
    """The output that wins in the published order, and swapped; None where the reply names neither."""
    found: list[int | None] = []
    for order in ORDERS:
        try:
            text, finish = entry["results"][0][order]["completion"]
        except (KeyError, IndexError, TypeError, ValueError):
            raise PacosError(
                f"{path}: record {number}: no completion of two texts for {order!r}; expected LLMBar's results."
            ) from None
        # Some published replies carry no reason for their end.
        reply = Reply("", str(text), "length" if finish == "length" else "stop")
        choice = read_vote(reply, LABELS).choice
        shown = ("A", "B") if order == ORDERS[0] else ("B", "A")
        found.append(shown.index(choice) + 1 if choice in shown else None)
    return found[0], found[1]


def _choice(winner: int | None, first: Choice, second: Choice) -> Choice:
    return "unparsable" if winner is None else first if winner == 1 else second


def _differing(path: Path, figures: dict[str, int], kappa: float, items: int) -> tuple[str, ...]:
    published = read_json(path, "published statistics")
    if not isinstance(published, dict):
        raise PacosError(f"{path}: expected an object with LLMBar's statistics.")
    wrong = [
        name
        for name, count in figures.items()
        if list(map(int, re.findall(r"\d+", str(published.get(name, "")))[:2])) != [count, items]
    ]
    average = 100 * (figures["correct_False"] + figures["correct_True"]) / (2 * items)
    for name, value in (("correct_average", average), ("kappa_agreement", kappa)):
        try:
            is_equal = abs(float(str(published[name]).rstrip("%")) - value) < 1e-9
        except (KeyError, ValueError):
            is_equal = False
        wrong += [] if is_equal else [name]
    return tuple(wrong)
