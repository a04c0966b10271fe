"""The plan's layers hold: imports point down only, none hides in a function, and no module is a drawer."""

import ast
from collections.abc import Collection
from pathlib import Path

SOURCE = Path(__file__).parent.parent / "src" / "pacos"
LAYERS = {
    "cli": 5,
    "study": 4,
    **dict.fromkeys(("generate", "train", "evaluate", "release", "serve", "redteam"), 3),
    **dict.fromkeys(("engines", "watermark", "guard", "text", "statistics", "web"), 2),
    "core": 1,
}
# The arrows between parts, as docs/architecture.md says them; one way each.
ARROWS_BETWEEN_PARTS: set[tuple[str, str]] = set()
DRAWERS = {"utils", "helpers", "common", "misc", "manager"}
# The lazy doors of the plan: a verb imports its stage, and open_engine its engine.
LAZY = {SOURCE / "engines" / "open.py"}


def modules() -> list[Path]:
    return sorted(SOURCE.rglob("*.py"))


def room(path: Path) -> str:
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


def imported_rooms(tree: ast.AST) -> set[str]:
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
            if node.module == "pacos":
                names |= {f"pacos.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
    return {name.split(".")[1] for name in names if name.startswith("pacos.")}


def module_name(path: Path) -> str:
    return ".".join(("pacos", *path.relative_to(SOURCE).with_suffix("").parts)).removesuffix(".__init__")


def imported_modules(tree: ast.AST, known: Collection[str]) -> set[str]:
    """`from pacos.a import b` is an arrow to the module pacos.a.b where there is one, else to pacos.a."""
    arrows = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                arrows.add(inner if inner in known else node.module)
    return arrows


def test_imports_point_down() -> None:
    wrong = []
    for path in modules():
        here = room(path)
        if here in ("__init__", "__main__"):
            continue
        assert here in LAYERS, f"{here} is no room of the plan"
        for there in imported_rooms(ast.parse(path.read_text())) & LAYERS.keys():
            down = LAYERS[there] < LAYERS[here]
            if not (down or there == here or (here, there) in ARROWS_BETWEEN_PARTS):
                wrong.append(f"{path.relative_to(SOURCE)} imports {there}")
    assert wrong == []


def test_arrows_between_parts_go_one_way() -> None:
    assert not {(there, here) for here, there in ARROWS_BETWEEN_PARTS} & ARROWS_BETWEEN_PARTS


def test_no_import_hides_in_a_function() -> None:
    hidden = []
    for path in modules():
        if room(path) == "cli" or path in LAZY:
            continue
        for function in ast.walk(ast.parse(path.read_text())):
            if isinstance(function, (ast.FunctionDef, ast.AsyncFunctionDef)):
                hidden += [
                    f"{path.relative_to(SOURCE)}:{node.lineno}"
                    for node in ast.walk(function)
                    if isinstance(node, (ast.Import, ast.ImportFrom))
                ]
    assert hidden == []


def test_no_module_is_a_drawer() -> None:
    assert [path for path in modules() if set(path.relative_to(SOURCE).with_suffix("").parts) & DRAWERS] == []


def test_modules_of_a_room_do_not_import_in_a_circle() -> None:
    names = {module_name(path): path for path in modules() if path not in LAZY}
    graph = {name: imported_modules(ast.parse(path.read_text()), names) for name, path in names.items()}

    def reaches(start: str, goal: str, seen: set[str]) -> bool:
        return any(
            near == goal or (near not in seen and reaches(near, goal, seen | {near})) for near in graph.get(start, ())
        )

    assert [name for name in graph if reaches(name, name, {name})] == []


def test_core_needs_no_torch_and_no_web() -> None:
    heavy = {"torch", "transformers", "fastapi", "uvicorn", "sqlalchemy", "matplotlib", "scipy"}
    for path in (SOURCE / "core").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module] if isinstance(node, ast.ImportFrom) and node.module else []
            assert not {name.split(".")[0] for name in names} & heavy, path
