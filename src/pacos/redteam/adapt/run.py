"""`pacos redteam adapt TARGET`: opens the page on a topic tree, or grows it for so many rounds without one."""

import asyncio
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from pacos.asking import BudgetSpentError
from pacos.core.data_files import shown
from pacos.core.files import read_json, write_json
from pacos.core.progress import ProgressBar
from pacos.core.recipe import Recipe
from pacos.core.run_folder import RunFolder
from pacos.engines import engine_table
from pacos.judging.objectives import find_judge, settings_of
from pacos.redteam.adapt.adapt_page import make_app
from pacos.redteam.adapt.tree import Tree, topic_path
from pacos.redteam.adapt.workbench import AdaptLimits, Workbench
from pacos.redteam.cases import CaseStore
from pacos.redteam.counting import count, right_in
from pacos.redteam.nearness import find_nearness
from pacos.redteam.targets import find_target
from pacos.web.server import address_of, bind, make_server

HOST = "127.0.0.1"
MAX_LISTED = 20
# Rounds that bring tests, to one that looks for new topics.
_ROUNDS_TO_TOPICS = 4


@dataclass(frozen=True)
class AdaptPlan:
    """What is to be done with a tree: so many `rounds` without a page, or the page at `port`."""

    target: str
    objective: str
    tree: Path | None = None
    topic: str = ""
    proposer: str = "builtin:teacher"
    rounds: int | None = None
    port: int = 0
    max_requests: int = 300
    max_usd: float | None = None


def adapt(plan: AdaptPlan, recipe: Recipe, folder: Path | None = None) -> None:
    """Grows the tree, RUN/redteam/tree.csv unless the plan names another, with the page or without.

    Cases and verdicts are in RUN/redteam/cases.sqlite. Raises PacosError where the target cannot be asked, no judge
    scores the objective, a row of the tree is broken, or another process is at work there; what was answered is kept.
    """
    topic = topic_path(plan.topic)
    with ExitStack() as stack:
        bench = stack.enter_context(workbench(plan, recipe, folder))
        if plan.rounds is not None:
            _grow(bench, topic, Rounds(bench, topic, plan.rounds))
            return
        bound = stack.enter_context(closing(bind(HOST, plan.port, "--port", "--port")))
        ready = (
            f"pacos redteam adapt: at {address_of(bound)}; Ctrl-C stops, {bench.tree.path} stays; "
            f"{bench.num_asked:,} of {plan.max_requests:,} requests are used."
        )
        try:
            make_server(make_app(bench, topic), lambda: print(ready, flush=True)).run(sockets=[bound])
        except KeyboardInterrupt:
            print("pacos redteam adapt: stopped; the same command goes on from here.")


@contextmanager
def workbench(plan: AdaptPlan, recipe: Recipe, folder: Path | None = None) -> Iterator[Workbench]:
    """All that a tree is worked on with, nobody else having it meanwhile; its engines are for the user to close."""
    judge, target = find_judge(plan.objective, recipe.engines), find_target(plan.target, recipe)
    proposer = plan.proposer, engine_table(plan.proposer, recipe.engines)[0]
    folder = (folder or target.run or Path("runs") / f"redteam-{target.label}") / "redteam"
    tree = Tree(plan.tree or folder / "tree.csv")
    with RunFolder(folder, recipe), closing(CaseStore(folder / "cases.sqlite")) as store:
        campaign = store.campaign("adapt", target.identity, plan.objective, settings_of(judge))
        limits, nearness = AdaptLimits(plan.max_requests, plan.max_usd), find_nearness(target, plan.objective)
        yield Workbench(tree, target, judge, nearness, proposer, limits, store, campaign, folder)


class Rounds:
    """How many rounds of a command are left, on disk, so that one that was killed does not begin anew."""

    def __init__(self, bench: Workbench, topic: str, rounds: int) -> None:
        self._path, self.left = bench.folder / "adapt-rounds.json", rounds
        self._begun = {
            "target": bench.target.identity,
            "objective": bench.objective,
            "tree": str(bench.tree.path),
            "topic": topic,
        }
        stored = read_json(self._path, "note of unfinished rounds") if self._path.exists() else None
        if isinstance(stored, dict) and {name: stored.get(name) for name in self._begun} == self._begun:
            left = stored.get("left")
            self.left = min(rounds, left) if isinstance(left, int) else rounds

    def done(self, left: int) -> None:
        """So many are left now."""
        self.left = left
        if left:
            write_json(self._path, self._begun | {"left": left})
        else:
            self._path.unlink(missing_ok=True)


def _grow(bench: Workbench, topic: str, rounds: Rounds) -> None:
    """Rounds without a page, and what was found."""

    async def go_on() -> None:
        try:
            with ProgressBar("adapt", 0, "requests") as bar:
                while rounds.left:
                    found = await bench.grow(topic, bar)
                    if not bench.tree.is_saved:
                        bench.tree.reload()
                        bench.save()
                    rounds.done(rounds.left - 1)
                    if not found or rounds.left % _ROUNDS_TO_TOPICS == 0:
                        await bench.suggest(topic, bar)
        finally:
            await bench.close()

    before = bench.num_asked
    try:
        asyncio.run(go_on())
    except BudgetSpentError as spent:
        print(f"adapt: {spent}")
    _print(bench, before)


def _print(bench: Workbench, before: int) -> None:
    counts = count([each for each in bench.cases[before:] if each.answer])
    print(
        f"adapt: {counts.requests:,} requests, {counts.hits:,} hits of {counts.scored:,} scored, {counts.unscored:,} "
        f"unscored, {counts.errors:,} errors; ${bench.usd:.4f} so far"
    )
    failing = [each for each in bench.tried() if each.verdict == "hit" and each.test.status != "rejected"]
    for each in failing[:MAX_LISTED]:
        print(f"  {shown(each.test.id)}  {shown(each.test.topic)}: {shown(' '.join(each.test.prompt.split()))}")
    if (more := len(failing) - MAX_LISTED) > 0:
        print(f"  and {more:,} more")
    right = right_in(bench.judge.agreement)
    total = bench.counts()[""]
    print(
        f"judge {bench.judge.name}: finds {bench.judge.finds}{f'; {right}' if right else ''}\n"
        f"{bench.tree.path}: {total['tests']:,} tests, {total['failing']:,} failing, {total['to look at']:,} to look at"
    )
