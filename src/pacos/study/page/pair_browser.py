"""The pairs for the page's browser: one block of JSON that no text in it can end, and the script that reads it."""

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from pacos.evaluate.judged_pairs import JudgedPairs
from pacos.study.page.formats import shortened, showable
from pacos.study.page.scripts import Script, Select, block, script
from pacos.study.page.slices import Facet

# Longer texts end in how much is left out; the whole stands in the run's folder.
MOST_TEXT, MOST_REPLY = 20_000, 4_000
OUTCOMES = ("win", "loss", "tie", "unparsable")


@dataclass(frozen=True)
class Browser:
    """`data` is safe inside a script element."""

    pairs: int
    selects: list[Select]
    data: Markup
    script: Script


def browser(judged: JudgedPairs, models: Sequence[str], judges: Sequence[str], parted: Sequence[Facet]) -> Browser:
    """All pairs; `models` are labels, the baseline first."""
    data = block(_content(judged, models, judges, parted))
    return Browser(len(judged.pairs), _selects(judged, models, judges, parted), data, script("pairs.js"))


def _selects(
    judged: JudgedPairs, models: Sequence[str], judges: Sequence[str], parted: Sequence[Facet]
) -> list[Select]:
    """Those that leave something to choose."""
    outcomes = [(name, name) for name in ("won", "lost", "tied")] + [("conflict", "orders disagree")]
    outcomes += [("dispute", "judges disagree")] if len(judges) > 1 else []
    sets = {pair.item.set for pair in judged.pairs}
    found = [
        Select("outcome", "Outcome", "any", [*outcomes, ("unreadable", "unreadable")]),
        Select("model", "Model", "all", _numbered(models)[1:]),
        Select("judge", "Judge", "majority of all", _numbered(judges)),
        Select("set", "Items", "all", [("main", "held-out"), ("harder", "harder")] if len(sets) > 1 else []),
        *(Select(facet.key, facet.title, "any", _numbered(facet.names)) for facet in parted),
    ]
    return [select for select in found if len(select.options) > 1]


def _numbered(names: Sequence[str]) -> list[tuple[str, str]]:
    return [(str(number), name or "none given") for number, name in enumerate(names)]


def _content(
    judged: JudgedPairs, models: Sequence[str], judges: Sequence[str], parted: Sequence[Facet]
) -> dict[str, object]:
    items = list({pair.item.id: pair.item for pair in judged.pairs}.values())
    places = {item.id: place for place, item in enumerate(items)}
    return {
        "models": list(map(showable, models)),
        "judges": list(map(showable, judges)),
        "facets": [
            {"key": facet.key, "title": facet.title, "names": list(map(showable, facet.names))} for facet in parted
        ],
        "items": [
            {
                "set": item.set,
                "skill": showable(item.kind),
                "instruction": _text(item.instruction),
                "input": _text(item.input),
                "reference": _text(item.reference),
                "answers": [_text(judged.answers.get((model, item.id), "")) for model in models],
                "lengths": [len(judged.answers.get((model, item.id), "")) for model in models],
            }
            for item in items
        ],
        # Lists, not objects: keys said 5,000 times over would be half of the page.
        "pairs": [
            [
                places[pair.item.id],
                models.index(pair.candidate),
                OUTCOMES.index(pair.outcome),
                [facet.parts[number] for facet in parted],
                [
                    [
                        judges.index(verdict.judge),
                        OUTCOMES.index(verdict.outcome),
                        int(verdict.is_conflict),
                        None if verdict.preference in (None, 0, 0.5, 1) else round(verdict.preference or 0, 3),
                        [
                            [
                                models.index(vote.first),
                                _preferred(vote.preferred, models),
                                _text(vote.reply, MOST_REPLY),
                            ]
                            for vote in verdict.votes
                        ],
                    ]
                    for verdict in pair.verdicts
                ],
            ]
            for number, pair in enumerate(judged.pairs)
        ],
    }


def _preferred(label: str, models: Sequence[str]) -> int:
    """A model's number; -1 for a tie, -2 for a vote that cannot be read."""
    return {"tie": -1, "unparsable": -2}.get(label, -2) if label not in models else models.index(label)


def _text(text: str, most: int = MOST_TEXT) -> str:
    return showable(shortened(text, most))
