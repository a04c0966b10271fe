"""generate: a teacher writes instruction data, until enough of it is new and well formed."""

import asyncio
from contextlib import closing, suppress
from pathlib import Path

from pacos.asking import Asking, Budget, Ledger, Totals
from pacos.core.errors import PacosError
from pacos.core.files import write_text
from pacos.core.recipe import Recipe
from pacos.core.run_folder import OpenStage, RunFolder
from pacos.engines import Engine, open_engine
from pacos.generate.datasheet import write_datasheet
from pacos.generate.figures import diversity, similarities, yield_over_time
from pacos.generate.filling import Filling
from pacos.generate.funnel import Funnel
from pacos.generate.inputs import Inputs, input_paths, read_inputs
from pacos.generate.modes import MODES, Mode
from pacos.generate.outputs import OUTPUTS, write_dataset, write_rejected
from pacos.generate.plan import Plan
from pacos.generate.pool import Pool
from pacos.generate.report import GenerateReport
from pacos.generate.room import refuse_no_room


def run(recipe: Recipe, run_folder: RunFolder) -> GenerateReport:
    """Fills `generate/` of the run folder with `generate.num_examples` examples, or goes on where it stopped.

    Raises PacosError where an input cannot be read, the teacher fails or gives nothing to keep, or the budget is used
    up; every reply that arrived is in `ledger.sqlite` then, and the same command goes on from there.
    """
    table, mode = recipe.generate, MODES[recipe.generate.mode]
    with run_folder.stage("generate", input_paths(recipe)) as stage:
        _refuse_impossible(recipe, mode)
        inputs = read_inputs(recipe, mode)
        pool = Pool(mode, inputs.seed_tasks, table.num_examples, table.similarity_threshold, inputs.contamination)
        plan = Plan(mode, inputs.head, inputs.seed_tasks, recipe.teacher, table.seed, pool)
        refuse_no_room(recipe.teacher, plan.first_calls())
        teacher = open_engine(recipe.teacher, role="teacher", seed=table.seed, folder=stage.folder)
        with closing(Ledger(stage.folder / "ledger.sqlite", "teacher", teacher.name)) as ledger:
            _fill(recipe, stage, teacher, plan, pool, ledger)
            totals, servers = ledger.totals(), ledger.servers()
        report = _report(recipe, inputs, pool, totals)
        write_dataset(stage.folder, pool.kept, plan, servers, report.mode)
        _write(recipe, stage, pool, report, totals)
        _print(report, stage.folder)
        return report


def _refuse_impossible(recipe: Recipe, mode: Mode) -> None:
    if recipe.teacher.batch and mode.num_from_pool:
        raise PacosError(
            f"teacher.batch is true and generate.mode is {mode.name!r}, whose requests show tasks kept before and so "
            "wait for one another; batches would take days. Set teacher.batch=false or another generate.mode."
        )


def _fill(recipe: Recipe, stage: OpenStage, teacher: Engine, plan: Plan, pool: Pool, ledger: Ledger) -> None:
    table, spent = recipe.teacher, ledger.totals()
    budget = Budget("teacher", table, spent.usd, spent.unseen_usd)
    # Some wait to be sent again, and leave their places to others. How many a batch has is the engine's to say, be it a
    # server's or the rows of a checkpoint on this machine.
    most_in_flight = None if table.batch or table.engine == "local" else 2 * table.concurrency
    with Funnel(pool, recipe.generate.num_examples, budget) as funnel:
        filling = Filling(plan, pool, funnel.update, table.batch)
        asking = Asking("teacher", teacher, table, ledger, budget, filling, funnel.tick, most_in_flight)
        try:
            asking.replay()
            funnel.replayed()
            stage.log("asking", replayed=pool.num_replies, kept=len(pool.kept))
            asyncio.run(asking.ask())
        except PacosError:
            # Whoever has to find out what is wrong with a teacher needs to see what it wrote; but what went wrong
            # first, such as a full disk, is what is said.
            with suppress(PacosError, OSError):
                if pool.rejected:
                    write_rejected(stage.folder, pool.rejected)
            raise


def _report(recipe: Recipe, inputs: Inputs, pool: Pool, totals: Totals) -> GenerateReport:
    examples = [kept.example for kept in pool.kept]
    return GenerateReport(
        asked=pool.num_asked,
        parsed=pool.num_read,
        kept=len(examples),
        rejected=dict(pool.rejections.most_common()),
        usd=round(totals.usd, 6),
        unseen_usd=round(totals.unseen_usd, 6),
        usd_per_example=round(totals.usd / len(examples), 8),
        seconds=round(totals.seconds, 3),
        seconds_per_example=round(totals.seconds / len(examples), 6),
        requests=totals.replies,
        prompt_tokens=totals.prompt_tokens,
        completion_tokens=totals.completion_tokens,
        teacher=" and ".join(totals.servers),
        mode=recipe.generate.mode,
        seed_tasks=len(inputs.seed_tasks),
        with_input=sum(bool(example.input) for example in examples),
        yield_over_time=yield_over_time(pool.kept_after_reply),
        similarities=similarities(pool.kept),
        diversity=diversity(examples),
    )


def _write(recipe: Recipe, stage: OpenStage, pool: Pool, report: GenerateReport, totals: Totals) -> None:
    write_rejected(stage.folder, pool.rejected)
    seeds = recipe.generate.seed_tasks or "pacos's own seed tasks"
    datasheet = write_datasheet(recipe, report.teacher, seeds, report.seed_tasks, pool, totals)
    write_text(stage.folder / "datasheet.md", datasheet)
    stage.finish(report, OUTPUTS)


def _print(report: GenerateReport, folder: Path) -> None:
    rejected = ", ".join(f"{rule} {count:,}" for rule, count in report.rejected.items()) or "none"
    print(
        f"generate: {report.asked:,} tasks asked for, {report.parsed:,} examples read, {report.kept:,} kept; "
        f"rejected: {rejected}\ngenerate: ${report.usd:.4f} and {report.seconds:,.1f} s, that is "
        f"${report.usd_per_example:.6f} and {report.seconds_per_example:.3f} s an example kept\n"
        f"{folder / 'dataset.json'}"
    )
