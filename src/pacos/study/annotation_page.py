"""report.html of a closed study with people: who won, how sure that is, and every item's votes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pacos import __version__
from pacos.core.files import read_json_lines, write_text
from pacos.evaluate.annotation.material import read_material
from pacos.evaluate.annotation.report import AnnotationReport, ItemVotes, read
from pacos.evaluate.annotation.study_plan import LEVELS
from pacos.statistics import MARGIN
from pacos.study.page.formats import interval, percent
from pacos.study.page.render import render
from pacos.study.page.trust import claim_of


@dataclass(frozen=True)
class JudgedItem:
    """An item with both answers and what was voted."""

    votes: ItemVotes
    instruction: str
    input: str
    answers: Mapping[str, str]
    said: Sequence[Mapping[str, object]]


def write(folder: Path) -> Path:
    """Writes `folder`/report.html of a study that was closed there, and returns its path."""
    report = read(folder)
    material = read_material(folder.parent, (report.candidate, report.baseline))
    said: dict[str, list[Mapping[str, object]]] = {}
    for _, vote in read_json_lines(folder / "votes.jsonl", "votes"):
        if not vote["attention"] and not vote["undone"]:
            said.setdefault(vote["item"], []).append(vote)
    judged = [
        JudgedItem(
            votes=row,
            instruction=material.items[row.item].instruction,
            input=material.items[row.item].input,
            answers={model: material.answers[model, row.item] for model in (report.candidate, report.baseline)},
            said=said[row.item],
        )
        for row in report.items
    ]
    page = folder / "report.html"
    write_text(
        page,
        render(
            "annotation.html",
            report=report,
            sentence=sentence(report),
            claim=claim_of(report),
            judged=judged,
            levels=LEVELS,
            version=__version__,
        ),
    )
    return page


def sentence(report: AnnotationReport) -> str:
    """Who won, in words that the tests allow."""
    claim, one, other = claim_of(report), report.candidate, report.baseline
    if claim.estimate is None:
        return f"No vote compares {one} with {other}: all were skips or attention checks."
    rate = (
        f"{one} has a win rate of {percent(claim.estimate.rate)} over items, ties as half "
        f"(95% interval {interval(claim.estimate.interval)})"
    )
    said = {
        "superior": f"People prefer {one} to {other}",
        "inferior": f"People prefer {other} to {one}",
        "on par": f"To people {one} and {other} are on par within {100 * MARGIN:.3g} points",
    }.get(claim.finding, f"People’s votes do not decide between {one} and {other}, which is not equality")
    return f"{said}: {rate}."
