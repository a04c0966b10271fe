"""Writes docs/commands.md from the commands' own help: `python tools/commands.py docs/commands.md`."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer

from pacos.cli.main import app

WIDTH = 110
HEAD = """# Every command

What `pacos VERB --help` says, at {width} columns. Written by `python tools/commands.py docs/commands.md`, and held to
the code by a test. What a recipe's keys mean is told by `pacos explain`.
"""


def page(program: typer.Typer) -> str:
    """The page's Markdown: the program's help and that of every command below it, nested ones too."""
    command = typer.main.get_command(program)
    parts = [f"\n## {path}\n\n```text\n{text}\n```\n" for path, text in _helps(command, "pacos", None)]
    return HEAD.format(width=WIDTH) + "".join(parts)


def _helps(command: Any, name: str, parent: Any) -> Iterator[tuple[str, str]]:
    # Without the terminal's boxes, whose look is rich's to change.
    command.rich_markup_mode = None
    context = typer.Context(command, parent=parent, info_name=name, terminal_width=WIDTH, max_content_width=WIDTH)
    lines = command.get_help(context).splitlines()
    yield context.command_path, "\n".join(line.rstrip() for line in lines).strip()
    for inner, below in getattr(command, "commands", {}).items():
        yield from _helps(below, inner, context)


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(page(app), encoding="utf-8")
