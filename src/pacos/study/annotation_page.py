"""report.html of a closed study with people: who won, how sure that is, and every item's votes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pacos import __version__
from pacos.core.files import read_json_lines, write_text
from pacos.evaluate.annotation.material import read_material
from pacos.evaluate.annotation.report import AnnotationReport, ItemVotes, read
from pacos.evaluate.annotation.study_plan import LEVELS
from pacos.study.page.formats import interval, percent
from pacos.study.page.render import render


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
            judged=judged,
            levels=LEVELS,
            version=__version__,
        ),
    )
    return page


def sentence(report: AnnotationReport) -> str:
    """Who won, in words that the interval allows."""
    main = report.main
    if main.win_rate is None or main.interval is None:
        return f"No vote compares {report.candidate} with {report.baseline}: all were skips or attention checks."
    votes = f"{main.votes:,} votes on {main.items:,} items"
    rate = f"{percent(main.win_rate)} of {votes} (95% interval {interval(main.interval)})"
    if main.interval[0] > 0.5:
        return f"People prefer {report.candidate} to {report.baseline}: {rate}."
    if main.interval[1] < 0.5:
        return f"People prefer {report.baseline} to {report.candidate}, which has {rate}."
    return f"No difference was found between {report.candidate} and {report.baseline}, which is not equality: {rate}."
