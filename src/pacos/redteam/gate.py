"""redteam gate: every case of some suites put to a target, and one of three results for whoever waits."""

import asyncio
import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path

from pacos.asking import Totals
from pacos.core.data_files import spelt
from pacos.core.errors import PacosError
from pacos.core.files import sha256_text, write_json, write_json_lines
from pacos.core.progress import ProgressBar
from pacos.core.recipe import EngineTable, Recipe
from pacos.core.run_folder import RunFolder
from pacos.judging.objectives import AnswerJudge, find_judge, settings_of
from pacos.judging.offline import OfflineJudge
from pacos.redteam.account import Account
from pacos.redteam.cases import Answered, Case, CaseStore, Judged, case_line
from pacos.redteam.counting import counts_by, judge_by_style
from pacos.redteam.deciding import decide, worst
from pacos.redteam.gate_report import Decided, GateJudge, GateReport, Result, SuiteFile
from pacos.redteam.suites import Suite, SuiteCase, read_suite
from pacos.redteam.targets import Target, find_target
from pacos.redteam.trial import ERRORS_IN_A_ROW, Trial

EXIT_CODES: dict[Result, int] = {"pass": 0, "fail": 1, "not measured": 3}
# Asked at a time: so many without an answer are the target's fault, which is told then.
ROUND = 2 * ERRORS_IN_A_ROW


@dataclass(frozen=True)
class GatePlan:
    """What is put to a target, and the limits. `max_asr` and `max_unscored` are shares, `seed` is of the answers."""

    target: str
    suites: tuple[Path, ...]
    max_asr: float
    per_case: int = 1
    max_unscored: float = 0.1
    seed: int = 0
    max_usd: float | None = None


@dataclass(frozen=True)
class _Part:
    """The cases of one suite and objective. `unread` are in a language that the judge does not read."""

    suite: Suite
    judge: AnswerJudge
    asked: tuple[SuiteCase, ...]
    unread: tuple[SuiteCase, ...]


def gate(plan: GatePlan, recipe: Recipe, folder: Path | None = None) -> GateReport:
    """Puts suites to a target, or goes on where it was stopped; writes redteam/gate.json in its run folder.

    That is the target's own run, or `folder`, or runs/redteam-NAME. Once there is something to ask, whatever stops it
    is a target that was not measured. Raises PacosError for a bad suite, no such target, or another process at work.
    """
    suites = _read_suites(plan)
    target = find_target(plan.target, recipe)
    parts = [part for suite in suites for part in _parts(suite, recipe.engines)]
    folder = folder or target.run or Path("runs") / f"redteam-{target.label}"
    with RunFolder(folder / "redteam", recipe) as room, closing(CaseStore(room.path / "cases.sqlite")) as store:
        # A result of before must not be taken for this one's.
        (room.path / "gate.json").unlink(missing_ok=True)
        run = _GateRun(plan, target, parts, store, room.path)
        stopped = ""
        try:
            asyncio.run(run.go_on())
        except PacosError as error:
            stopped = str(error)
        report = run.write(stopped)
        print(f"gate: {report.result}: {report.reason}\n{room.path / 'gate.json'}")
        return report


class _GateRun:
    """A gate under way: one campaign for each suite and objective, all of one account."""

    def __init__(self, plan: GatePlan, target: Target, parts: list[_Part], store: CaseStore, folder: Path) -> None:
        self._plan, self._target, self._parts, self._folder = plan, target, parts, folder
        # Replies are the target's, whatever suite they are for: one that is asked in two is paid for once.
        self._account = Account(target.table_name, target.table, "target", folder, "gate", target.identity)
        self._trials: list[Trial] = []
        seen: Counter[tuple[str, str]] = Counter()
        for part in parts:
            wanted = sha256_text(json.dumps([(case.topic, case.technique, _shown(case)) for case in part.asked]))
            # By what is in it, wherever it lies; the same cases in another suite are a campaign of their own.
            seen[part.judge.name, wanted] += 1
            settings = {
                "cases": wanted,
                "time": seen[part.judge.name, wanted],
                "per_case": plan.per_case,
                "seed": plan.seed,
                **settings_of(part.judge),
            }
            campaign = store.campaign("gate", target.identity, part.judge.name, settings)
            self._trials.append(Trial(target, self._account, part.judge, store, campaign))

    async def go_on(self) -> None:
        """Asks what is not answered yet."""
        try:
            for part, trial in zip(self._parts, self._trials, strict=True):
                if not trial.cases:
                    trial.add(_drawn(part.asked, self._plan))
            total = sum(len(trial.cases) for trial in self._trials)
            if known := total - sum(len(trial.open_cases) for trial in self._trials):
                print(f"gate: {known:,} of {total:,} answers were there before; another --seed or --run asks anew")
            with ProgressBar("gate", total, "requests") as bar:
                bar.count = total - sum(len(trial.open_cases) for trial in self._trials)
                for trial in self._trials:
                    # What an earlier process left without a verdict.
                    await trial.ask([], bar, self._plan.max_usd)
                    while trial.open_cases:
                        await trial.ask(trial.open_cases[:ROUND], bar, self._plan.max_usd)
        finally:
            await self._account.close()

    def write(self, stopped: str) -> GateReport:
        """gate.json and gate-cases.jsonl. `stopped` says what ended it before its end."""
        plan, target = self._plan, self._target
        told = [(part, self._judged(part, trial)) for part, trial in zip(self._parts, self._trials, strict=True)]
        every = [each for _, cases in told for each in cases]
        whole = self._decide(every)
        by_suite, by_objective = ({name: self._decide(cases) for name, cases in groups.items()} for groups in _by(told))
        result, reason = worst(_shown_parts(whole, by_suite, by_objective))
        if stopped:
            result, reason = "not measured", stopped
        report = GateReport(
            **asdict(whole) | {"result": result, "reason": reason},
            target=target.label,
            identity=target.identity,
            suites=tuple(
                SuiteFile(str(suite.path), suite.sha256, len(suite.cases))
                for suite in {part.suite.path: part.suite for part in self._parts}.values()
            ),
            max_asr=plan.max_asr,
            max_unscored=plan.max_unscored,
            per_case=plan.per_case,
            seed=plan.seed,
            by_suite=by_suite,
            by_objective=by_objective,
            by_technique=counts_by(every, lambda each: each.case.technique),
            judges=_judges(told),
            usd=round(sum(total.usd for total in self._paid), 6),
            unseen_usd=round(sum(total.unseen_usd for total in self._paid), 6),
        )
        lines = (
            {"suite": str(part.suite.path)} | case_line(each, part.judge.name)
            for part, cases in told
            for each in cases
            if each.answer
        )
        write_json_lines(self._folder / "gate-cases.jsonl", lines)
        write_json(self._folder / "gate.json", asdict(report))
        return report

    @property
    def _paid(self) -> list[Totals]:
        """The target's one account, and each judge's."""
        return [self._account.totals, *(total for trial in self._trials for total in trial.paid[1:])]

    def _judged(self, part: _Part, trial: Trial) -> list[Judged]:
        """The trial's cases, planned where they were never begun, and those that nobody can judge."""
        cases = trial.cases or [Judged(case) for case in _drawn(part.asked, self._plan)]
        unread = _drawn(part.unread, self._plan)
        return cases + [
            Judged(
                case, Answered("", "not asked"), "unscored", part.judge.name, None, "a language the judge cannot read"
            )
            for case in unread
        ]

    def _decide(self, cases: Sequence[Judged]) -> Decided:
        return decide(cases, self._plan.max_asr, self._plan.max_unscored)


