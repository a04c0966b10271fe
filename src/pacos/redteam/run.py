"""redteam attack: propose, convert, ask, judge, learn, until the requests or the money are used up."""

import asyncio
from contextlib import closing, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from pacos.asking import BudgetSpentError
from pacos.core.errors import PacosError
from pacos.core.files import sha256_text, write_json, write_json_lines
from pacos.core.progress import ProgressBar
from pacos.core.recipe import EngineTable, Recipe
from pacos.core.run_folder import RunFolder
from pacos.engines import Failure, Message, Reply, Request, Sampling, engine_table
from pacos.judging.objectives import AnswerJudge, find_judge, settings_of
from pacos.redteam.account import Account
from pacos.redteam.cases import Case, CaseStore, case_line
from pacos.redteam.counting import count, counts_by, judge_by_style, right_in
from pacos.redteam.forecasting import expected_hits, forecast_line
from pacos.redteam.nearness import Nearness, find_nearness
from pacos.redteam.proposing import Proposals, load_templates, read_topics
from pacos.redteam.report import RedteamReport
from pacos.redteam.targets import Target, find_target
from pacos.redteam.trial import MAX_TOKENS, Trial

# What is asked before the search learns again.
ROUND = 8


@dataclass(frozen=True)
class AttackPlan:
    """What an attack is to do. `proposer` names an engine that writes wordings of its own; empty means none."""

    target: str
    objective: str
    max_requests: int
    max_usd: float | None = None
    topics: Path | None = None
    seed: int = 0
    proposer: str = ""


def attack(plan: AttackPlan, recipe: Recipe, folder: Path | None = None) -> RedteamReport:
    """Attacks a target of one's own, or goes on where it was stopped; writes redteam/ in its run folder.

    That is the target's own run, or `folder`, or runs/redteam-NAME. Raises PacosError where the target cannot be asked,
    no judge scores the objective, or another process is at work there; what was answered is kept.
    """
    judge, templates = find_judge(plan.objective, recipe.engines), load_templates()
    topics = read_topics(plan.topics) if plan.topics else templates.topics
    target = find_target(plan.target, recipe)
    proposer = engine_table(plan.proposer, recipe.engines)[0] if plan.proposer else None
    folder = folder or target.run or Path("runs") / f"redteam-{target.label}"
    with RunFolder(folder / "redteam", recipe) as room, closing(CaseStore(room.path / "cases.sqlite")) as store:
        settings = {
            "topics": sha256_text("\n".join(topics)),
            "templates": sha256_text("\n".join(templates.texts.values())),
            "seed": plan.seed,
            "proposer": plan.proposer,
            **settings_of(judge),
        }
        campaign = store.campaign("attack", target.identity, plan.objective, settings)
        proposals = Proposals(topics, templates.texts, plan.seed, has_engine=proposer is not None)
        nearness = find_nearness(target, plan.objective)
        hunt = _Hunt(plan, target, proposer, judge, nearness, proposals, store, campaign, room.path)
        try:
            asyncio.run(hunt.go_on())
        except BudgetSpentError as spent:
            print(f"attack: {spent}")
        except PacosError:
            # What went wrong first, such as a full disk, is what is said.
            with suppress(PacosError, OSError):
                hunt.write(len(topics))
            raise
        report = hunt.write(len(topics))
        _print(report, room.path)
        return report


