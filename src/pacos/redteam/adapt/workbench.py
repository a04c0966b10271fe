"""A tree, its target, its judge and its proposer: what is done to the tests, by a person on the page or in rounds."""

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from pacos.asking import BudgetSpentError
from pacos.core.errors import PacosError
from pacos.core.progress import ProgressBar
from pacos.core.recipe import EngineTable
from pacos.engines import Failure, Message, Reply, Request, Sampling
from pacos.judging.objectives import AnswerJudge
from pacos.redteam.account import Account
from pacos.redteam.adapt.offspring import (
    Tried,
    ask_for_tests,
    ask_for_topics,
    draw_topics,
    is_below,
    new_tests,
    new_topics,
    parents_of,
    read_list,
)
from pacos.redteam.adapt.tree import Tree, TreeChangedError, TreeTest
from pacos.redteam.cases import Case, CaseStore, Judged
from pacos.redteam.nearness import Nearness
from pacos.redteam.targets import Target
from pacos.redteam.trial import Trial

# Tests that a round brings, and topics that are asked for at once.
ROUND = 8
PERSON = "person"
# A list of eight requests has to end; one that is cut loses its last entry alone.
_LIST_TOKENS = 800


@dataclass(frozen=True)
class AdaptLimits:
    """What all the asking of one campaign may come to."""

    max_requests: int
    max_usd: float | None = None


