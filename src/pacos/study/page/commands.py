"""The commands that repeat this run, go on from it, or check it."""

import json
import os
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pacos.core.errors import PacosError
from pacos.core.recipe import Recipe, load
from pacos.study.page.run_files import RunFiles


@dataclass(frozen=True)
class Command:
    """What a line does, and the line for a shell in the folder where the run was made."""

    id: str
    purpose: str
    line: str


def commands(files: RunFiles) -> list[Command]:
    """What can be done from here, the unfinished first."""
    run = _from_here(files.path)
    recipe = shlex.join([str(Path(run) / "recipe.toml"), *overrides(files)])
    quoted, again = shlex.quote(run), shlex.quote(f"{run}-again")
    lines = []
    if files.missing:
        lines.append(Command("go-on", "Go on with what is missing", f"pacos run {recipe} --run {quoted}"))
    if files.stages["train"].done:
        lines.append(Command("serve", "Talk to the student in the browser", f"pacos serve {quoted}"))
        lines.append(Command("detect", "Find its watermark in a text file", f"pacos detect answer.txt --run {quoted}"))
    if files.stages["release"].done:
        release = shlex.quote(str(Path(run) / "release"))
        lines.append(Command("check", "Check every released file", f"(cd {release} && sha256sum -c SHA256SUMS)"))
        if files.stages["release"].report.get("weights_diff_bytes"):
            base = shlex.quote(str(files.recipe.get("train", {}).get("base", "BASE")))
            line = f"pacos rebuild {release} --base {base} --out rebuilt"
            lines.append(Command("rebuild", "Rebuild the student from base and weight difference", line))
    lines.append(Command("repeat", "Do it all again in a new folder", f"pacos run {recipe} --run {again}"))
    lines.append(Command("report", "Write this page again", f"pacos report {quoted}"))
    return lines


def overrides(files: RunFiles) -> list[str]:
    """What was laid over the recipe on the command line: where resolved.json differs from recipe.toml."""
    path = files.path / "recipe.toml"
    try:
        recipe = load(path)
    except PacosError:
        # A recipe of another version of pacos: the page is still worth having.
        return []
    return [
        f"{table}.{key}={_toml(value)}"
        for table, values in files.recipe.items()
        for key, value in values.items()
        if value is not None and _differs(recipe, table, key, value)
    ]


def _differs(recipe: Recipe, table: str, key: str, value: Any) -> bool:
    values: Mapping[str, Any] = recipe.table(table) if hasattr(recipe, table) else {}
    return key in values and values[key] != value


def _toml(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _from_here(path: Path) -> str:
    """The path as a shell here would take it, so that a page that is passed on tells no home folder needlessly."""
    relative = os.path.relpath(path)
    return str(path) if relative.startswith("..") else relative
