"""What all objectives of one audit share: the target, where cases are kept, and how many probes are drawn."""

import json
import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from pacos.asking import BudgetSpentError
from pacos.core.files import sha256_text
from pacos.core.progress import ProgressBar
from pacos.judging.offline import Scored
from pacos.redteam.account import Account
from pacos.redteam.auditing.probe_sets import Probe, ProbeSet, Stated
from pacos.redteam.cases import Answered, Case, CaseStore, Judged
from pacos.redteam.targets import Target
from pacos.redteam.trial import ERRORS_IN_A_ROW, Trial

PLAIN = "plain"
# So much is lost by a kill, and read again at no cost.
SETTLED_AT_ONCE = 64
Item = TypeVar("Item")
Settled = tuple[Answered, Scored | None]


@dataclass(frozen=True)
class Bench:
    """An audit under way; `per_objective` is how many probes of a set are drawn by `seed`, None all."""

    target: Target
    account: Account
    store: CaseStore
    seed: int
    per_objective: int | None = None
    max_usd: float | None = None

    def drawn(self, name: str, items: Sequence[Item]) -> list[Item]:
        """The sample, in an order of which the first N are the sample of N."""
        return random.Random(f"{self.seed}/{name}").sample(items, len(items))[: self.per_objective]

    def campaign(self, stated: Stated, *content: object) -> int:
        """The number of the campaign with this set, and with whatever else shapes it."""
        shape = sha256_text(json.dumps([stated.sha256, *content]))
        settings = {"set": shape, "seed": self.seed}
        return self.store.campaign("audit", self.target.identity, stated.name, settings)

    async def ask(self, probes: ProbeSet) -> tuple[list[Judged], str]:
        """Has the probes answered and judged; what was asked, and why not all was where the money did not last.

        Raises PacosError where the target cannot be asked.
        """
        wanted = [
            Case(number, each.group, PLAIN, each.turns[0].content, each.turns, self._seed(each))
            for number, each in enumerate(self.drawn(probes.name, probes.probes))
        ]
        told = [[[turn.content for turn in each.turns], each.group] for each in probes.probes]
        campaign = self.campaign(probes, told, probes.judge.name, probes.sampling.chosen())
        trial = Trial(self.target, self.account, probes.judge, self.store, campaign, probes.sampling)
        trial.add(wanted[len(trial.cases) :])
        open_cases = [case for case in trial.open_cases if case.number < len(wanted)]
        why = ""
        with ProgressBar(f"audit {probes.name}", len(wanted), "requests") as bar:
            bar.count = len(wanted) - len(open_cases)
            try:
                for start in range(0, len(open_cases), ERRORS_IN_A_ROW):
                    await trial.ask(open_cases[start : start + ERRORS_IN_A_ROW], bar, self.max_usd)
            except BudgetSpentError as spent:
                why = str(spent)
        return [each for each in trial.cases[: len(wanted)] if each.answer], why

    def _seed(self, probe: Probe) -> int:
        """A probe's own, whatever set it stands in."""
        return int(sha256_text(json.dumps([self.seed, *(turn.content for turn in probe.turns)]))[:7], 16)

    async def settle(
        self,
        campaign: int,
        title: str,
        judge: str,
        cases: Sequence[Case],
        settled: Callable[[Sequence[Case]], Awaitable[Sequence[Settled]]],
    ) -> list[Judged]:
        """Cases that cost nothing to answer: what is not stored yet is given to `settled` some at a time, and stored.

        Raises PacosError where the target cannot be read.
        """
        known = self.store.read(campaign)
        self.store.add(campaign, cases[len(known) :])
        answered = {each.case.number for each in known if each.answer}
        open_cases = [case for case in cases if case.number not in answered]
        with ProgressBar(f"audit {title}", len(cases), "cases") as bar:
            bar.count = len(cases) - len(open_cases)
            for start in range(0, len(open_cases), SETTLED_AT_ONCE):
                some = open_cases[start : start + SETTLED_AT_ONCE]
                for case, (answer, scored) in zip(some, await settled(some), strict=True):
                    self.store.answer(campaign, case, answer, judge, scored)
                    bar.advance()
        return self.store.read(campaign)[: len(cases)]
