"""docs/commands.md is what the commands' own help says."""

import typer

from pacos.cli.main import app
from tests.conftest import ROOT
from tools.commands import page


def test_the_page_of_commands_is_up_to_date() -> None:
    written = (ROOT / "docs" / "commands.md").read_text(encoding="utf-8")
    assert written == page(app), "write it again: python tools/commands.py docs/commands.md"


def test_commands_below_a_command_stand_there_too() -> None:
    outer, inner = typer.Typer(), typer.Typer()

    @outer.callback()
    def outermost() -> None:
        """All of it."""

    @inner.command()
    def count(limit: int = typer.Option(3, help="Where counting ends.")) -> None:
        """Count things."""

    @inner.command()
    def sort() -> None:
        """Sort things."""

    outer.add_typer(inner, name="things")
    text = page(outer)
    assert [line for line in text.splitlines() if line.startswith("## ")] == [
        "## pacos", "## pacos things", "## pacos things count", "## pacos things sort"
    ]  # fmt: skip
    assert "Usage: pacos things count [OPTIONS]" in text
    assert "Where counting ends." in text
