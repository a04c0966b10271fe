"""The commands that repeat this run, go on from it, or check it."""

import json
import os
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pacos.core.errors import PacosError
from pacos.core.recipe import load
from pacos.study.page.run_files import RunFiles


@dataclass(frozen=True)
class Command:
    """What a line does, and the line for a shell in the folder where the run was made."""

    id: str
    purpose: str
    line: str


def commands(files: RunFiles) -> list[Command]:
    """What can be done from here, the unfinished first."""
    folder = _from_here(files.path)
    recipe = shlex.join([str(Path(folder) / "recipe.toml"), *overrides(files)])
    quoted, again = shlex.quote(folder), shlex.quote(f"{folder}-again")
    lines = []
    if files.missing:
        lines.append(Command("go-on", "Go on with what is missing", f"pacos run {recipe} --run {quoted}"))
    if files.train:
        lines.append(Command("serve", "Talk to the student in the browser", f"pacos serve {quoted}"))
        lines.append(Command("detect", "Find its watermark in a text file", f"pacos detect answer.txt --run {quoted}"))
    if files.release:
        release = shlex.quote(str(Path(folder) / "release"))
        lines.append(Command("check", "Check every released file", f"(cd {release} && sha256sum -c SHA256SUMS)"))
        if files.release.weights_diff_bytes:
            line = f"pacos rebuild {release} --base {shlex.quote(files.recipe.train.base)} --out rebuilt"
            lines.append(Command("rebuild", "Rebuild the student from base and weight difference", line))
    stages = "evaluate" if files.only_compares else "run"
    lines.append(Command("repeat", "Do it all again in a new folder", f"pacos {stages} {recipe} --run {again}"))
    lines.append(Command("report", "Write this page again", f"pacos report {quoted}"))
    return lines


def overrides(files: RunFiles) -> list[str]:
    """What was laid over the recipe on the command line: where resolved.json differs from recipe.toml."""
    try:
        written = load(files.path / "recipe.toml").tables()
    except PacosError:
        # A recipe may be whole only with what the command line added: the page is still worth having.
        return []
    return list(_differences("", files.recipe.tables(), written))


def _differences(table: str, now: Mapping[str, Any], written: Mapping[str, Any]) -> Iterator[str]:
    for key, value in now.items():
        if isinstance(value, dict):
            yield from _differences(f"{table}{key}.", value, written.get(key) or {})
        elif value is not None and value != written.get(key):
            yield f"{table}{key}={value if isinstance(value, str) else json.dumps(value)}"


def _from_here(path: Path) -> str:
    """The path as a shell here would take it, so that a page that is passed on tells no home folder needlessly."""
    relative = os.path.relpath(path)
    return str(path) if relative.startswith("..") else relative
