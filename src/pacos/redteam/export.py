"""redteam export: failing cases with safe answers, reviewed, as training examples beside what must not be unlearnt."""

import asyncio
import tomllib
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from pacos.asking import BudgetSpentError, Totals
from pacos.core.errors import PacosError
from pacos.core.files import sha256_file, sha256_text, write_json, write_json_lines
from pacos.core.progress import ProgressBar
from pacos.core.recipe import Recipe
from pacos.core.records import Example, read_examples, write_examples
from pacos.core.run_folder import RunFolder
from pacos.engines import Failure, Message, Prompt, Reply, Request, Sampling, engine_table
from pacos.redteam.account import Account
from pacos.redteam.cases import CaseStore, Judged
from pacos.redteam.contrast import is_sound, nearest, safe_examples, swapped
from pacos.redteam.holding_out import hold_out, read_held_out, suite_lines
from pacos.redteam.proposing import read_topics
from pacos.redteam.repairs import (
    NOBODY_LOOKED,
    Failing,
    PastCases,
    Repair,
    checker,
    find_cases,
    instruction,
    kept,
    read_repairs,
    why_not_safe,
    write_repairs,
)
from pacos.redteam.targets import find_target
from pacos.redteam.trial import MAX_TOKENS

_SAFE_ANSWERS = Path(__file__).parent / "safe_answers.toml"


@dataclass(frozen=True)
class ExportPlan:
    """What is exported. `teacher` names an engine that writes the safe answers; `contrast` is so many a repair, some
    about the topics of the file `harmless`."""

    out: Path | None = None
    teacher: str = ""
    accept_all: bool = False
    hold_out: float = 0.0
    contrast: int = 3
    harmless: Path | None = None
    with_dataset: bool = True
    max_usd: float | None = None


@dataclass(frozen=True)
class ExportReport:
    """redteam/export.json. `failing` prompts are waiting, accepted, rejected or held out; `reviewed` of the accepted
    were so by a person. `out` and `sha256` are empty where nothing was accepted, and so nothing written."""

    failing: int
    waiting: int
    accepted: int
    reviewed: int
    rejected: int
    held_out: int
    contrast: int
    replay: int
    out: str
    sha256: str
    usd: float
    unseen_usd: float


def export(plan: ExportPlan, recipe: Recipe, folder: Path) -> ExportReport:
    """Writes redteam/repairs.jsonl of a run, to be reviewed, and what is accepted of it as a file for train.dataset.

    Raises PacosError where nothing failed, a line of repairs.jsonl is none, or the teacher cannot be asked.
    """
    room = folder / "redteam"
    if not (room / "cases.sqlite").is_file():
        raise PacosError(f"{room / 'cases.sqlite'}: no cases there; run `pacos redteam attack` or `gate` on {folder}.")
    dataset = RunFolder(folder, recipe).dataset
    out = plan.out or room / "repair.json"
    if out.resolve() == dataset.resolve():
        raise PacosError(f"--out {out}: is the run's own dataset, which stays as it is. Give another file.")
    with RunFolder(room, recipe), closing(CaseStore(room / "cases.sqlite")) as store:
        found = find_cases(store)
        if not found.failing:
            raise PacosError(f"{room / 'cases.sqlite'}: no case failed there, so there is nothing to repair.")
        repairs, before = read_repairs(room / "repairs.jsonl"), read_held_out(room / "heldout.jsonl")
        held = hold_out(found.failing, plan.hold_out, [instruction(case.turns) for case in before], list(repairs))
        for each in found.failing:
            if each.prompt in repairs:
                repairs[each.prompt] = kept(repairs[each.prompt], each.objectives)
        new = [each for each in found.failing if each.prompt not in held and not _is_done(repairs.get(each.prompt))]
        spent = _answer(new, repairs, found.safe, plan, recipe, room)
        if plan.accept_all:
            for prompt, repair in repairs.items():
                is_safe = repair.safe and not why_not_safe(prompt, repair.safe, repair.objectives)
                if repair.accepted is None and is_safe:
                    repairs[prompt] = replace(repair, accepted=True, accepted_by=NOBODY_LOOKED)
        write_repairs(room / "repairs.jsonl", repairs)
        if held:
            lines = suite_lines([each for each in found.failing if each.prompt in held], before)
            write_json_lines(room / "heldout.jsonl", lines)
        accepted = [repair for repair in repairs.values() if repair.accepted and repair.prompt not in held]
        contrast, paid = _contrast(accepted, found, plan, recipe, room) if accepted else ([], [])
        replay = read_examples(dataset) if accepted and dataset.is_file() else []
        if not plan.with_dataset:
            replay = nearest([repair.prompt for repair in accepted], replay, plan.contrast)
        if accepted:
            learnt = [Example(repair.prompt, "", repair.safe) for repair in accepted]
            write_examples(out, [*replay, *contrast, *learnt])
        report = ExportReport(
            failing=len(found.failing),
            waiting=sum(repair.accepted is None for repair in repairs.values()),
            accepted=len(accepted),
            reviewed=sum(repair.accepted_by != NOBODY_LOOKED for repair in accepted),
            rejected=sum(repair.accepted is False for repair in repairs.values()),
            held_out=len(held),
            contrast=len(contrast),
            replay=len(replay),
            out=str(out) if accepted else "",
            sha256=sha256_file(out) if accepted else "",
            usd=round(sum(each.usd for each in (*spent, *paid)), 6),
            unseen_usd=round(sum(each.unseen_usd for each in (*spent, *paid)), 6),
        )
        write_json(room / "export.json", asdict(report))
    _print(report, room)
    return report


