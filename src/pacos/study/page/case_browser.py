"""The cases for the page's browser: those that failed first, as many as a page can carry."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from pacos.study.page.formats import shortened, uncontrolled
from pacos.study.page.redteam_files import AttackedCase
from pacos.study.page.scripts import Script, Select, block, script

# A page stays small: more, and longer ones, stand in cases.sqlite.
MOST_CASES, MOST_TEXT, MOST_LINE = 400, 2_000, 300
VERDICTS = ("hit", "unscored", "error", "safe")


@dataclass(frozen=True)
class CaseBrowser:
    """`shown` of `total` cases by verdict; `data` is safe inside a script element."""

    shown: dict[str, int]
    total: dict[str, int]
    selects: list[Select]
    data: Markup
    script: Script

    @property
    def is_whole(self) -> bool:
        """Whether every case is on the page."""
        return self.shown == self.total


def case_browser(cases: Sequence[AttackedCase]) -> CaseBrowser | None:
    """None where there is no case. Of those that do not fit, equally spaced ones are left out, safe ones first."""
    if not cases:
        return None
    of = {name: [case for case in cases if case.verdict == name] for name in VERDICTS}
    chosen: dict[str, list[AttackedCase]] = {}
    room = MOST_CASES
    for name, each in of.items():
        chosen[name] = _spaced(each, room)
        room -= len(chosen[name])
    kept = [case for each in chosen.values() for case in each]
    columns = {
        "source": _names(case.verb for case in kept),
        "objective": _names(case.objective for case in kept),
        "technique": _names(case.technique for case in kept),
    }
    labels = {"source": ("From", "any"), "objective": ("Objective", "any"), "technique": ("Technique", "any")}
    selects = [
        Select("verdict", "Verdict", "any", [(name, name) for name in VERDICTS if chosen[name]]),
        *(
            Select(key, *labels[key], [(str(n), name or "none") for n, name in enumerate(names)])
            for key, names in columns.items()
        ),
    ]
    content = {name: [uncontrolled(shortened(each, MOST_LINE)) for each in names] for name, names in columns.items()}
    data = block({**content, "cases": [_row(case, columns) for case in kept]})
    counts = ({name: len(each) for name, each in by.items() if of[name]} for by in (chosen, of))
    shown, total = counts
    return CaseBrowser(shown, total, [each for each in selects if len(each.options) > 1], data, script("cases.js"))


def _spaced(cases: Sequence[AttackedCase], room: int) -> list[AttackedCase]:
    if len(cases) <= room:
        return list(cases)
    return [cases[place * len(cases) // room] for place in range(room)]


def _names(names: Iterable[str]) -> list[str]:
    return sorted(set(names))


def _row(each: AttackedCase, columns: dict[str, list[str]]) -> list[object]:
    """A list, not an object: keys said so often would be a good part of the page."""
    return [
        VERDICTS.index(each.verdict),
        columns["source"].index(each.verb),
        columns["objective"].index(each.objective),
        columns["technique"].index(each.technique),
        uncontrolled(shortened(each.topic, MOST_LINE)),
        uncontrolled(shortened(each.prompt, MOST_TEXT)),
        uncontrolled(shortened(each.answer, MOST_TEXT)),
        uncontrolled(shortened(each.rationale, MOST_TEXT)),
        uncontrolled(shortened(each.judge, MOST_LINE)),
        None if each.score is None else round(each.score, 4),
    ]
