"""`pacos ballots`: votes of other tools taken in, answers and votes given out in the formats of others."""

from pathlib import Path
from typing import Annotated, Literal

import typer

ballots = typer.Typer(
    name="ballots", no_args_is_help=True, help="Take in votes of other tools, or write a run's for theirs."
)


@ballots.command("import")
def import_files(
    files: Annotated[
        list[Path],
        typer.Argument(
            metavar="FILE...",
            help="annotations.json; JUDGE_pair.jsonl or people's votes; a spreadsheet of votes; votes.jsonl.",
        ),
    ],
    source: Annotated[
        Literal["alpaca-eval", "mt-bench", "tulu", "serve"], typer.Option("--format", help="Whose files.")
    ],
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Where to keep them; runs/ballots-FILE, or -MODEL-JUDGE.")
    ] = None,
) -> None:
    """Keep other tools' votes as ballots; print win rates, agreement and slot effect."""
    from pacos.evaluate.formats.importing import import_ballots

    # AlpacaEval's files are all called the same, and their folders say whose they are.
    whose = files[0].absolute().parts[-3:-1] if files[0].stem == "annotations" else (files[0].stem,)
    import_ballots(files, source, out or Path("runs") / "-".join(("ballots", *whose)))


@ballots.command("export")
def export_run(
    path: Annotated[Path, typer.Argument(metavar="RUN", help="A run, or a folder of imported votes.")],
    target: Annotated[
        Literal["alpaca-eval", "helm", "lm-eval", "inspect"], typer.Option("--format", help="Whose viewer.")
    ],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where to write.")],
) -> None:
    """Write a run's answers and votes as another tool's files."""
    from pacos.evaluate.formats.exporting import export_ballots

    export_ballots(path, target, out)
