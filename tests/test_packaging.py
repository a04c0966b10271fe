"""What pyproject.toml declares is what the code imports, and what a wheel needs is in it."""

import ast
import sys
import tomllib
from importlib.metadata import packages_distributions

import pacos
from pacos.core.recipe import shipped_recipes
from tests.conftest import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
# Imported only where the user names them, train.track, or where they are what imports us, or a copy of our file.
ASKED_FOR = {"wandb", "trackio", "vllm", "inspect_ai", "helm", "rouge_score"}
# One distribution's own parts, and what type checkers alone import.
PARTS = {"pydantic_core": "pydantic", "_typeshed": None}


def declared(requirements: list[str]) -> set[str]:
    return {requirement.partition(">")[0].partition("[")[0].lower() for requirement in requirements}


def imported() -> set[str]:
    found = set()
    for path in (ROOT / "src").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                found |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                found.add(node.module.partition(".")[0])
    return found - sys.stdlib_module_names - {"pacos"} - ASKED_FOR


def test_declared_dependencies_are_exactly_what_is_imported() -> None:
    owners = packages_distributions()
    needed = {PARTS.get(module, owners.get(module, [module])[0]) for module in imported()} - {None}
    needed = {name.lower().replace("_", "-") for name in needed if name}
    extras = declared(
        [each for name, of_extra in PROJECT["optional-dependencies"].items() if name != "dev" for each in of_extra]
    )
    # Loaded by a library where an extra asks for it: transformers' Trainer, a PostgreSQL URL.
    by_libraries = {"accelerate", "psycopg"}
    assert needed <= declared(PROJECT["dependencies"]) | extras
    assert declared(PROJECT["dependencies"]) <= needed
    assert extras <= needed | by_libraries


def test_every_dependency_has_a_lower_bound_and_is_pinned_for_a_fresh_set_up() -> None:
    pinned = {
        line.partition("==")[0].lower().replace("_", "-")
        for line in (ROOT / "constraints.txt").read_text().splitlines()
    }
    for requirement in PROJECT["dependencies"]:
        assert ">=" in requirement, requirement
    assert declared(PROJECT["dependencies"]) <= pinned


def test_there_is_one_version_number() -> None:
    assert "version" not in PROJECT
    assert f"## {pacos.__version__}" in (ROOT / "CHANGELOG.md").read_text()


def test_a_recipe_that_comes_along_is_found_by_its_name() -> None:
    assert {path.stem for path in (ROOT / "recipes").glob("*.toml")} <= set(shipped_recipes())
