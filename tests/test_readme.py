"""The README's commands exist, its links lead somewhere and its recipes' keys are known."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from pacos.core.recipe import load
from tests.conftest import ROOT

README = (ROOT / "README.md").read_text()


@pytest.mark.parametrize("verb", sorted(set(re.findall(r"\bpacos ([a-z]+) [A-Z\[]", README))))
def test_every_verb_the_readme_names_exists(verb: str) -> None:
    asked = subprocess.run([sys.executable, "-m", "pacos", verb, "--help"], capture_output=True, text=True)
    assert asked.returncode == 0
    assert f"pacos {verb}" in asked.stdout


def test_every_override_in_the_readme_is_a_key() -> None:
    overrides = re.findall(r"\b[a-z]+\.[a-z_]+=\S+", README)
    assert overrides
    load(ROOT / "recipes" / "tiny.toml", overrides)


@pytest.mark.parametrize("page", ["README.md", *(f"docs/{p.name}" for p in sorted((ROOT / "docs").glob("*.md")))])
def test_links_lead_to_files(page: str) -> None:
    folder = (ROOT / page).parent
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", (ROOT / page).read_text()):
        assert (folder / Path(target)).exists(), f"{page} links to {target}"


def test_make_demo_and_make_test_are_targets() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"`make (\w+)`", README):
        assert f"\n{target}:" in makefile


def test_every_number_of_the_first_table_is_in_the_record_it_links_to() -> None:
    (head, *rows), *_ = [block.splitlines() for block in README.split("\n\n") if "(benchmarks/results/" in block]
    record = (ROOT / re.search(r"\]\(([^)]+)\)", head).group(1)).read_text()
    numbers = re.findall(r"\d[\d,.]*\d|\d", " ".join(rows))
    assert len(numbers) > 20
    assert [
        number for number in numbers if not re.search(rf"(?<![\d.,]){re.escape(number)}(?![\d,]|\.\d)", record)
    ] == []


def test_the_picture_is_small() -> None:
    (picture,) = re.findall(r"!\[[^]]*\]\(([^)]+)\)", README)
    assert (ROOT / picture).stat().st_size < 300_000
