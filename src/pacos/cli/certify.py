"""`pacos certify`: a judge put to the test, or published judges recomputed from their replies."""

from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated

import typer

from pacos.cli.environment import stay_offline
from pacos.core.errors import PacosError
from pacos.core.files import write_json
from pacos.core.recipe import Recipe, judging, load, load_run


def certify(
    judge: Annotated[
        str | None,
        typer.Argument(metavar="JUDGE", help="judge (the [judge] table), an [engines.NAME], builtin:judge, ..."),
    ] = None,
    overrides: Annotated[
        list[str] | None, typer.Argument(metavar="[TABLE.KEY=VALUE]...", help="Overrides of the recipe's keys.")
    ] = None,
    recipe: Annotated[
        Path | None,
        typer.Option(
            metavar="RECIPE", help="Where the judge's table is, or a run's folder; none: defaults and overrides."
        ),
    ] = None,
    prompt: Annotated[
        str | None, typer.Option(metavar="NAME", help="pairwise, letter or a folder, instead of the table's own.")
    ] = None,
    data: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Has llmbar/ and, for people's votes, tulu1/.")
    ] = None,
    max_items: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="At most so many items of each part, drawn by a hash.")
    ] = None,
    replies: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Recompute LLMBar's published judges from their replies.")
    ] = None,
    json_file: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write everything there as JSON, too.")
    ] = None,
) -> None:
    """Test a judge on LLMBar, people's votes and attacks, and keep its certificate."""
    if replies is not None:
        if judge is not None or data or prompt or recipe or max_items:
            raise PacosError("certify --replies recomputes published judges: give it FOLDER and, if wanted, --json.")
        _recompute(replies, json_file)
    elif judge is None or data is None or "=" in judge:
        raise PacosError(
            "certify: expected a judge and --data FOLDER, such as "
            "`pacos certify builtin:judge --data FOLDER`, or --replies FOLDER."
        )
    else:
        given = _recipe(recipe, overrides or [])
        _certify(judge, given, prompt, data, max_items, json_file)


def _recipe(path: Path | None, overrides: list[str]) -> Recipe:
    if path is None:
        return judging(overrides)
    return load_run(path, overrides) if path.is_dir() else load(path, overrides)


def _certify(
    name: str, recipe: Recipe, prompt: str | None, data: Path, max_items: int | None, json_file: Path | None
) -> None:
    stay_offline(replace(recipe, evaluate=replace(recipe.evaluate, judges=(name,))))
    from pacos.evaluate.certify.certificate_tables import print_certificate
    from pacos.evaluate.certify.certification import certify
    from pacos.judging import judge_named

    certificate, path = certify(judge_named(name, recipe, prompt), data, max_items)
    if json_file:
        write_json(json_file, asdict(certificate))
    print_certificate(certificate, path)


def _recompute(folder: Path, json_file: Path | None) -> None:
    from pacos.evaluate.certify.certificate_tables import print_published
    from pacos.evaluate.certify.published_judges import published_judges

    rows = published_judges(folder)
    if json_file:
        write_json(json_file, list(map(asdict, rows)))
    print_published(rows)
