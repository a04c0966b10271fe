"""`pacos leaderboard`: published leaderboards recomputed, and what is wrong with a folder of them."""

import time
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from pacos.core.files import write_json

leaderboard = typer.Typer(
    name="leaderboard", no_args_is_help=True, help="Recompute or audit a folder of outputs and annotations."
)

FolderPath = Annotated[
    Path,
    typer.Argument(
        metavar="FOLDER",
        help="Has results/MODEL/model_outputs.json, annotations below, leaderboards/, weights/, derived/.",
    ),
]
JsonPath = Annotated[Path | None, typer.Option("--json", metavar="FILE", help="Write everything there as JSON, too.")]


@leaderboard.command()
def reproduce(folder: FolderPath, json_file: JsonPath = None) -> None:
    """Recompute win rates, standard errors, counts and length-controlled rates from annotations."""
    from pacos.evaluate.leaderboard.folder import open_folder
    from pacos.evaluate.leaderboard.printing import print_rows
    from pacos.evaluate.leaderboard.reproduction import reproduce

    start = time.perf_counter()
    opened = open_folder(folder)
    rows = reproduce(opened)
    if json_file:
        write_json(json_file, list(map(asdict, rows)))
    print_rows(rows, opened.unread, time.perf_counter() - start)


@leaderboard.command()
def audit(folder: FolderPath, json_file: JsonPath = None) -> None:
    """Find what is wrong: texts, joins, copies, dropped rows, display order, scales."""
    from pacos.evaluate.leaderboard.folder import open_folder
    from pacos.evaluate.leaderboard.inspection import inspect_folder
    from pacos.evaluate.leaderboard.printing import print_findings

    start = time.perf_counter()
    findings = inspect_folder(open_folder(folder))
    if json_file:
        write_json(json_file, list(map(asdict, findings)))
    print_findings(findings, time.perf_counter() - start)
