"""`pacos redteam`: attacks on a model of one's own."""

from pathlib import Path
from typing import Annotated

import typer

from pacos.cli.environment import stay_offline
from pacos.core.recipe import Recipe, judging, load, load_run

redteam = typer.Typer(
    name="redteam", no_args_is_help=True, help="Attack a model of your own, and keep what made it fail."
)


@redteam.command()
def attack(
    target: Annotated[
        str,
        typer.Argument(metavar="TARGET", help="A run folder, a model, http:URL, or the NAME of an [engines.NAME]."),
    ],
    objective: Annotated[
        str,
        typer.Option(
            metavar="O",
            help="What counts as a failure: contains:TEXT, regex:PATTERN, refusal, compliance, lexicon[:FILE], "
            "guard:ENGINE, rubric:ENGINE:CRITERION or moderation[:ENGINE].",
        ),
    ],
    overrides: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[TABLE.KEY=VALUE]...", help="Overrides; [engines.target] is of the server at http:URL."
        ),
    ] = None,
    max_requests: Annotated[int, typer.Option(min=1, metavar="N", help="So many requests to the target.")] = 300,
    max_usd: Annotated[
        float | None, typer.Option(min=0, metavar="USD", help="The most that target, judge and proposer may cost.")
    ] = None,
    topics: Annotated[
        Path | None, typer.Option(metavar="FILE", help="What to ask about, a word or phrase a line; or pacos's own.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, max=2**31 - 1, help="Seeds the search and the answers.")] = 0,
    proposer: Annotated[
        str, typer.Option(metavar="ENGINE", help="An engine that words requests, too: an [engines.NAME], http:URL, ...")
    ] = "",
    recipe: Annotated[
        Path | None, typer.Option(metavar="RECIPE", help="Where engines' tables are; a run has its own.")
    ] = None,
    path: Annotated[
        Path | None, typer.Option("--run", metavar="DIR", help="The run folder; the target's, or runs/redteam-NAME.")
    ] = None,
) -> None:
    """Search for requests that make a target fail; the same command goes on where it stopped."""
    resolved = _recipe_of(target, recipe, overrides)
    stay_offline(resolved)
    from pacos.redteam.run import AttackPlan
    from pacos.redteam.run import attack as run_attack

    plan = AttackPlan(target, objective, max_requests, max_usd, topics, seed, proposer)
    run_attack(plan, resolved, path)


@redteam.command("import")
def import_(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="The run folder that gets the cases; made where missing.")],
    files: Annotated[
        list[Path],
        typer.Argument(metavar="FILE...", help="Results of garak or PyRIT, exported reports, answers with verdicts."),
    ],
    objective: Annotated[
        str, typer.Option(metavar="O", help="The judge, as of attack, for cases that have none of their own.")
    ] = "",
) -> None:
    """Take over what garak, PyRIT or users found, as cases and as a suite; a file twice adds nothing."""
    recipe = _recipe_of(str(run), None, None)
    from pacos.redteam.imports.run import import_results

    import_results(run, files, objective, recipe)


@redteam.command()
def gate(
    target: Annotated[
        str,
        typer.Argument(metavar="TARGET", help="A run folder, a model, http:URL, or the NAME of an [engines.NAME]."),
    ],
    max_asr: Annotated[
        float,
        typer.Option(metavar="SHARE", help="The upper end of the 95% interval of hits may be this, such as 0.05."),
    ],
    suite: Annotated[
        list[Path],
        typer.Option(metavar="FILE", help="Cases, one JSON object a line, or a topic tree; may be repeated."),
    ],
    overrides: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[TABLE.KEY=VALUE]...", help="Overrides; [engines.target] is of the server at http:URL."
        ),
    ] = None,
    per_case: Annotated[int, typer.Option(min=1, metavar="N", help="So many answers to each case.")] = 1,
    max_unscored: Annotated[
        float,
        typer.Option(min=0, max=1, metavar="SHARE", help="With more of them unscored or errors, nothing was measured."),
    ] = 0.1,
    max_usd: Annotated[float | None, typer.Option(min=0, metavar="USD", help="The most that it may cost.")] = None,
    seed: Annotated[int, typer.Option(min=0, max=2**31 - 1, help="Seeds the answers.")] = 0,
    recipe: Annotated[
        Path | None, typer.Option(metavar="RECIPE", help="Where engines' tables are; a run has its own.")
    ] = None,
    path: Annotated[
        Path | None, typer.Option("--run", metavar="DIR", help="The run folder; the target's, or runs/redteam-NAME.")
    ] = None,
) -> None:
    """Let a target pass or not, by suites of cases: exit code 0 passed, 1 failed, 3 not measured."""
    resolved = _recipe_of(target, recipe, overrides)
    stay_offline(resolved)
    from pacos.redteam.gate import EXIT_CODES, GatePlan
    from pacos.redteam.gate import gate as run_gate

    plan = GatePlan(target, tuple(suite), max_asr, per_case, max_unscored, seed, max_usd)
    if code := EXIT_CODES[run_gate(plan, resolved, path).result]:
        raise typer.Exit(code)


