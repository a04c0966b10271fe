"""generate: a teacher writes instruction data, until enough of it is new and well formed."""

import asyncio
from contextlib import closing, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pacos.core.errors import PacosError
from pacos.core.files import write_text
from pacos.core.progress import ProgressBar
from pacos.core.recipe import Recipe
from pacos.core.records import SeedTask, read_seed_tasks
from pacos.core.run_folder import RunFolder, Stage
from pacos.engines import Engine, open_engine
from pacos.engines.budget import Budget
from pacos.generate.asking import Asking
from pacos.generate.datasheet import write_datasheet
from pacos.generate.figures import diversity, similarities, yield_over_time
from pacos.generate.ledger import Ledger, Totals
from pacos.generate.modes import MODES
from pacos.generate.outputs import OUTPUTS, write_dataset, write_rejected
from pacos.generate.plan import Plan
from pacos.generate.pool import Pool

OWN_SEED_TASKS = Path(__file__).parent / "seed_tasks.jsonl"


@dataclass(frozen=True)
class GenerateReport:
    """What was asked for, what came of it and what it cost.

    `asked` counts tasks, `parsed` the blocks found in the replies; parsed = kept + the sum of `rejected`.
    """

    asked: int
    parsed: int
    kept: int
    rejected: dict[str, int]
    usd: float
    seconds: float
    requests: int
    prompt_tokens: int
    completion_tokens: int
    teacher: str
    mode: str
    seed_tasks: int
    with_input: int
    yield_over_time: list[list[int]]
    similarities: dict[str, Any]
    diversity: dict[str, Any]


def run(recipe: Recipe, run: RunFolder) -> GenerateReport:
    """Fills `generate/` of the run folder with `generate.num_examples` examples, or goes on where it stopped.

    Raises PacosError where the seed tasks cannot be read, the teacher fails or gives nothing to keep, or the budget
    is used up; every reply that arrived is in `ledger.sqlite` then, and the same command goes on from there.
    """
    seed_path = Path(recipe.generate.seed_tasks or OWN_SEED_TASKS)
    with run.stage("generate", ("teacher", "generate"), (seed_path,)) as stage:
        if stage.done:
            report = _finished(stage)
            print(f"generate: all is done: {report.kept:,} examples in {stage.folder / 'dataset.json'}")
            return report
        seed_tasks = read_seed_tasks(seed_path)
        mode = MODES[recipe.generate.mode]
        plan = Plan(mode, seed_tasks, recipe.teacher, recipe.generate.seed)
        pool = Pool(mode, seed_tasks, recipe.generate.num_examples, recipe.generate.similarity_threshold)
        teacher = open_engine(recipe.teacher, role="teacher", seed=recipe.generate.seed)
        with closing(Ledger(stage.folder / "ledger.sqlite", teacher.name)) as ledger:
            _fill(recipe, stage, teacher, plan, pool, ledger)
            totals = ledger.totals()
        report = _report(recipe, teacher.name, seed_tasks, pool, totals)
        _write(recipe, stage, plan, pool, report, totals)
        _print(report, stage.folder)
        return report


def _finished(stage: Stage) -> GenerateReport:
    try:
        return GenerateReport(**stage.report())
    except TypeError:
        raise PacosError(
            f"{stage.folder / 'report.json'}: not a generate report of this version of pacos; the data beside it is as "
            "it was. Give --run another folder, or use the version that made it."
        ) from None


def _fill(recipe: Recipe, stage: Stage, teacher: Engine, plan: Plan, pool: Pool, ledger: Ledger) -> None:
    budget = Budget("teacher", recipe.teacher, ledger.totals().usd)
    with ProgressBar("generate", recipe.generate.num_examples, "examples") as bar:

        def on_reply(num_kept: int) -> None:
            kept_share = len(pool.kept) / pool.num_asked
            bar.advance(num_kept, f"{pool.num_asked:,} asked, {kept_share:.0%} kept, ${budget.spent_usd:.2f}")

        asking = Asking(
            teacher,
            recipe.teacher.concurrency,
            plan,
            ledger,
            budget,
            pool,
            on_reply,
            lambda failure: stage.log("failure", request=failure.id, kind=failure.kind, message=failure.message),
        )
        try:
            asking.replay()
            stage.log("asking", replayed=pool.num_replies, kept=len(pool.kept))
            asyncio.run(asking.fill())
        except PacosError:
            # Whoever has to find out what is wrong with a teacher needs to see what it wrote; but what went wrong
            # first, such as a full disk, is what is said.
            with suppress(PacosError, OSError):
                if pool.rejected:
                    write_rejected(stage.folder, pool.rejected)
            raise


def _report(recipe: Recipe, teacher: str, seed_tasks: list[SeedTask], pool: Pool, totals: Totals) -> GenerateReport:
    examples = [kept.example for kept in pool.kept]
    return GenerateReport(
        asked=pool.num_asked,
        parsed=pool.num_blocks,
        kept=len(examples),
        rejected=pool.rejections,
        usd=round(totals.usd, 6),
        seconds=round(totals.seconds, 3),
        requests=totals.replies,
        prompt_tokens=totals.prompt_tokens,
        completion_tokens=totals.completion_tokens,
        teacher=teacher,
        mode=recipe.generate.mode,
        seed_tasks=len(seed_tasks),
        with_input=sum(bool(example.input) for example in examples),
        yield_over_time=yield_over_time(pool.kept_after_reply),
        similarities=similarities(pool.kept),
        diversity=diversity(examples),
    )


def _write(recipe: Recipe, stage: Stage, plan: Plan, pool: Pool, report: GenerateReport, totals: Totals) -> None:
    write_dataset(stage.folder, pool.kept, plan, report.teacher, report.mode)
    write_rejected(stage.folder, pool.rejected)
    seeds = recipe.generate.seed_tasks or "pacos's own seed tasks"
    datasheet = write_datasheet(recipe, report.teacher, seeds, report.seed_tasks, pool, totals)
    write_text(stage.folder / "datasheet.md", datasheet)
    stage.finish(asdict(report), OUTPUTS)


def _print(report: GenerateReport, folder: Path) -> None:
    rejected = ", ".join(f"{rule} {count:,}" for rule, count in report.rejected.items()) or "none"
    print(
        f"generate: {report.asked:,} tasks asked for, {report.parsed:,} read, {report.kept:,} kept; "
        f"rejected: {rejected}; ${report.usd:.4f}, {report.seconds:,.1f} s\n{folder / 'dataset.json'}"
    )
