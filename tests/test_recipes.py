"""Every shipped recipe is read, and opens with what it is for."""

from pathlib import Path

import pytest

from pacos.core.recipe import load
from tests.conftest import ROOT

RECIPES = sorted((ROOT / "recipes").rglob("*.toml"))


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.name)
def test_a_shipped_recipe_is_read_and_restates_no_default(path: Path) -> None:
    recipe = load(path)
    for table, values in {name: getattr(recipe, name) for name in ("teacher", "generate", "train", "evaluate")}.items():
        written = path.read_text().partition(f"[{table}]")[2].partition("\n[")[0]
        for key, field in type(values).__dataclass_fields__.items():
            if f"\n{key} =" in written:
                assert getattr(values, key) != field.default, f"{path.name} restates the default of {table}.{key}"


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.name)
def test_a_shipped_recipe_opens_with_hardware_hours_dollars_and_result(path: Path) -> None:
    head = path.read_text().partition("\n[")[0]
    for word in ("Hardware:", "Hours:", "Dollars:", "Expect:"):
        assert f"# {word}" in head