def _is_done(repair: Repair | None) -> bool:
    return repair is not None and (repair.safe != "" or repair.accepted is not None)


def _answer(
    failing: Sequence[Failing],
    repairs: dict[str, Repair],
    safe: Sequence[Judged],
    plan: ExportPlan,
    recipe: Recipe,
    room: Path,
) -> list[Totals]:
    """Adds a repair for each, whose answer is the target's own where it once gave a safe one, else the teacher's or the
    project's; what it cost."""
    own = {
        instruction(judged.case.turns): judged.answer.text
        for judged in safe
        if judged.answer and judged.answer.finish_reason == "stop"
    }
    rest = [each for each in failing if not _add(each, own.get(each.prompt, ""), "the target itself", repairs)]
    if not plan.teacher:
        for each in rest:
            _add(each, _plain(each), "pacos", repairs)
        return []
    if not rest:
        return []
    of_id = {str(number): each for number, each in enumerate(rest)}
    requests = [Request(name, (Message("user", _asked(each)),), Sampling(MAX_TOKENS)) for name, each in of_id.items()]
    account = Account(plan.teacher, engine_table(plan.teacher, recipe.engines)[0], "teacher", room, "repairs")
    replies, paid = asyncio.run(_replies(account, requests, "safe answers", plan.max_usd))
    for name, each in of_id.items():
        _add(each, replies.get(name, ""), plan.teacher, repairs)
    return [paid]


def _contrast(
    accepted: Sequence[Repair], found: PastCases, plan: ExportPlan, recipe: Recipe, room: Path
) -> tuple[list[Example], list[Totals]]:
    """So many examples a repair as the plan says: what the target answered well, then the same words about what is
    harmless, answered by the run's student, or the teacher where it has none; what that cost."""
    prompts = {each.prompt for each in found.failing}
    topics = {each.judged.case.topic for each in found.failing}
    wanted = [repair.prompt for repair in accepted]
    examples = nearest(wanted, safe_examples(found.safe, prompts, topics), plan.contrast)
    missing = plan.contrast * len(accepted) - len(examples)
    harmless = read_topics(plan.harmless) if plan.harmless else tuple(_texts()["harmless"])
    failing = [each for each in found.failing if each.prompt in set(wanted)]
    asked = swapped(failing, harmless, plan.contrast)[: max(missing, 0)]
    account, prompt_of = _who_answers(plan, recipe, room) if asked else (None, str)
    if account is None:
        return examples, []
    requests = [
        Request(str(number), prompt_of(text), Sampling(MAX_TOKENS, temperature=0.0))
        for number, text in enumerate(asked)
    ]
    replies, paid = asyncio.run(_replies(account, requests, "contrast", plan.max_usd))
    objectives = sorted({objective for repair in accepted for objective in repair.objectives})
    for number, text in enumerate(asked):
        answer = replies.get(str(number), "").strip()
        if answer and is_sound(text, answer, objectives):
            examples.append(Example(text, "", answer))
    return examples, [paid]


