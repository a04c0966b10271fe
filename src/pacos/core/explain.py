"""`pacos explain`: a recipe's keys in words, from the tables themselves."""

import ast
import inspect
import itertools
import json
import textwrap
from dataclasses import is_dataclass
from functools import cache
from typing import get_args, get_type_hints

from pacos.core.keys import check_name, names_of
from pacos.core.recipe import ALL_TABLES, TABLES, table_class
from pacos.core.typed import describe

ENGINES = (
    "engines.NAME: one more engine, under a name of your own; teacher.engine, judge.engine, evaluate.judges and "
    "evaluate.candidates take that name. A key spelt in [teacher] or [judge] beside it overrides the engine's."
)


@cache
def doc_lines(table: type) -> dict[str, str]:
    """Field name -> the doc line under it, read from the source: Python keeps no docstring of a field."""
    body = ast.parse(textwrap.dedent(inspect.getsource(table))).body[0].body  # type: ignore[attr-defined]
    lines = {}
    for statement, following in itertools.pairwise(body):
        if isinstance(statement, ast.AnnAssign) and isinstance(following, ast.Expr):
            lines[ast.unparse(statement.target)] = ast.literal_eval(following.value)
    return lines


def explain(name: str) -> str:
    """A key's doc line, type, default and unit; a table's name explains all of its keys, a bare key each table's.

    Raises PacosError for a name that no recipe has.
    """
    table, _, key = name.rpartition(".")
    if name in TABLES:
        return _explain_all(name)
    if "engines" in (name, table):
        return f"{ENGINES}\n\n{_explain_all('engines.NAME')}"
    if not table and (owners := [each for each, cls in ALL_TABLES.items() if name in names_of(cls)]):
        return "\n\n".join(explain(f"{owner}.{name}") for owner in owners)
    if not table.startswith("engines."):
        check_name("explain", table or key, (*ALL_TABLES, "engines"), "table")
    cls = table_class(table)
    check_name("explain", key, names_of(cls), "key", f"{table}.")
    spec, hint = cls.__dataclass_fields__[key], get_type_hints(cls)[key]  # type: ignore[attr-defined]
    # As a recipe spells it.
    shown = json.dumps(spec.default, ensure_ascii=False)
    default = {None: "unset", "": "empty", (): "empty"}.get(spec.default, shown)
    unit = f"\n  unit: {spec.metadata['unit']}" if "unit" in spec.metadata else ""
    told = f"{name}: {doc_lines(cls)[key]}\n  expects: {describe(hint)}\n  default: {default}{unit}"
    inner = any(map(is_dataclass, get_args(hint)))
    return f"{told}\n\n{_explain_all(name)}" if inner else told


def _explain_all(table: str) -> str:
    return "\n\n".join(explain(f"{table}.{key}") for key in names_of(table_class(table)))
