"""The texts of a study, from a finished evaluate/: items, and both models' answers to each of them."""

from dataclasses import dataclass
from pathlib import Path

from pacos.core.errors import PacosError
from pacos.evaluate.answer_files import read_answers
from pacos.evaluate.items import Item, read_or_make_items
from pacos.web.markdown import render_markdown


@dataclass(frozen=True)
class Material:
    """Items by id, and answers by model and item; `sources` are the files' paths inside evaluate/."""

    items: dict[str, Item]
    answers: dict[tuple[str, str], str]
    sources: list[str]


def read_material(evaluate: Path, models: tuple[str, str]) -> Material:
    """The main items and both models' answers; PacosError where an answer is missing, twice, or to no item."""
    items = {item.id: item for item in read_or_make_items(evaluate / "items.jsonl", ())}
    main = {name: item for name, item in items.items() if item.set == "main"}
    answers: dict[tuple[str, str], str] = {}
    sources = ["items.jsonl"]
    for model in models:
        sources.append(f"answers/{model}.jsonl")
        path = evaluate / sources[-1]
        given: dict[str, str] = {}
        for answer in read_answers(path):
            if answer.item not in items or answer.item in given:
                what = "a second answer to" if answer.item in given else "no answer to one of the items, but to"
                raise PacosError(f"{path}: {what} {answer.item!r}; expected one answer to each item of items.jsonl.")
            given[answer.item] = answer.text
        if missing := [item for item in main if item not in given]:
            raise PacosError(
                f"{path}: holds no answer to {len(missing):,} of {len(main):,} items, the first is {missing[0]}; "
                "evaluate the run again in another folder."
            )
        answers |= {(model, item): given[item] for item in main}
    return Material(main, answers, sources)


def as_html(text: str) -> str:
    """What an annotator sees of a text; an empty one says that it is."""
    return render_markdown(text) if text.strip() else "<p><em>(empty)</em></p>"
