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
            help="What counts as a failure: contains:TEXT, regex:PATTERN, refusal, compliance or lexicon[:FILE].",
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
        float | None, typer.Option(min=0, metavar="USD", help="The most that target and proposer may cost.")
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
