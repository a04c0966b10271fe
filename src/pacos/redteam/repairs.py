"""redteam/repairs.jsonl: what a target should have said where it failed, for a person to accept, edit or reject."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from pacos.core.errors import PacosError
from pacos.core.files import read_json_lines, write_json_lines
from pacos.core.reports import as_dataclass
from pacos.core.typed import MisfitError, check_whole, typed
from pacos.engines import Message
from pacos.judging.offline import OfflineJudge, offline_judge
from pacos.redteam.cases import CaseStore, Judged

# The campaigns whose hits are a failure of the target; an audit's measure something else.
VERBS = ("attack", "gate", "adapt", "import")
NOBODY_LOOKED = "--accept-all: nobody looked"


@dataclass(frozen=True)
class Repair:
    """One line. `safe` is the answer that is to be learnt, by `by`; empty where a person has to write it.

    `accepted` is None until someone has decided. Only what is true is trained on.
    """

    prompt: str
    failing: str
    objectives: tuple[str, ...]
    topic: str
    technique: str
    safe: str
    by: str
    accepted: bool | None = None
    accepted_by: str = ""


@dataclass(frozen=True)
class Failing:
    """A prompt that failed, as one instruction, with all that it failed by; `judged` is the first of its hits."""

    prompt: str
    objectives: tuple[str, ...]
    judged: Judged


@dataclass(frozen=True)
class PastCases:
    """What the campaigns of a store hold: prompts that failed, and cases that were safe."""

    failing: tuple[Failing, ...]
    safe: tuple[Judged, ...]


def instruction(turns: Sequence[Message]) -> str:
    """What the user said, as one instruction: the form in which a student is trained."""
    return "\n\n".join(turn.content for turn in turns if turn.role == "user")


def find_cases(store: CaseStore) -> PastCases:
    """Every prompt that failed in any campaign, once, and what was safe of the prompts that never did."""
    hits: dict[str, tuple[dict[str, None], Judged]] = {}
    safe: list[Judged] = []
    for campaign in store.campaigns():
        if campaign.verb not in VERBS:
            continue
        for judged in store.read(campaign.id):
            prompt, answer = instruction(judged.case.turns), judged.answer
            if not prompt.strip() or answer is None or not answer.text.strip():
                continue
            if judged.verdict == "hit":
                hits.setdefault(prompt, ({}, judged))[0][campaign.objective] = None
            elif judged.verdict == "safe":
                safe.append(judged)
    failing = tuple(Failing(prompt, tuple(objectives), judged) for prompt, (objectives, judged) in hits.items())
    return PastCases(failing, tuple(safe))


def checker(objective: str) -> OfflineJudge:
    """Who says whether an answer is safe: the objective's judge where it needs no engine; else only a refusal is."""
    try:
        return offline_judge(objective)
    except PacosError:
        return offline_judge("compliance")


def why_not_safe(prompt: str, answer: str, objectives: Iterable[str]) -> str:
    """What is wrong with an answer to a prompt that failed; empty where each of its judges calls it safe."""
    for objective in objectives:
        scored = checker(objective)(prompt, answer)
        if scored.verdict != "safe":
            return f"{scored.verdict} by {objective} ({scored.rationale})"
    return ""


def read_repairs(path: Path) -> dict[str, Repair]:
    """The repairs by their prompt, none where the file is not there.

    Raises PacosError naming the line that is none, whose prompt was there before, or whose accepted answer is not safe.
    """
    found: dict[str, Repair] = {}
    for line, value in read_json_lines(path, "repairs") if path.exists() else ():
        where = f"{path}:{line}"
        try:
            repair = typed(Repair, value, "line", as_dataclass)
            check_whole(repair.prompt + repair.safe)
        except MisfitError as misfit:
            raise PacosError(f"{where}: {str(misfit).removeprefix('line.')}. Mend or remove that line.") from None
        if repair.prompt in found:
            raise PacosError(f"{where}: a prompt that was there before; remove one of the two lines.")
        if repair.accepted and (why := why_not_safe(repair.prompt, repair.safe, repair.objectives)):
            raise PacosError(f"{where}: accepted, but its safe answer is {why}. Mend it, or set accepted to false.")
        found[repair.prompt] = repair
    return found


def kept(repair: Repair, objectives: Iterable[str]) -> Repair:
    """The repair with what its prompt failed by since; no answer and no word of a person outlasts that, if not safe."""
    every = tuple(dict.fromkeys((*repair.objectives, *objectives)))
    if every == repair.objectives:
        return repair
    repair = replace(repair, objectives=every)
    if repair.safe and why_not_safe(repair.prompt, repair.safe, every):
        return replace(repair, safe="", by="", accepted=None, accepted_by="")
    return repair


def write_repairs(path: Path, repairs: Mapping[str, Repair]) -> None:
    """One line a repair, those that wait for a person first."""
    waiting_first = sorted(repairs.values(), key=lambda repair: repair.accepted is not None)
    write_json_lines(path, map(asdict, waiting_first))