class _Hunt:
    """An attack under way, in rounds: all of a round is proposed before any of it is learnt from."""

    def __init__(
        self,
        plan: AttackPlan,
        target: Target,
        proposer: EngineTable | None,
        judge: AnswerJudge,
        nearness: Nearness | None,
        proposals: Proposals,
        store: CaseStore,
        campaign: int,
        folder: Path,
    ) -> None:
        self._plan, self._target, self._proposals = plan, target, proposals
        self._folder, self._nearness = folder, nearness
        own = f"campaign {campaign}"
        self._account = Account(target.table_name, target.table, "target", folder, own, target.identity)
        self._proposer = Account(plan.proposer, proposer, "proposer", folder, own) if proposer else None
        self._trial = Trial(target, self._account, judge, store, campaign)
        self._num_learnt = 0

    async def go_on(self) -> None:
        """Rounds, until so many requests are answered; what an earlier process left open comes first."""
        for each in self._trial.cases:
            self._proposals.asked(each.case)
        try:
            with ProgressBar("attack", self._plan.max_requests, "requests") as bar:
                bar.count = len(self._trial.cases) - len(self._trial.open_cases)
                await self._ask([], bar)
                self._learn()
                while (missing := self._plan.max_requests - bar.count) > 0:
                    asked = self._trial.open_cases or await self._propose(min(ROUND, missing), bar)
                    await self._ask(asked[:missing], bar)
                    self._learn()
        finally:
            await self._account.close()
            if self._proposer:
                await self._proposer.close()

    def write(self, num_topics: int) -> RedteamReport:
        """cases.jsonl and report.json, of this attack alone."""
        asked = [each for each in self._trial.cases if each.answer]
        paid = [*self._trial.paid, *([self._proposer.totals] if self._proposer else [])]
        by_topic = counts_by(asked, lambda each: each.case.topic)
        report = RedteamReport(
            **asdict(count(asked)),
            target=self._target.label,
            identity=self._target.identity,
            objective=self._plan.objective,
            judge=self._trial.judge.name,
            judge_finds=self._trial.judge.finds,
            judge_by_style=judge_by_style(asked, self._trial.judge.agreement),
            seed=self._plan.seed,
            topics=num_topics,
            topics_hit=sum(counts.hits > 0 for counts in by_topic.values()),
            usd=round(sum(total.usd for total in paid), 6),
            unseen_usd=round(sum(total.unseen_usd for total in paid), 6),
            by_technique=counts_by(asked, lambda each: each.case.technique),
            by_topic=by_topic,
            forecast=expected_hits(asked),
        )
        write_json_lines(self._folder / "cases.jsonl", (case_line(each, self._plan.objective) for each in asked))
        write_json(self._folder / "report.json", asdict(report))
        return report

    async def _propose(self, wanted: int, bar: ProgressBar) -> list[Case]:
        """The next cases, stored before they are asked."""
        drafts = [self._proposals.draft(len(self._trial.cases) + place) for place in range(wanted)]
        replies: dict[str, str] = {}

        def taking(request: Request, answer: Reply | Failure) -> None:
            replies[request.id] = answer.text if isinstance(answer, Reply) else ""

        asked = [
            Request(str(draft.number), (Message("user", draft.request),), Sampling(MAX_TOKENS, seed=draft.number))
            for draft in drafts
            if draft.request
        ]
        if self._proposer and asked:
            others = sum(total.usd for total in self._trial.paid)
            await self._proposer.ask(asked, self._plan.max_usd, others, bar, taking)
        cases = [self._proposals.case(draft, replies.get(str(draft.number), "")) for draft in drafts]
        self._trial.add(cases)
        return cases

    async def _ask(self, cases: list[Case], bar: ProgressBar) -> None:
        near = await self._nearness.of_cases(self._account, cases) if self._nearness and cases else {}
        others = self._proposer.totals.usd if self._proposer else 0.0
        await self._trial.ask(cases, bar, self._plan.max_usd, others, near)

    def _learn(self) -> None:
        """From the verdicts that are in, in the order of their cases, so that a killed attack learns the same."""
        for each in self._trial.cases[self._num_learnt :]:
            if each.answer is None:
                return
            self._proposals.learn(each)
            self._num_learnt += 1


def _print(report: RedteamReport, folder: Path) -> None:
    rate = "no rate" if report.rate is None else f"{report.rate:.1%}"
    interval = f" (95% interval {report.interval[0]:.1%} to {report.interval[1]:.1%})" if report.interval else ""
    print(
        f"attack: {report.hits:,} hits of {report.scored:,} scored, {rate}{interval}, on {report.topics_hit:,} of "
        f"{report.topics:,} topics; {report.requests:,} requests, {report.unscored:,} unscored, {report.errors:,} "
        f"errors; ${report.usd:.4f}"
    )
    if line := forecast_line(report.forecast):
        print(line)
    print(f"judge {report.judge}: finds {report.judge_finds}{_quality(report)}\n{folder / 'cases.jsonl'}")


def _quality(report: RedteamReport) -> str:
    """How good the judge is on answers that it was not tuned on, from the worst style to the best."""
    right, styles = right_in(report.judge_by_style), [each for each in report.judge_by_style if not each.tuned_on]
    if not right:
        return ""
    rates = sorted(each.corrected_rate for each in styles if each.corrected_rate is not None)
    corrected = f"; corrected for its errors {rates[0]:.1%} to {rates[-1]:.1%}" if rates else "; no corrected rate"
    return f"; {right}{corrected} (report.json has each)"
