"""Typed reports: a stage's report.json, read back into the dataclass that it was written from."""

from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

from pacos.core.errors import PacosError
from pacos.core.files import read_json
from pacos.core.typed import MisfitError, typed

Report = TypeVar("Report")


def read_report(
    cls: type[Report],
    folder: Path,
    name: str = "report.json",
    advice: str = "Give --run another folder, or use the version that made it.",
) -> Report:
    """`folder`/`name` as a `cls`: nested dataclasses, lists, tuples, dicts and optionals included.

    Raises PacosError naming the first key that is missing, unknown, or holds no such value.
    """
    path = folder / name
    try:
        report: Report = typed(cls, read_json(path, "report"), "", as_dataclass)
    except MisfitError as misfit:
        raise PacosError(
            f"{path}: {str(misfit).lstrip('. ')}; not a report of this version of pacos, and what lies beside it is as "
            f"it was. {advice}"
        ) from None
    return report


def as_dataclass(cls: Any, values: dict[str, Any], name: str) -> Any:
    """What `typed` makes dataclasses with: every key must be a field's, and every field without a default be there."""
    hints = get_type_hints(cls)
    for key in values.keys() - hints.keys():
        raise MisfitError(f"{name}.{key} is unknown")
    for field in fields(cls):
        if field.name not in values and field.default is MISSING and field.default_factory is MISSING:
            raise MisfitError(f"{name}.{field.name} is missing")
    return cls(**{key: typed(hints[key], each, f"{name}.{key}", as_dataclass) for key, each in values.items()})
