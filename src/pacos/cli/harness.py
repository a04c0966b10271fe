"""`pacos harness NAME RUN`: another harness measures a run's model."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from pacos.cli.environment import stay_offline
from pacos.core.errors import PacosError
from pacos.core.recipe import load_run
from pacos.core.run_folder import RunFolder


def harness(
    name: Annotated[
        Literal["lm-eval", "inspect", "helm"],
        typer.Argument(help="lm-evaluation-harness, Inspect or HELM.", show_default=False),
    ],
    path: Annotated[Path, typer.Argument(metavar="RUN", help="A run folder, such as runs/tiny.")],
    environment: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="A virtual environment that has the harness; else it is looked for on PATH."),
    ] = None,
    judge: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="Who grades answers, for inspect and helm: an [engines.NAME], http:BASE_URL or local:MODEL.",
        ),
    ] = "",
    instructions: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Instructions; those of the run's evaluation unless given.")
    ] = None,
    references: Annotated[Path | None, typer.Option(metavar="FILE", help="Reference answers to them.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, metavar="N", help="Ask only the first N of each set.")] = None,
) -> None:
    """Measure a run's model with another harness, beside our numbers.

    Exact match, ROUGE-L or F1 and a judge's grades by chat; multiple choice by log-likelihood (lm-eval) or a letter.
    """
    if judge and name == "lm-eval":
        raise PacosError(f"--judge {judge}: lm-eval grades nothing by a judge; leave it out, or take inspect or helm.")
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