@redteam.command()
def export(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run folder with cases in redteam/.")],
    overrides: Annotated[
        list[str] | None, typer.Argument(metavar="[TABLE.KEY=VALUE]...", help="Overrides, such as a teacher's engine.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="For train.dataset; else redteam/repair.json in RUN.")
    ] = None,
    teacher: Annotated[
        str, typer.Option(metavar="ENGINE", help="Writes the safe answers: an [engines.NAME], http:URL, ...")
    ] = "",
    accept_all: Annotated[
        bool, typer.Option("--accept-all", help="Takes what waits for review unseen, and says so in repairs.jsonl.")
    ] = False,
    hold_out: Annotated[
        float,
        typer.Option(
            min=0, max=0.9, metavar="SHARE", help="Topics kept out of it, as the suite redteam/heldout.jsonl."
        ),
    ] = 0.0,
    contrast: Annotated[int, typer.Option(min=0, metavar="N", help="Harmless look-alikes for each repair.")] = 3,
    harmless: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Topics for look-alikes, a word or phrase a line; or pacos's own."),
    ] = None,
    with_dataset: Annotated[
        bool, typer.Option("--dataset/--no-dataset", help="Whether the run's whole dataset is in the file.")
    ] = True,
    max_usd: Annotated[float | None, typer.Option(min=0, metavar="USD", help="The most a teacher may cost.")] = None,
    recipe: Annotated[
        Path | None, typer.Option(metavar="RECIPE", help="Where engines' tables are; a run has its own.")
    ] = None,
) -> None:
    """Write what a run's target failed at, with safe answers to review, as data to train on."""
    resolved = _recipe_of(str(run), recipe, overrides)
    stay_offline(resolved)
    from pacos.redteam.export import ExportPlan
    from pacos.redteam.export import export as run_export

    run_export(ExportPlan(out, teacher, accept_all, hold_out, contrast, harmless, with_dataset, max_usd), resolved, run)


@redteam.command()
def adapt(
    target: Annotated[
        str,
        typer.Argument(metavar="TARGET", help="A run folder, a model, http:URL, or the NAME of an [engines.NAME]."),
    ],
    objective: Annotated[
        str,
        typer.Option(metavar="O", help="What counts as a failure, as for attack; the tests of one at a time."),
    ],
    overrides: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[TABLE.KEY=VALUE]...", help="Overrides; [engines.target] is of the server at http:URL."
        ),
    ] = None,
    tree: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The tree, a CSV; RUN/redteam/tree.csv unless given.")
    ] = None,
    topic: Annotated[str, typer.Option(metavar="PATH", help="Where to begin, such as money/loans.")] = "",
    proposer: Annotated[
        str, typer.Option(metavar="ENGINE", help="Who writes tests: an [engines.NAME], http:URL, ...")
    ] = "builtin:teacher",
    rounds: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="No page: so many rounds of eight tests, then what was found."),
    ] = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="The page's port; 0 takes a free one.")] = 8110,
    max_requests: Annotated[
        int, typer.Option(min=1, metavar="N", help="So many requests to the target, earlier ones included.")
    ] = 300,
    max_usd: Annotated[
        float | None, typer.Option(min=0, metavar="USD", help="The most that target and proposer may cost.")
    ] = None,
    recipe: Annotated[
        Path | None, typer.Option(metavar="RECIPE", help="Where engines' tables are; a run has its own.")
    ] = None,
    path: Annotated[
        Path | None, typer.Option("--run", metavar="DIR", help="The run folder; the target's, or runs/redteam-NAME.")
    ] = None,
) -> None:
    """Grow a tree of tests towards failures, on a page where you accept, edit and label them."""
    resolved = _recipe_of(target, recipe, overrides)
    stay_offline(resolved)
    from pacos.redteam.adapt.run import AdaptPlan
    from pacos.redteam.adapt.run import adapt as run_adapt

    plan = AdaptPlan(target, objective, tree, topic, proposer, rounds, port, max_requests, max_usd)
    run_adapt(plan, resolved, path)


@redteam.command()
def audit(
    target: Annotated[
        str,
        typer.Argument(metavar="TARGET", help="A run folder, a model, http:URL, or the NAME of an [engines.NAME]."),
    ],
    overrides: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[TABLE.KEY=VALUE]...", help="Overrides; [engines.target] is of the server at http:URL."
        ),
    ] = None,
    objective: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="An objective to measure; give it again for more. Without it all are."),
    ] = None,
    sets: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="NAME=FILE", help="A published test set, in a file or folder; give it again for more."
        ),
    ] = None,
    per_objective: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="So many probes of each, drawn by the seed.")
    ] = None,
    max_usd: Annotated[
        float | None, typer.Option(min=0, metavar="USD", help="The most that the target may cost.")
    ] = None,
    string: Annotated[
        list[str] | None,
        typer.Option(metavar="TEXT", help="A text that a local model may have learnt; looks at its logits, no more."),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, max=2**31 - 1, help="Draws the probes, and seeds the answers.")] = 0,
    recipe: Annotated[
        Path | None, typer.Option(metavar="RECIPE", help="Where engines' tables are; a run has its own.")
    ] = None,
    path: Annotated[
        Path | None, typer.Option("--run", metavar="DIR", help="The run folder; the target's, or runs/redteam-NAME.")
    ] = None,
) -> None:
    """Measure a target by stated objectives, each with its number and interval; the same command goes on."""
    resolved = _recipe_of(target, recipe, overrides)
    stay_offline(resolved)
    if string:
        from pacos.redteam.whitebox import look_inside

        for text in string:
            look_inside(target, text, resolved, path, seed=seed)
        return
    from pacos.redteam.auditing.run import AuditPlan
    from pacos.redteam.auditing.run import audit as run_audit

    run_audit(
        AuditPlan(target, tuple(objective or ()), tuple(sets or ()), per_objective, max_usd, seed), resolved, path
    )


def _recipe_of(target: str, recipe: Path | None, overrides: list[str] | None) -> Recipe:
    """The recipe that is named, else the target's own, else the defaults."""
    if recipe:
        return load(recipe, overrides or [])
    if (Path(target) / "resolved.json").is_file():
        return load_run(Path(target), overrides or [])
    return judging(overrides or [])
