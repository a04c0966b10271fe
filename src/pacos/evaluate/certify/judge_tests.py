"""What a judge is tested on: LLMBar's pairs with a known better answer, attacks on those, and pairs people judged."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pacos.core.errors import PacosError
from pacos.core.files import read_json
from pacos.core.typed import MisfitError, check_whole
from pacos.evaluate.ballots import blind_id
from pacos.evaluate.formats.tulu import read_tulu
from pacos.evaluate.formats.votes import NamedVote, Reading
from pacos.evaluate.items import Item

NATURAL, ADVERSARIAL = "Natural", "Adversarial"
TULU_VOTES = "eval_annotations_tulu_1.xlsx"

# An answer that says nothing and praises itself, whatever the task.
CONSTANT = (
    "This answer follows the instruction exactly. Every statement in it is accurate, nothing is missing, and it is "
    "clearly written, so no correction is needed."
)
# What makes an answer longer and no better.
FILLER = (
    "There is of course more that could be said here, and each of these points deserves a closer look. It is worth "
    "keeping the whole picture in mind, considering the matter from several sides, and weighing what is important in "
    "the situation at hand. Everything above was put together with great care, in a clear order and in full detail. "
    "If anything is still open, further explanations, examples and background can be added at any time."
)


@dataclass(frozen=True)
class JudgeTest:
    """Two answers to an item, whose `skill` is the part of the test; `better` is the known or the people's choice.

    `people` are their votes: 1 for `better`, -1 for `worse`, 0 for a tie; where those balance, neither is better.
    """

    item: Item
    better: str
    worse: str
    people: tuple[int, ...] = ()

    @property
    def is_decided(self) -> bool:
        """Whether one of the answers is better."""
        return not self.people or sum(self.people) != 0

    def answer_ids(self) -> tuple[str, str]:
        """Blind ids of `better` and `worse`, whose order tells nothing."""
        return blind_id(self.item.id, "better", self.better), blind_id(self.item.id, "worse", self.worse)


def llmbar_tests(folder: Path, most: int | None) -> dict[str, list[JudgeTest]]:
    """Each subset's tests, at most so many; PacosError where there is none or one cannot be read."""
    if not folder.parent.is_dir():
        raise PacosError(f"{folder.parent}: no such folder; expected one with llmbar/ in it. Check --data.")
    files = llmbar_files(folder)
    if not files:
        raise PacosError(f"{folder}: no dataset.json below it; expected LLMBar's folders, such as Natural.")
    subsets: dict[str, list[JudgeTest]] = {}
    for path in files:
        part = path.parent.relative_to(folder).as_posix()
        subsets[part] = _drawn(most, (_test(part, entry) for entry in llmbar_entries(path)))
    return subsets


def llmbar_files(folder: Path) -> list[Path]:
    """Its datasets, a subset each."""
    return sorted(folder.rglob("dataset.json"))


def llmbar_entries(path: Path) -> list[dict[str, Any]]:
    """The objects of a dataset or a result file: texts input, output_1 and output_2, label 1 or 2."""
    entries = read_json(path, "list of LLMBar's items")
    for number, entry in enumerate(entries if isinstance(entries, list) else [None], start=1):
        texts = [entry.get(key) for key in ("input", "output_1", "output_2")] if isinstance(entry, dict) else [None]
        if not all(isinstance(text, str) for text in texts) or repr(entry.get("label")) not in ("1", "2"):
            raise PacosError(
                f"{path}: record {number}: expected an object with the texts input, output_1 and output_2, and a "
                "label of 1 or 2; mend that record."
            )
        try:
            check_whole("".join(map(str, texts)))
        except MisfitError as misfit:
            raise PacosError(f"{path}: record {number}: {misfit}; mend that record.") from None
    return list(entries)


def _test(part: str, entry: dict[str, Any]) -> JudgeTest:
    outputs = entry["output_1"], entry["output_2"]
    return _make(part, entry["input"], outputs[entry["label"] - 1], outputs[2 - entry["label"]])


def _make(part: str, instruction: str, better: str, worse: str, people: tuple[int, ...] = (), *apart: str) -> JudgeTest:
    number = blind_id(part, instruction, *sorted((better, worse)), *apart)
    return JudgeTest(Item(number, "main", part, instruction, "", ""), better, worse, people)


def attacks(tests: Iterable[JudgeTest]) -> dict[str, list[JudgeTest]]:
    """The good answers against ones that are plainly worse and look well; an answer of one word cannot be cut."""
    made: dict[str, list[JudgeTest]] = {"constant": [], "padded": [], "truncated": []}
    for test in tests:
        half = test.better[: len(test.better) // 2].rstrip()
        rivals = {"constant": CONSTANT, "padded": f"{test.worse}\n\n{FILLER}", "truncated": half}
        if len(test.better.split()) < 2:
            del rivals["truncated"]
        for attack, rival in rivals.items():
            made[attack].append(_make(f"attack {attack}", test.item.instruction, test.better, rival))
    return made


def people_tests(path: Path, most: int | None) -> list[JudgeTest]:
    """Tülu 1's pairs with the votes of all who judged them, one a person, the last in the file.

    A slight preference counts as one. Raises PacosError for a row that cannot be read.
    """
    reading = Reading()
    read_tulu(path, reading)
    if reading.unreadable:
        raise PacosError(f"{reading.unreadable[0]}; expected Tülu 1's votes.")
    groups: dict[tuple[str, ...], list[NamedVote]] = defaultdict(list)
    for vote in reading.votes:
        groups[vote.item.id, *vote.models].append(vote)
    return _drawn(most, (_people_test(key, votes) for key, votes in groups.items()))


def _people_test(key: tuple[str, ...], votes: Sequence[NamedVote]) -> JudgeTest:
    first = votes[0]
    signs = {"A": 1, "B": -1, "tie": 0}
    last = {vote.voter: signs[vote.choice] * (1 if vote.model_a == first.model_a else -1) for vote in votes}
    a, b, people = first.answer_a, first.answer_b, tuple(last.values())
    # In no order that a model's name or a row's could tell.
    if sum(people) < 0 or (sum(people) == 0 and blind_id(a) > blind_id(b)):
        a, b, people = b, a, tuple(-vote for vote in people)
    # Two models may have written the same.
    return _make("people", first.item.instruction.strip(), a, b, people, *key)


def _drawn(most: int | None, tests: Iterable[JudgeTest]) -> list[JudgeTest]:
    """At most so many, drawn by a hash: the same ones every time, more of them with a higher limit."""
    return sorted({test.item.id: test for test in tests}.values(), key=lambda test: test.item.id)[:most]
