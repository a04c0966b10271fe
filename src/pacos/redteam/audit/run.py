"""redteam audit: stated objectives put to a target, each with its number, its denominator and its interval."""

import asyncio
from collections.abc import Sequence
from contextlib import closing, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path

from pacos.asking import BudgetSpentError
from pacos.core.errors import PacosError
from pacos.core.files import write_json
from pacos.core.keys import check_name
from pacos.core.progress import ProgressBar
from pacos.core.recipe import Recipe
from pacos.core.run_folder import RunFolder
from pacos.redteam.account import Account
from pacos.redteam.audit.printed import print_audit
from pacos.redteam.audit.probe_sets import PairSet, ProbeSet, own_sets
from pacos.redteam.audit.report import AUDIT_FILE, AuditReport, ChoiceResult, ObjectiveResult, PairedResult
from pacos.redteam.cases import CaseStore, Judged
from pacos.redteam.counting import count, judge_by_style
from pacos.redteam.targets import Target, find_target
from pacos.redteam.trial import ERRORS_IN_A_ROW, Trial

AnySet = ProbeSet | PairSet


@dataclass(frozen=True)
class AuditPlan:
    """What an audit is to measure: `objectives` by name, all of the project's own where none is named.

    `per_objective` probes of each, drawn by `seed`; None means all.
    """

    target: str
    objectives: tuple[str, ...] = ()
    per_objective: int | None = None
    max_usd: float | None = None
    seed: int = 0


def audit(plan: AuditPlan, recipe: Recipe, folder: Path | None = None) -> AuditReport:
    """Audits a target of one's own, or goes on where that was stopped; writes redteam/audit.json in its run folder.

    That is the target's own run, or `folder`, or runs/redteam-NAME. Raises PacosError where the target cannot be asked,
    a set cannot be read, or another process is at work there; what was answered is kept.
    """
    sets = _chosen(plan)
    target = find_target(plan.target, recipe)
    folder = folder or target.run or Path("runs") / f"redteam-{target.label}"
    with RunFolder(folder / "redteam", recipe) as room, closing(CaseStore(room.path / "cases.sqlite")) as store:
        account = Account(
            target.table_name, target.table, "target", room.path, "audit", target.identity, f"seed {plan.seed}"
        )
        bench = _Bench(plan, target, account, store)
        try:
            asyncio.run(bench.go_on(sets))
        except PacosError:
            # What went wrong first, such as a full disk, is what is said.
            with suppress(PacosError, OSError):
                write_json(room.path / AUDIT_FILE, asdict(bench.report()))
            raise
        report = bench.report()
        write_json(room.path / AUDIT_FILE, asdict(report))
        print_audit(report, room.path / AUDIT_FILE)
        return report


def _chosen(plan: AuditPlan) -> list[AnySet]:
    sets = own_sets()
    if not plan.objectives:
        return sets
    known = {each.name: each for each in sets}
    for name in plan.objectives:
        check_name("--objective", name, known, "objective")
    return [known[name] for name in dict.fromkeys(plan.objectives)]


@dataclass
class _Bench:
    """An audit under way: results as they come in."""

    plan: AuditPlan
    target: Target
    account: Account
    store: CaseStore
    objectives: list[ObjectiveResult] = field(default_factory=list)
    pairs: list[PairedResult] = field(default_factory=list)
    choices: list[ChoiceResult] = field(default_factory=list)
    not_measured: dict[str, str] = field(default_factory=dict)

    async def go_on(self, sets: Sequence[AnySet]) -> None:
        """Every set in turn; once the money is spent, those that cost any are not measured."""
        try:
            for each in sets:
                if isinstance(each, ProbeSet):
                    await self._ask(each)
        finally:
            await self.account.close()

    def report(self) -> AuditReport:
        totals = self.account.totals
        return AuditReport(
            target=self.target.label,
            identity=self.target.identity,
            seed=self.plan.seed,
            objectives=tuple(self.objectives),
            pairs=tuple(self.pairs),
            choices=tuple(self.choices),
            not_measured=self.not_measured,
            usd=round(totals.usd, 6),
            unseen_usd=round(totals.unseen_usd, 6),
            seconds=round(totals.seconds, 1),
        )

    async def _ask(self, probes: ProbeSet) -> None:
        settings = {"set": probes.content, "seed": self.plan.seed}
        campaign = self.store.campaign("audit", self.target.identity, probes.name, settings)
        trial = Trial(self.target, self.account, probes.judge, self.store, campaign, probes.sampling)
        # Of what is stored already the first N are the sample of N.
        wanted = probes.cases(self.plan.seed)[: self.plan.per_objective]
        trial.add(wanted[len(trial.cases) :])
        open_cases = [case for case in trial.open_cases if case.number < len(wanted)]
        try:
            with ProgressBar(f"audit {probes.name}", len(wanted), "requests") as bar:
                bar.count = len(wanted) - len(open_cases)
                for start in range(0, len(open_cases), ERRORS_IN_A_ROW):
                    await trial.ask(open_cases[start : start + ERRORS_IN_A_ROW], bar, self.plan.max_usd)
        except BudgetSpentError as spent:
            self.not_measured[probes.name] = f"not whole: {spent}"
        answered = [each for each in trial.cases[: len(wanted)] if each.answer]
        if answered:
            self.objectives.append(_result(probes, answered))


def _result(probes: ProbeSet, cases: Sequence[Judged]) -> ObjectiveResult:
    """The counts of a set; phrasings of one question are a cluster, except where that is all there is."""

    def question(judged: Judged) -> str:
        return probes.questions[judged.case.turns]

    groups = {
        name: [each for each in cases if each.case.topic == name]
        for name in dict.fromkeys(each.case.topic for each in cases)
    }
    return ObjectiveResult(
        **asdict(count(cases, question)),
        name=probes.name,
        about=probes.about,
        failure=probes.failure,
        judge=probes.judge.name,
        judge_finds=probes.judge.finds,
        judge_by_style=judge_by_style(cases, probes.judge.agreement),
        source=probes.source,
        sha256=probes.sha256,
        by_group={
            name: count(group, question) if len(set(map(question, group))) > 1 else count(group)
            for name, group in sorted(groups.items())
        },
    )
