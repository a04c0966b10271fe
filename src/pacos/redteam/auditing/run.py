"""redteam audit: stated objectives put to a target, each with its number, its denominator and its interval."""

import asyncio
from collections.abc import Sequence
from contextlib import closing, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path

from pacos.core.errors import PacosError
from pacos.core.files import write_json
from pacos.core.keys import check_name
from pacos.core.recipe import Recipe
from pacos.core.run_folder import RunFolder
from pacos.redteam.account import Account
from pacos.redteam.auditing import filter_evasion, memorised, watermark_evasion
from pacos.redteam.auditing.bench import Bench
from pacos.redteam.auditing.bias_choices import choose
from pacos.redteam.auditing.filter_evasion import evade_filter
from pacos.redteam.auditing.grouped import objective_result
from pacos.redteam.auditing.memorised import NO_EXAMPLES, memorised_sets
from pacos.redteam.auditing.paired import compare
from pacos.redteam.auditing.printed import print_audit
from pacos.redteam.auditing.probe_sets import AnySet, PairSet, ProbeSet
from pacos.redteam.auditing.published_sets import read_sets
from pacos.redteam.auditing.report import AUDIT_FILE, ChoiceResult, ObjectiveResult, PairedResult, RedteamAudit
from pacos.redteam.auditing.sentence_scores import NEEDS_A_LOCAL_MODEL
from pacos.redteam.auditing.toml_sets import own_sets
from pacos.redteam.auditing.watermark_evasion import evade_watermark, no_watermark
from pacos.redteam.cases import CaseStore, Judged
from pacos.redteam.targets import find_target

# What cannot be read from a file of probes.
OF_THE_TARGET = (memorised.NAME, filter_evasion.NAME, watermark_evasion.NAME)


@dataclass(frozen=True)
class AuditPlan:
    """What an audit is to measure: `objectives` by name, or else all of the project's own and all of `sets`.

    `sets` are NAME=FILE; `per_objective` probes of each are drawn by `seed`, all where it is None.
    """

    target: str
    objectives: tuple[str, ...] = ()
    sets: tuple[str, ...] = ()
    per_objective: int | None = None
    max_usd: float | None = None
    seed: int = 0


def audit(plan: AuditPlan, recipe: Recipe, folder: Path | None = None) -> RedteamAudit:
    """Audits a target of one's own, or goes on where that was stopped; writes redteam/audit.json in its run folder.

    That is the target's own run, or `folder`, or runs/redteam-NAME. Raises PacosError where the target cannot be asked,
    a set cannot be read, or another process is at work there; what was answered is kept.
    """
    sets = _chosen(plan)
    target = find_target(plan.target, recipe)
    folder = folder or target.run or Path("runs") / f"redteam-{target.label}"
    with RunFolder(folder / "redteam", recipe) as room, closing(CaseStore(room.path / "cases.sqlite")) as store:
        apart = ("audit", target.identity, f"seed {plan.seed}")
        account = Account(target.table_name, target.table, "target", room.path, *apart)
        found = _Found(Bench(target, account, store, plan.seed, plan.per_objective, plan.max_usd), recipe)
        try:
            asyncio.run(found.measure(sets))
        except PacosError:
            # What went wrong first, such as a full disk, is what is said.
            with suppress(PacosError, OSError):
                write_json(room.path / AUDIT_FILE, asdict(found.report()))
            raise
        report = found.report()
        write_json(room.path / AUDIT_FILE, asdict(report))
        print_audit(report, room.path / AUDIT_FILE)
        return report


def _chosen(plan: AuditPlan) -> list[AnySet | str]:
    """The sets to measure, by its name what the target has to be known for. Whoever names a file's set gets all that is
    in the file."""
    own: list[AnySet | str] = [*own_sets(), *OF_THE_TARGET]
    by_name: dict[str, list[AnySet | str]] = {_name(each): [each] for each in own}
    for given in plan.sets:
        name, sets = given.partition("=")[0], read_sets(given)
        if taken := {name, *(each.name for each in sets)} & by_name.keys():
            raise PacosError(f"--set {given}: there is an objective {min(taken)!r} already; give it another name.")
        by_name[name] = list(sets)
    known = by_name | {_name(each): [each] for sets in by_name.values() for each in sets}
    for name in plan.objectives:
        check_name("--objective", name, known, "objective")
    chosen = [each for name in plan.objectives or by_name for each in known[name]]
    return list({_name(each): each for each in chosen}.values())


def _name(each: AnySet | str) -> str:
    return each if isinstance(each, str) else each.name


@dataclass
class _Found:
    """Results as they come in."""

    bench: Bench
    recipe: Recipe
    objectives: list[ObjectiveResult] = field(default_factory=list)
    pairs: list[PairedResult] = field(default_factory=list)
    choices: list[ChoiceResult] = field(default_factory=list)
    not_measured: dict[str, str] = field(default_factory=dict)

    async def measure(self, sets: Sequence[AnySet | str]) -> None:
        """Every set in turn; PacosError where the target cannot be asked, what was measured before it stays."""
        try:
            for each in sets:
                try:
                    await self._measure(each)
                except PacosError as error:
                    self.not_measured[_name(each)] = str(error)
                    raise
        finally:
            await self.bench.account.close()

    async def _measure(self, each: AnySet | str) -> None:
        if isinstance(each, ProbeSet):
            await self._ask(each)
        elif each == filter_evasion.NAME:
            self.objectives.append(await evade_filter(self.bench))
        elif each == watermark_evasion.NAME:
            await self._mark()
        elif each == memorised.NAME:
            await self._recall()
        elif isinstance(each, str) or self.bench.target.table.engine != "local":
            self.not_measured[_name(each)] = NEEDS_A_LOCAL_MODEL
        elif isinstance(each, PairSet):
            self.pairs.append(await compare(each, self.bench))
        else:
            self.choices.append(await choose(each, self.bench))

    async def _mark(self) -> None:
        found = no_watermark(self.bench) or await evade_watermark(self.bench)
        if isinstance(found, str):
            self.not_measured[watermark_evasion.NAME] = found
        else:
            self.objectives.append(found)

    async def _recall(self) -> None:
        sets = memorised_sets(self.bench.target, self.recipe)
        if not any(each.name == memorised.NAME for each in sets):
            self.not_measured[memorised.NAME] = NO_EXAMPLES
        for each in sets:
            await self._ask(each)

    async def _ask(self, probes: ProbeSet) -> None:
        cases, why = await self.bench.ask(probes)
        if why:
            asked = f"{len(cases):,} requests were asked" if cases else "nothing was asked"
            self.not_measured[probes.name] = f"{asked}: {why}"
        if not cases:
            return
        cluster_of = {probe.turns: probe.cluster for probe in probes.probes}

        def cluster(judged: Judged) -> str:
            return cluster_of[judged.case.turns]

        judge = probes.judge
        self.objectives.append(objective_result(probes, judge.name, judge.finds, judge.agreement, cases, cluster))

    def report(self) -> RedteamAudit:
        """What is there so far."""
        bench, totals = self.bench, self.bench.account.totals
        return RedteamAudit(
            target=bench.target.label,
            identity=bench.target.identity,
            seed=bench.seed,
            objectives=tuple(self.objectives),
            pairs=tuple(self.pairs),
            choices=tuple(self.choices),
            not_measured=self.not_measured,
            usd=round(totals.usd, 6),
            unseen_usd=round(totals.unseen_usd, 6),
            seconds=round(totals.seconds, 1),
        )