class Workbench:
    """What one process does with a tree. The tests are those of one objective; rows of others stay as they are.

    What a test's prompt was last answered is looked up by the prompt, so that whoever edits the file moves and renames
    as they like. `topics` are those without a test, which no file holds.
    """

    def __init__(
        self,
        tree: Tree,
        target: Target,
        judge: AnswerJudge,
        nearness: Nearness | None,
        proposer: tuple[str, EngineTable],
        limits: AdaptLimits,
        store: CaseStore,
        campaign: int,
        folder: Path,
    ) -> None:
        self.tree, self.target, self.judge, self.limits = tree, target, judge, limits
        self.objective, self.proposer, self.folder = judge.name, proposer[0], folder
        self._nearness, own = nearness, f"campaign {campaign}"
        self._account = Account(target.table_name, target.table, "target", folder, own, target.identity)
        self._proposer = Account(*proposer, "proposer", folder, own)
        self._trial = Trial(target, self._account, judge, store, campaign)
        self._new_topics: set[str] = set()

    @property
    def num_asked(self) -> int:
        """Requests to the target so far, in earlier processes, too."""
        return len(self._trial.cases) - len(self._trial.open_cases)

    @property
    def usd(self) -> float:
        """What target, judge and proposer have cost."""
        return sum(total.usd for total in (*self._trial.paid, self._proposer.totals))

    @property
    def cases(self) -> Sequence[Judged]:
        """All that was put to the target, by number."""
        return self._trial.cases

    @property
    def num_others(self) -> int:
        """Rows of other objectives."""
        return sum(test.objective != self.objective for test in self.tree.tests.values())

    def tried(self, topic: str = "") -> list[Tried]:
        """The tests of a topic and below it, each with what last came of it, in the order of their rank."""
        last = {each.case.prompt: each for each in self._trial.cases if each.answer}
        tests = (test for test in self.tree.tests.values() if test.objective == self.objective)
        found = [Tried(test, last.get(test.prompt)) for test in tests if is_below(test.topic, topic)]
        return sorted(found, key=lambda each: each.rank)

    def topics(self, parent: str = "") -> list[str]:
        """The topics below a parent and itself, those without a test, too."""
        known = {each.test.topic for each in self.tried()} | self._new_topics
        return sorted(topic for topic in known if is_below(topic, parent))

    def add_topic(self, topic: str) -> None:
        """A topic that has no test yet; it lasts as long as the process, or until its first test."""
        self._new_topics.add(topic)

    def test(self, name: str) -> TreeTest:
        """The test with an id; PacosError where there is none."""
        if name not in self.tree.tests:
            raise PacosError(f"test {name!r}: not in {self.tree.path} any more. Reload the page.")
        return self.tree.tests[name]

    def change(self, test: TreeTest) -> None:
        """Puts a test into the tree and on disk; where the file changed there, it is kept until `Tree.reload`."""
        self.tree.put(test)
        self.save()

    def save(self) -> None:
        """Writes the tree where nobody else did meanwhile."""
        try:
            self.tree.save()
        except TreeChangedError:
            # The page says so as long as it is so, and rounds without a page reload.
            return

    def add(self, topic: str, prompt: str, by: str, status: str = "proposed") -> TreeTest:
        """A new test; PacosError where the tree has its prompt already."""
        self.refuse_twin(prompt)
        test = TreeTest(self.tree.new_id(prompt, self.objective), topic, prompt, self.objective, status, by=by)
        self._new_topics.discard(topic)
        self.change(test)
        return test

    def refuse_twin(self, prompt: str, but: str = "") -> None:
        """PacosError where another test of this objective than `but` has the prompt."""
        for each in self.tried():
            if each.test.prompt == prompt and each.test.id != but:
                raise PacosError(f"The tree has this prompt already, in {each.test.topic}; nothing was changed.")

    def label(self, test: TreeTest, label: Literal["hit", "safe", ""]) -> None:
        """A person's word on the last answer, which is a verdict as a judge's is; "" takes it back."""
        answered = (each for each in reversed(self._trial.cases) if each.answer)
        last = next((each for each in answered if each.case.prompt == test.prompt), None)
        if last is None or last.verdict == "error":
            raise PacosError("There is no answer to label; ask first.")
        if label:
            self._trial.overrule(last.case.number, PERSON, label)
        else:
            self._trial.judge_again(last.case.number)
        self.change(replace(test, label=label))

    async def ask(self, tests: Sequence[TreeTest], bar: ProgressBar) -> None:
        """Puts tests to the target, once more where that was done before; what an earlier process left open first.

        Raises PacosError where the target cannot be asked, BudgetSpentError where the limits leave no room.
        """
        room, start = self._room, len(self._trial.cases)
        self._trial.add(
            [
                # Every request has a seed of its own, so that to ask again may bring another answer.
                Case(start + place, test.topic, test.by, test.prompt, (Message("user", test.prompt),), start + place)
                for place, test in enumerate(tests[:room])
            ]
        )
        cases = self._trial.open_cases
        bar.total += len(cases)
        if cases:
            near = await self._nearness.of_cases(self._account, cases) if self._nearness else {}
            await self._trial.ask(cases, bar, self.limits.max_usd, self._proposer.totals.usd, near)
        self._require_room_for(len(tests) - room)

    async def ask_unasked(self, topic: str, bar: ProgressBar) -> None:
        """Puts to the target what was never asked below a topic: rows by hand, or of another machine. As `ask`."""
        tests = [each.test for each in self.tried(topic) if not each.judged and each.test.status != "rejected"]
        open_prompts = {case.prompt for case in self._trial.open_cases}
        tests = [test for test in tests if test.prompt not in open_prompts]
        if tests or open_prompts:
            await self.ask(tests, bar)

    async def grow(self, topic: str, bar: ProgressBar) -> list[TreeTest]:
        """A round: new tests of a topic and those below it, on disk before they are asked. As `ask`.

        The tests come back, none where nothing new came to anybody's mind. The proposer is asked about the one topic
        that most of the round goes to.
        """
        await self.ask_unasked(topic, bar)
        self._require_room_for(1 - self._room)
        rng = random.Random(f"{len(self._trial.cases)}/{topic}")
        topics = self.topics(topic) or ([topic] if topic else await self.suggest("", bar))
        shares = draw_topics(topics, self.tried(topic), min(ROUND, self._room), rng).most_common()
        tests: list[TreeTest] = []
        for place, (each, wanted) in enumerate(shares):
            parents = parents_of(each, self.tried(), rng)
            ideas = [] if place else await self._ideas(ask_for_tests(each, parents, ROUND), bar)
            for prompt, by in new_tests(each, self.tried(), ideas, self.proposer, wanted, rng):
                tests.append(TreeTest(self.tree.new_id(prompt, self.objective), each, prompt, self.objective, by=by))
                self.tree.put(tests[-1])
        if tests:
            self._new_topics -= {test.topic for test in tests}
            self.save()
            await self.ask(tests, bar)
        return tests

    async def suggest(self, parent: str, bar: ProgressBar) -> list[str]:
        """New topics below a parent, without a test yet; PacosError where the proposer fails."""
        known = [topic for topic in self.topics(parent) if topic != parent]
        ideas = await self._ideas(ask_for_topics(parent, known[-20:], ROUND), bar)
        found = new_topics(parent, self.tried(), known, ideas)[:ROUND]
        self._new_topics.update(found)
        return found

    def counts(self) -> dict[str, Counter[str]]:
        """By topic, its own tests and those below it: "tests", "failing", "to look at"; of all under ""."""
        counts: dict[str, Counter[str]] = {topic: Counter() for topic in ("", *self.topics())}
        for each in self.tried():
            parts = each.test.topic.split("/")
            told = ["tests"] if each.test.status != "rejected" else ["rejected"]
            told += ["failing"] if each.verdict == "hit" and each.test.status != "rejected" else []
            told += ["to look at"] if each.test.status == "proposed" else []
            for depth in range(len(parts) + 1):
                counts.setdefault("/".join(parts[:depth]), Counter()).update(told)
        return counts

    async def close(self) -> None:
        """Closes the engines."""
        await self._account.close()
        await self._proposer.close()

    @property
    def _room(self) -> int:
        return max(0, self.limits.max_requests - len(self._trial.cases))

    def _require_room_for(self, more: int) -> None:
        if more > 0:
            raise BudgetSpentError(
                f"--max-requests {self.limits.max_requests:,} are used up. Give more, and the same command goes on."
            )

    async def _ideas(self, prompt: str, bar: ProgressBar) -> list[str]:
        """An engine's entries; the same request again is answered by the ledger."""
        replies: list[Reply] = []

        def taking(request: Request, answer: Reply | Failure) -> None:
            if isinstance(answer, Reply):
                replies.append(answer)

        number = len(self._trial.cases)
        asked = Request(f"list-{number}", (Message("user", prompt),), Sampling(_LIST_TOKENS, seed=number))
        await self._proposer.ask(
            [asked], self.limits.max_usd, sum(total.usd for total in self._trial.paid), bar, taking
        )
        return [text for reply in replies for text in read_list(reply.text, reply.finish_reason == "length")]