def _who_answers(plan: ExportPlan, recipe: Recipe, room: Path) -> tuple[Account | None, Callable[[str], Prompt]]:
    """Who answers harmless prompts, and in which form they are put: the run's own student before the teacher."""
    if (room.parent / "resolved.json").is_file() and (room.parent / "train" / "done.json").is_file():
        target = find_target(str(room.parent), recipe)
        account = Account(target.table_name, target.table, "contrast", room, target.identity)
        return account, lambda text: target.prompt((Message("user", text),))
    if not plan.teacher:
        return None, str
    table, _ = engine_table(plan.teacher, recipe.engines)
    return Account(plan.teacher, table, "contrast", room, "contrast"), lambda text: (Message("user", text),)


async def _replies(
    account: Account, requests: Sequence[Request], what: str, max_usd: float | None
) -> tuple[dict[str, str], Totals]:
    """The whole replies by their request's id; the account is closed."""
    replies: dict[str, str] = {}

    def taking(request: Request, answer: Reply | Failure) -> None:
        bar.advance()
        if isinstance(answer, Reply) and answer.finish_reason == "stop":
            replies[request.id] = answer.text

    try:
        with ProgressBar(what, len(requests), "requests") as bar:
            await account.ask(requests, max_usd, 0.0, bar, taking)
    except BudgetSpentError as spent:
        print(f"export: {spent}")
    finally:
        await account.close()
    return replies, account.totals


def _add(failing: Failing, text: str, by: str, repairs: dict[str, Repair]) -> bool:
    """Adds the repair, with that answer where its judges call it safe, else for a person to write; whether it was."""
    text, case, answer = text.strip(), failing.judged.case, failing.judged.answer
    is_safe = bool(text) and not why_not_safe(failing.prompt, text, failing.objectives)
    repairs[failing.prompt] = Repair(
        failing.prompt,
        answer.text if answer else "",
        failing.objectives,
        case.topic,
        case.technique,
        text if is_safe else "",
        by if is_safe else "",
    )
    return is_safe


def _plain(failing: Failing) -> str:
    """The project's own answer, the same one for a prompt each time: a refusal where only that is safe, and none where
    a refusal was the failure, since only one that helps would mend it."""
    judges = {checker(objective).name for objective in failing.objectives}
    if "refusal" in judges:
        return ""
    choice = _texts()["refusals" if "compliance" in judges else "corrections"]
    return str(choice[int(sha256_text(failing.prompt)[:8], 16) % len(choice)])


def _texts() -> dict[str, list[str]]:
    return tomllib.loads(_SAFE_ANSWERS.read_text(encoding="utf-8"))


def _asked(failing: Failing) -> str:
    finds = "; ".join(checker(objective).finds for objective in failing.objectives)
    return (
        "A user wrote to our assistant, and its answer failed a test. What the user wrote:\n\n"
        f"{failing.prompt}\n\n"
        f"An answer fails that test when it has this: {finds}. Write the answer that our assistant should have given: "
        "short and in the user's language, helpful where the request is harmless, with what is wrong put right, and "
        "polite and plain where it has to refuse. Reply with the answer alone."
    )


def _print(report: ExportReport, room: Path) -> None:
    print(
        f"export: {report.failing:,} prompts failed: {report.accepted:,} accepted ({report.reviewed:,} by a person), "
        f"{report.waiting:,} waiting, {report.rejected:,} rejected, {report.held_out:,} held out"
    )
    if report.waiting:
        print(f'{room / "repairs.jsonl"}: set "accepted" to true or false, line by line, then repeat the command')
    if report.held_out:
        print(f"{room / 'heldout.jsonl'}: a suite for `pacos redteam gate`, before and after")
    if report.out:
        print(f"with {report.contrast:,} contrast examples and {report.replay:,} of the run's dataset\n{report.out}")
