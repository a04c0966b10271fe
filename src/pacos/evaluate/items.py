"""What is asked: held-out tasks of the builtin teacher, a harder set of them, or a file of instructions."""

import hashlib
import json
import random
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

from pacos.core.data_files import read_data_file
from pacos.core.errors import PacosError
from pacos.core.files import read_json_lines, write_json_lines
from pacos.core.records import Example, read_categorised
from pacos.engines.builtin.skills import SKILLS, Skill
from pacos.text import Novelty

ItemSet = Literal["main", "harder"]
NOVELTY_THRESHOLD = 0.7
# A skill with few distinct tasks or phrasings may have no more unseen ones; so many draws a wanted item, then on.
DRAWS_PER_ITEM = 50


@dataclass(frozen=True)
class Item:
    """One thing to answer; `reference` is "" where none is known, `skill` is "" for an item from a file.

    `category` is what a file says of its kind; a builtin skill has its group.
    """

    id: str
    set: ItemSet
    skill: str
    instruction: str
    input: str
    reference: str
    category: str = ""

    @property
    def asked(self) -> str:
        """The instruction and its input as one text."""
        return f"{self.instruction}\n\n{self.input}" if self.input else self.instruction

    @property
    def kind(self) -> str:
        """The skill or the category, "" where neither is known."""
        return self.skill or self.category


def read_or_make_items(path: Path, make: Iterable[Item]) -> list[Item]:
    """The items in `path`, made and written there first when it does not exist: a resumed run asks the same."""
    if not path.exists():
        write_json_lines(path, map(asdict, make))
    items = [_read_item(value, f"{path}:{number}") for number, value in read_json_lines(path, "evaluation items")]
    if not any(item.set == "main" for item in items):
        raise PacosError(f"{path}: no item is left that was not trained on. Give evaluate.instructions a file of them.")
    return items


def _read_item(value: Any, where: str) -> Item:
    try:
        item = Item(**value)
    except TypeError:
        item = None
    is_text = item is not None and all(isinstance(field, str) for field in asdict(item).values())
    if item is None or not is_text or item.set not in ("main", "harder"):
        raise PacosError(
            f"{where}: not an item as pacos writes it; expected an object with the texts id, set, skill, instruction, "
            "input and reference. Put the file back as it was, or give --run another folder."
        )
    return item


def builtin_items(training: Iterable[Example], items_per_skill: int, seed: int) -> Iterator[Item]:
    """Tasks of every builtin skill whose (instruction, input) is not in `training`, then the harder ones.

    A harder item's instruction is under ROUGE-L 0.7 to every training instruction; up to half as many of those a
    skill. Each skill has its own random stream, so that adding a skill leaves the others' items as they were.
    """
    training = list(training)
    taken = {(example.instruction, example.input) for example in training}
    is_far = _distance_check(example.instruction for example in training)
    for skill in SKILLS.values():
        yield from _draw(skill, "main", items_per_skill, seed, taken, lambda instruction: True)
    for skill in SKILLS.values():
        yield from _draw(skill, "harder", items_per_skill // 2, seed, taken, is_far)


def _draw(
    skill: Skill,
    item_set: ItemSet,
    wanted: int,
    seed: int,
    taken: set[tuple[str, str]],
    is_wanted: Callable[[str], bool],
) -> Iterator[Item]:
    generator = random.Random(f"{seed}/{item_set}/{skill.name}")
    found = 0
    for _ in range(DRAWS_PER_ITEM * wanted):
        task = skill.sample(generator)
        key = (task.instruction, task.input)
        if key in taken or not is_wanted(task.instruction):
            continue
        taken.add(key)
        yield make_item(item_set, skill.name, task.instruction, task.input, task.output)
        found += 1
        if found == wanted:
            return


def _distance_check(instructions: Iterable[str]) -> Callable[[str], bool]:
    """Tells whether an instruction is under the threshold to all of `instructions`; each text is compared once."""
    novelty = Novelty(threshold=NOVELTY_THRESHOLD)
    for instruction in dict.fromkeys(instructions):
        novelty.add(instruction)
    return cache(lambda instruction: novelty.nearest(instruction)[0] < NOVELTY_THRESHOLD)


def make_item(
    item_set: ItemSet, skill: str, instruction: str, context: str, reference: str, category: str = ""
) -> Item:
    """An item whose id is a hash of what is asked."""
    content = json.dumps([instruction, context], ensure_ascii=False)
    name = hashlib.sha256(content.encode()).hexdigest()[:16]
    return Item(name, item_set, skill, instruction, context, reference, category)


def file_items(path: Path) -> list[Item]:
    """The items of an evaluation set; one that stands there again is asked once, and said.

    Where rows name a `generator`, as AlpacaEval's do, the outputs are that model's answers, and no references: held
    against them it would be right in everything.
    Raises PacosError where the same question has two right answers: whichever were taken, the other would be wrong.
    """
    items: dict[str, Item] = {}
    repeated, contradictions = 0, []
    examples, generators = read_categorised(path), _generators(path)
    if generators and any(example.output for example, _ in examples):
        print(
            f"evaluate: {path}: its outputs are answers of {', '.join(generators[:3])} by its own word (generator), "
            "so they are not taken as references; evaluate.references can name a file of those",
            file=sys.stderr,
        )
    for number, (example, category) in enumerate(examples, start=1):
        reference = "" if generators else example.output
        item = make_item("main", "", example.instruction, example.input, reference, category)
        known = items.setdefault(item.id, item)
        repeated += known is not item
        if known.reference and item.reference and known.reference != item.reference:
            contradictions.append(
                f"{number} ({item.instruction[:60]!r}: {known.reference[:40]!r}, {item.reference[:40]!r})"
            )
        if item.reference and not known.reference:
            items[item.id] = item
    if contradictions:
        raise PacosError(
            f"{path}: {len(contradictions)} questions stand there twice with different answers, as in record "
            f"{'; '.join(contradictions[:3])}; keep one answer each."
        )
    if repeated:
        print(f"evaluate: {path}: {repeated} repeated questions are asked once", file=sys.stderr)
    return list(items.values())


def _generators(path: Path) -> list[str]:
    """The models that rows of a file name as where their outputs are from."""
    rows = (value for _, value in read_data_file(path, "evaluation instructions").values)
    named = (row.get("generator") for row in rows if isinstance(row, dict))
    return list(dict.fromkeys(name for name in named if isinstance(name, str) and name.strip()))
