"""`pacos harness NAME RUN`: another harness measures a run's model."""

from pathlib import Path
from typing import Annotated

import typer

from pacos.cli.environment import stay_offline
from pacos.core.recipe import load_run
from pacos.core.run_folder import RunFolder

harness = typer.Typer(no_args_is_help=True, help="Measure a run's model with another harness, beside our numbers.")

RunPath = Annotated[Path, typer.Argument(metavar="RUN", help="A run folder, such as runs/tiny.")]
Environment = Annotated[
    Path | None,
    typer.Option(metavar="DIR", help="The virtual environment that has the harness; else it is looked for on PATH."),
]
Judge = Annotated[
    str,
    typer.Option(metavar="NAME", help="Who grades answers: an [engines.NAME], http:BASE_URL or local:MODEL."),
]
Instructions = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Instructions; those of the run's evaluation unless given.")
]
References = Annotated[Path | None, typer.Option(metavar="FILE", help="Reference answers to them.")]
First = Annotated[int | None, typer.Option(min=1, metavar="N", help="Ask only the first N of each set.")]


@harness.command("lm-eval")
def lm_eval(
    path: RunPath,
    environment: Environment = None,
    instructions: Instructions = None,
    references: References = None,
    limit: First = None,
) -> None:
    """lm-evaluation-harness: exact match and ROUGE-L by chat, multiple choice by log-likelihood."""
    _measure("lm-eval", path, environment, "", instructions, references, limit)


@harness.command("inspect")
def inspect(
    path: RunPath,
    environment: Environment = None,
    judge: Judge = "",
    instructions: Instructions = None,
    references: References = None,
    limit: First = None,
) -> None:
    """Inspect: exact match, F1 and a judge's grades by chat, multiple choice by a written letter."""
    _measure("inspect", path, environment, judge, instructions, references, limit)


@harness.command("helm")
def helm(
    path: RunPath,
    environment: Environment = None,
    judge: Judge = "",
    instructions: Instructions = None,
    references: References = None,
    limit: First = None,
) -> None:
    """HELM: its reference metrics and a critic's grades by chat, multiple choice by a written letter."""
    _measure("helm", path, environment, judge, instructions, references, limit)


def _measure(
    name: str,
    path: Path,
    environment: Path | None,
    judge: str,
    instructions: Path | None,
    references: Path | None,
    limit: int | None,
) -> None:
    recipe = load_run(path)
    stay_offline(recipe)
    from pacos.evaluate.harness.run import run
    from pacos.evaluate.harness.scores_table import print_scores
    from pacos.study.report_page import write

    with RunFolder(path, recipe) as run_folder:
        report = run(name, run_folder, environment, judge, instructions, references, limit)
    if report is None:
        raise typer.Exit(2)
    print_scores(report, path / "harness" / name)
    if (path / "report.html").is_file():
        write(path)