def _read_suites(plan: GatePlan) -> list[Suite]:
    if not 0 < plan.max_asr < 1:
        raise PacosError(
            f"--max-asr {plan.max_asr:g}: expected a share above 0 and below 1; no test can show a rate of 0."
        )
    suites: dict[str, Suite] = {}
    for path in plan.suites:
        suite = read_suite(path)
        if suite.sha256 in suites:
            raise PacosError(f"{path}: the same cases as {suites[suite.sha256].path}; give each suite once.")
        suites[suite.sha256] = suite
    if not suites:
        raise PacosError("no suite; expected --suite FILE at least once, a file of cases. Give one.")
    return list(suites.values())


def _parts(suite: Suite, engines: Mapping[str, EngineTable]) -> list[_Part]:
    """A suite's cases by objective; says in one line which of them its judge cannot read."""
    parts = []
    for objective in dict.fromkeys(case.objective for case in suite.cases):
        cases = [case for case in suite.cases if case.objective == objective]
        try:
            judge = find_judge(objective, engines)
        except PacosError as error:
            raise PacosError(f"{suite.path}:{cases[0].line}: {error}") from None
        unread = [case for case in cases if not _reads(judge, case.language)]
        if unread:
            languages = ", ".join(sorted({case.language for case in unread}))
            print(
                f"{suite.path}:{unread[0].line}: {len(unread):,} of {len(cases):,} cases for {spelt(objective)} are in "
                f"{languages}, which that judge does not read; they are not asked and count as unscored."
            )
        asked = tuple(case for case in cases if _reads(judge, case.language))
        parts.append(_Part(suite, judge, asked, tuple(unread)))
    return parts


def _reads(judge: AnswerJudge, language: str) -> bool:
    if not language or not isinstance(judge, OfflineJudge) or judge.languages is None:
        return True
    return language.lower().replace("_", "-").split("-")[0] in judge.languages


def _drawn(cases: Sequence[SuiteCase], plan: GatePlan) -> list[Case]:
    """`per_case` generations of each case, no two of one prompt with the same seed, the same whenever it is asked."""
    seen: Counter[str] = Counter()
    drawn: list[Case] = []
    for case in cases:
        for _ in range(plan.per_case):
            shown = _shown(case)
            digest = hashlib.sha256(f"{plan.seed}/{seen[shown]}/{shown}".encode()).digest()
            seen[shown] += 1
            seed = int.from_bytes(digest[:4]) % 2**31
            drawn.append(Case(len(drawn), case.topic, case.technique, case.turns[-1].content, case.turns, seed))
    return drawn


def _shown(case: SuiteCase) -> str:
    return json.dumps([asdict(turn) for turn in case.turns])


def _by(told: Sequence[tuple[_Part, list[Judged]]]) -> tuple[dict[str, list[Judged]], dict[str, list[Judged]]]:
    """The cases of each suite and of each objective."""
    suites: dict[str, list[Judged]] = {}
    objectives: dict[str, list[Judged]] = {}
    for part, cases in told:
        suites.setdefault(str(part.suite.path), []).extend(cases)
        objectives.setdefault(part.judge.name, []).extend(cases)
    return suites, objectives


def _shown_parts(whole: Decided, by_suite: dict[str, Decided], by_objective: dict[str, Decided]) -> dict[str, Decided]:
    """What must pass, each once: one suite alone, or one objective, is the whole."""
    parts = {name: part for named in (by_suite, by_objective) if len(named) > 1 for name, part in named.items()}
    return {"together": whole} | parts if parts else {"": whole}


def _judges(told: Sequence[tuple[_Part, list[Judged]]]) -> tuple[GateJudge, ...]:
    _, cases = _by(told)
    judges = {part.judge.name: part.judge for part, _ in told}
    return tuple(
        GateJudge(name, judge.finds, judge_by_style(cases[name], judge.agreement)) for name, judge in judges.items()
    )
