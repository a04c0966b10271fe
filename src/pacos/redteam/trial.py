"""A trial: cases put to one target and judged, each verdict on disk before anything is learnt from it."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Literal

from pacos.asking import BudgetSpentError, Totals
from pacos.core.errors import PacosError
from pacos.core.progress import ProgressBar
from pacos.engines import Failure, Reply, Request, Sampling
from pacos.judging.engine_judges import EngineJudge
from pacos.judging.objectives import AnswerJudge
from pacos.judging.offline import OfflineJudge, Scored, empty
from pacos.redteam.account import Account
from pacos.redteam.cases import Answered, Case, CaseStore, Judged
from pacos.redteam.targets import Target

MAX_TOKENS, TEMPERATURE = 200, 0.7
DRAWN = Sampling(MAX_TOKENS, TEMPERATURE)
# So many in a row without an answer are the target's fault, and no further request would do better.
ERRORS_IN_A_ROW = 24


class Trial:
    """One campaign of a target with one judge. `cases` are all of it by number, those of an earlier process, too.

    A judge that is an engine has an account beside the target's, which is closed with it.
    """

    def __init__(
        self,
        target: Target,
        account: Account,
        judge: AnswerJudge,
        store: CaseStore,
        campaign: int,
        sampling: Sampling = DRAWN,
    ) -> None:
        self._target, self._account, self.judge, self._sampling = target, account, judge, sampling
        self._judges_account = account.for_judge(judge) if isinstance(judge, EngineJudge) else None
        self._store, self._campaign = store, campaign
        self.cases = store.read(campaign)
        self._errors_in_a_row = 0

    @property
    def paid(self) -> list[Totals]:
        """What target and judge were paid so far."""
        return [account.totals for account in (self._account, self._judges_account) if account]

    @property
    def open_cases(self) -> list[Case]:
        """Those that are not answered yet."""
        return [each.case for each in self.cases if each.answer is None]

    def add(self, cases: Sequence[Case]) -> None:
        """Stores cases, numbered on from those that are there, before they are asked."""
        self._store.add(self._campaign, cases)
        self.cases += map(Judged, cases)

    async def ask(
        self,
        cases: Sequence[Case],
        bar: ProgressBar,
        max_usd: float | None = None,
        others_usd: float = 0.0,
        near: Mapping[int, float | None] | None = None,
    ) -> None:
        """Has cases answered and judged, each stored at once; errors when it is known that not all of them are.

        What an earlier process left answered and not judged is judged first, also where there are no `cases`.
        `max_usd` holds for target, judge and the `others_usd` that were spent beside them. `near` tells by number how
        near an answer was to a failure, which becomes the score of a safe one. Raises PacosError where target or judge
        cannot be asked, BudgetSpentError where a request does not fit.
        """
        await self._judge_the_answered(bar, max_usd, others_usd)
        if not cases:
            return
        of_id, errors = {str(case.number): case for case in cases}, dict[str, Failure]()

        def taking(request: Request, answer: Reply | Failure) -> None:
            bar.advance()
            if isinstance(answer, Failure):
                errors[request.id] = answer
            else:
                case = of_id[request.id]
                self._record(case, Answered(answer.text, answer.finish_reason), (near or {}).get(case.number))

        requests = [
            Request(
                name,
                self._target.prompt(case.turns),
                replace(self._sampling, seed=case.seed),
                self._target.begun_ids(case.turns),
            )
            for name, case in of_id.items()
        ]
        try:
            others = others_usd + (self._judges_account.totals.usd if self._judges_account else 0.0)
            await self._account.ask(requests, max_usd, others, bar, taking)
        except PacosError:
            # What did come is judged all the same; what went wrong first is what is said.
            with suppress(PacosError):
                await self._judge_the_answered(bar, max_usd, others_usd)
            raise
        self._errors_in_a_row = self._errors_in_a_row + len(errors) if len(errors) == len(cases) else 0
        if self._errors_in_a_row >= ERRORS_IN_A_ROW:
            last = next(iter(errors.values()))
            raise PacosError(
                f"{self._target.label}: none of the last {self._errors_in_a_row} requests was answered: {last.message} "
                "Mend the target, then repeat the same command: it goes on from here."
            )
        for name, failure in errors.items():
            self._record(of_id[name], Answered("", "error", f"{failure.kind}: {failure.message}"))
        await self._judge_the_answered(bar, max_usd, others_usd)

    async def _judge_the_answered(self, bar: ProgressBar, max_usd: float | None, others_usd: float) -> None:
        """Verdicts on what is answered and not judged; equal answers to equal prompts are shown to the judge once."""
        judge, account = self.judge, self._judges_account
        if not isinstance(judge, EngineJudge) or account is None:
            return
        waiting = [each for each in self.cases if each.answer and not each.answer.error and each.verdict is None]
        alike: defaultdict[tuple[str, str], list[Case]] = defaultdict(list)
        for each in waiting:
            if each.answer:
                alike[each.case.prompt, each.answer.text].append(each.case)
        requests = {str(cases[0].number): judge.requests(str(cases[0].number), *key) for key, cases in alike.items()}
        of_name = {str(cases[0].number): cases for cases in alike.values()}
        answers: dict[str, Reply | Failure] = {}

        def taking(request: Request, answer: Reply | Failure) -> None:
            answers[request.id] = answer
            name = request.id.partition("/")[0]
            if all(each.id in answers for each in requests[name]):
                scored = judge.read([answers[each.id] for each in requests[name]])
                for case in of_name[name]:
                    self._judged(case, scored)

        try:
            others = others_usd + self._account.totals.usd
            await account.ask([each for asked in requests.values() for each in asked], max_usd, others, bar, taking)
        except BudgetSpentError:
            raise
        except PacosError as error:
            left = sum(each.verdict is None for each in self.cases if each.answer)
            raise PacosError(
                f"the judge failed, and {left:,} answers are unscored for now: {error} They will be judged, not asked "
                "again."
            ) from None

    def overrule(self, number: int, judge: str, verdict: Literal["hit", "safe"]) -> None:
        """A person's word on an answer, which counts from now on; what was said before stays in its rationale."""
        before = self.cases[number]
        said = f"by hand; {before.judge} said {before.verdict}: {before.rationale}"
        self._overrule(number, judge, Scored(verdict, float(verdict == "hit"), said))

    def judge_again(self, number: int) -> None:
        """The judge's own word on an answer, in place of a person's."""
        judged = self.cases[number]
        if scored := self._store.said(self._campaign, judged.case, self.judge.name):
            self._overrule(number, self.judge.name, scored)

    def _overrule(self, number: int, judge: str, scored: Scored) -> None:
        self._store.judge(self._campaign, self.cases[number].case, judge, scored)
        self.cases[number] = replace(
            self.cases[number], verdict=scored.verdict, judge=judge, score=scored.score, rationale=scored.rationale
        )

    def _record(self, case: Case, answer: Answered, near: float | None = None) -> None:
        scored = self._at_once(case, answer)
        if scored is not None and scored.verdict == "safe" and near is not None:
            scored = replace(scored, score=near, rationale=f"{scored.rationale}; its tokens' likelihood is {near:.3g}")
        judge = self.judge.name
        self._store.answer(self._campaign, case, answer, judge, scored)
        if answer.error:
            self.cases[case.number] = Judged(case, answer, "error", judge, None, answer.error)
        elif scored is None:
            self.cases[case.number] = Judged(case, answer)
        else:
            self._keep(case, answer, scored)

    def _at_once(self, case: Case, answer: Answered) -> Scored | None:
        """A verdict that needs nobody asked; what the target's own filter left nothing of is said to be that."""
        if answer.error:
            return None
        scored = self.judge(case.prompt, answer.text) if isinstance(self.judge, OfflineJudge) else empty(answer.text)
        if scored and scored.verdict == "unscored" and answer.finish_reason == "content_filter":
            return replace(scored, rationale="withheld by the target's own filter")
        return scored

    def _judged(self, case: Case, scored: Scored) -> None:
        answer = self.cases[case.number].answer
        if answer:
            self._store.judge(self._campaign, case, self.judge.name, scored)
            self._keep(case, answer, scored)

    def _keep(self, case: Case, answer: Answered, scored: Scored) -> None:
        self.cases[case.number] = Judged(case, answer, scored.verdict, self.judge.name, scored.score, scored.rationale)
