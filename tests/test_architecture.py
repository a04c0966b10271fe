"""The plan's layers hold: imports point down only, none hides in a function, and no module is a drawer."""

import ast
from collections import defaultdict
from collections.abc import Collection
from pathlib import Path

import pytest

SOURCE = Path(__file__).parent.parent / "src" / "pacos"
STAGES = ("generate", "train", "evaluate", "release", "serve", "redteam")
PARTS = ("judging", "asking", "engines", "watermark", "guard", "text", "statistics", "web", "store")
LAYERS = {"core": ("core",), "parts": PARTS, "stages": STAGES, "study": ("study",), "cli": ("cli",)}
# From the bottom up.
HEIGHTS = {room: height for height, rooms in enumerate(LAYERS.values()) for room in rooms}
# The arrows between parts, as docs/architecture.md says them; one way each.
ARROWS_BETWEEN_PARTS = {
    ("judging", "engines"),
    ("asking", "engines"),
    ("asking", "store"),
    ("guard", "engines"),
    ("judging", "guard"),
    ("watermark", "engines"),
    ("web", "store"),
}
DRAWERS = {"utils", "helpers", "common", "misc", "manager"}
# Where an import may wait for a function to be called, and why; a verb that imports its stage aside.
LAZY_DOORS = {
    "core/data_files.py": "pyarrow is an extra",
    "engines/open.py": "an engine is imported when it is opened: what needs no torch never loads it",
    "train/base.py": "peft is an extra",
    "train/run.py": "Hugging Face's Trainer takes two seconds to import, and few need it",
    "train/tracking.py": "wandb and trackio are packages of the user's, named by train.track",
    "release/adapters.py": "peft is an extra",
}
# A stage has both, and a package its own.
SHARED_NAMES = {"run", "report", "__init__"}


def modules() -> list[Path]:
    return sorted(SOURCE.rglob("*.py"))


def room(path: Path) -> str:
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


def imported_rooms(tree: ast.AST) -> set[str]:
    """The rooms imported from; a stage's report is no part of its room here, being what others read of it."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
            if node.module == "pacos":
                names |= {f"pacos.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
    parts = [name.split(".") for name in names if name.startswith("pacos.")]
    return {part[1] for part in parts if not (part[1] in STAGES and part[2:] == ["report"])}


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
        assert here in HEIGHTS, f"{here} is no room of the plan"
        for there in imported_rooms(ast.parse(path.read_text())) & HEIGHTS.keys():
            down = HEIGHTS[there] < HEIGHTS[here]
            if not (down or there == here or (here, there) in ARROWS_BETWEEN_PARTS):
                wrong.append(f"{path.relative_to(SOURCE)} imports {there}")
    assert wrong == []


@pytest.mark.parametrize("stage", STAGES)
def test_a_report_needs_no_more_than_core_and_parts(stage: str) -> None:
    path = SOURCE / stage / "report.py"
    if path.exists():
        assert not {there for there in imported_rooms(ast.parse(path.read_text())) if HEIGHTS[there] > 1}


def test_arrows_between_parts_go_one_way() -> None:
    assert not {(there, here) for here, there in ARROWS_BETWEEN_PARTS} & ARROWS_BETWEEN_PARTS


def hidden_imports(tree: ast.AST) -> list[int]:
    """The lines of imports inside a function, by a statement or by a call that is given a module's name."""
    inside = [
        node
        for function in ast.walk(tree)
        if isinstance(function, (ast.FunctionDef, ast.AsyncFunctionDef))
        for node in ast.walk(function)
        if isinstance(node, (ast.Import, ast.ImportFrom))
    ]
    names = ("import_module", "__import__", "spec_from_file_location", "find_spec")
    calls = [node for node in ast.walk(tree) if getattr(node, "id", getattr(node, "attr", "")) in names]
    return [node.lineno for node in (*inside, *calls)]


def test_imports_hide_in_the_listed_doors_alone() -> None:
    hiding = {
        str(path.relative_to(SOURCE)): lines
        for path in modules()
        if room(path) != "cli" and (lines := hidden_imports(ast.parse(path.read_text())))
    }
    assert {path: lines for path, lines in hiding.items() if path not in LAZY_DOORS} == {}
    assert sorted(LAZY_DOORS.keys() - hiding) == [], "a door that is none any more"


@pytest.mark.parametrize("layer", LAYERS)
def test_no_two_modules_or_classes_of_one_layer_have_one_name(layer: str) -> None:
    found: defaultdict[str, list[str]] = defaultdict(list)
    for path in modules():
        if room(path) not in LAYERS[layer]:
            continue
        here = str(path.relative_to(SOURCE))
        if path.stem not in SHARED_NAMES:
            found[path.stem].append(here)
        elif path.stem == "__init__" and path.parent.name != room(path):
            found[path.parent.name].append(here)
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.ClassDef):
                found[node.name].append(here)
    assert {name: where for name, where in found.items() if len(where) > 1} == {}


def test_no_module_is_a_drawer() -> None:
    assert [path for path in modules() if set(path.relative_to(SOURCE).with_suffix("").parts) & DRAWERS] == []


def test_modules_of_a_room_do_not_import_in_a_circle() -> None:
    names = {module_name(path): path for path in modules() if path != SOURCE / "engines" / "open.py"}
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
