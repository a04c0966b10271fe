"""plan.json: what a study with people will show and count, written and hashed before the first vote."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from pacos.core.errors import PacosError
from pacos.core.files import sha256_file, write_json
from pacos.core.reports import read_report

Mode = Literal["compare", "rating"]
# Inside evaluate/.
FOLDER = "annotation"
PLAN_FILE = "plan.json"
# A judgment that took longer holds a pause that nobody told of.
MAX_SECONDS = 300.0
LEVELS: Mapping[str, str] = {
    "A": "Correct and satisfying",
    "B": "Acceptable, with minor errors or imperfections",
    "C": "Relevant, but with significant errors",
    "D": "Irrelevant or completely invalid",
}
"""Self-Instruct's four levels, the best first."""


@dataclass(frozen=True)
class ShownAnswer:
    """A model's answer to an item, which in an attention check may be another item than the one asked about."""

    model: str
    item: str


@dataclass(frozen=True)
class Showing:
    """An item and two answers in the order that one annotator sees; `id` is random and tells nothing."""

    id: str
    annotator: int
    item: str
    is_attention: bool
    first: ShownAnswer
    second: ShownAnswer


@dataclass(frozen=True)
class NamedItself:
    """An answer that names a model, so that who reads it may know whose it is."""

    item: str
    model: str
    words: str


@dataclass(frozen=True)
class StudyPlan:
    """All that is fixed before the first vote; `showings` are each annotator's, in the order that they see them.

    `sources` are the SHA-256 of the files the texts come from, by their paths inside evaluate/. `set_aside` items are
    only in attention checks. The allocation can be drawn again from `seed` but for the showings' ids.
    """

    pacos: str
    created: str
    mode: Mode
    candidate: str
    baseline: str
    annotators: int
    overlap: int
    seed: str
    items: list[str]
    set_aside: list[str]
    primary_measure: str
    other_measures: list[str]
    left_out: str
    stopping: str
    max_seconds: float
    named_themselves: list[NamedItself]
    sources: dict[str, str]
    showings: list[Showing]

    def sequences(self) -> dict[int, list[Showing]]:
        """What each annotator sees, in order, by the annotator's number."""
        sequences: dict[int, list[Showing]] = {number: [] for number in range(1, self.annotators + 1)}
        for showing in self.showings:
            sequences[showing.annotator].append(showing)
        return sequences


def write_plan(folder: Path, plan: StudyPlan) -> str:
    """Writes plan.json and returns its SHA-256."""
    write_json(folder / PLAN_FILE, asdict(plan))
    return sha256_file(folder / PLAN_FILE)


def read_plan(folder: Path, sha256: str) -> StudyPlan:
    """The plan in the study's `folder`; PacosError where it or a file it names has changed since it was hashed."""
    path = folder / PLAN_FILE
    if not path.is_file() or sha256_file(path) != sha256:
        what = "has been changed" if path.is_file() else "is missing"
        raise PacosError(
            f"{path}: {what} since the study began (its SHA-256 was {sha256[:16]}...); put the file back as it was."
        )
    plan = read_report(StudyPlan, folder, PLAN_FILE, "Use the version that made it.")
    for name, digest in plan.sources.items():
        source = folder.parent / name
        if not source.is_file() or sha256_file(source) != digest:
            raise PacosError(
                f"{source}: has changed since the study in {folder} was planned with it; put the file back as it was, "
                "or move that folder away and begin another study."
            )
    return plan
