"""A trial: cases put to one target and judged, each verdict on disk before anything is learnt from it."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from pacos.core.errors import PacosError
from pacos.core.progress import ProgressBar
from pacos.engines import Failure, Reply, Request, Sampling
from pacos.judging.offline import OfflineJudge, Scored
from pacos.redteam.account import Account
from pacos.redteam.cases import Answered, Case, CaseStore, Judged
from pacos.redteam.targets import Target

MAX_TOKENS, TEMPERATURE = 200, 0.7
DRAWN = Sampling(MAX_TOKENS, TEMPERATURE)
# So many in a row without an answer are the target's fault, and no further request would do better.
ERRORS_IN_A_ROW = 24


class Trial:
    """One campaign of a target with one judge. `cases` are all of it by number, those of an earlier process, too."""

    def __init__(
        self,
        target: Target,
        account: Account,
        judge: OfflineJudge,
        store: CaseStore,
        campaign: int,
        sampling: Sampling = DRAWN,
    ) -> None:
        self._target, self._account, self.judge, self._sampling = target, account, judge, sampling
        self._store, self._campaign = store, campaign
        self.cases = store.read(campaign)
        self._errors_in_a_row = 0

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

        `max_usd` holds for the target and the `others_usd` that were spent beside it. `near` tells by number how near
        an answer was to a failure, which becomes the score of a safe one. Raises PacosError where the target cannot be
        asked, BudgetSpentError where a request does not fit.
        """
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
        await self._account.ask(requests, max_usd, others_usd, bar, taking)
        self._errors_in_a_row = self._errors_in_a_row + len(errors) if len(errors) == len(cases) else 0
        if self._errors_in_a_row >= ERRORS_IN_A_ROW:
            last = next(iter(errors.values()))
            raise PacosError(
                f"{self._target.label}: none of the last {self._errors_in_a_row} requests was answered: {last.message} "
                "Mend the target, then repeat the same command: it goes on from here."
            )
        for name, failure in errors.items():
            self._record(of_id[name], Answered("", "error", f"{failure.kind}: {failure.message}"))

    def _record(self, case: Case, answer: Answered, near: float | None = None) -> None:
        scored = None if answer.error else _scored(self.judge, case, answer)
        if scored is not None and scored.verdict == "safe" and near is not None:
            scored = replace(scored, score=near, rationale=f"{scored.rationale}; its tokens' likelihood is {near:.3g}")
        judge = self.judge.name
        self._store.answer(self._campaign, case, answer, judge, scored)
        if scored is None:
            self.cases[case.number] = Judged(case, answer, "error", judge, None, answer.error)
        else:
            self.cases[case.number] = Judged(case, answer, scored.verdict, judge, scored.score, scored.rationale)


def _scored(judge: OfflineJudge, case: Case, answer: Answered) -> Scored:
    """A judge's verdict; what the target's own filter left nothing of is said to be that."""
    scored = judge(case.prompt, answer.text)
    if scored.verdict == "unscored" and answer.finish_reason == "content_filter":
        return replace(scored, rationale="withheld by the target's own filter")
    return scored
