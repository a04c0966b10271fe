"""The keys of a recipe's tables: how one is declared, and what is refused as its value."""

import difflib
import math
from collections.abc import Iterable, Mapping
from dataclasses import field, fields
from typing import Any, get_args, get_type_hints
from urllib.parse import urlsplit

from pacos.core.errors import PacosError
from pacos.core.typed import MisfitError, describe, typed


def key(default: Any, **about: Any) -> Any:
    """A table's field; `about` it: its unit, at_least and at_most.

    A key that is `free` shapes nothing of what is made, so a run may go on with another value; one that is
    `free_until_done` says how much is made or computed at once, and may change until its stage is finished.
    """
    return field(default=default, metadata=about)


def names_of(table: type, *marks: str) -> list[str]:
    """The keys of a table; given `marks` such as "free", those that have one."""
    return [f.name for f in fields(table) if not marks or any(map(f.metadata.get, marks))]


def check_name(where: str, name: str, known: Iterable[str], kind: str, prefix: str = "") -> None:
    """PacosError with the nearest right name where `name` is not known."""
    if name in known:
        return
    near = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    hint = f"did you mean '{prefix}{near[0]}'?" if near else f"expected one of: {', '.join(sorted(known))}."
    raise PacosError(f"{where}: unknown {kind} '{prefix}{name}'; {hint}")


def checked(where: str, cls: type, table: str, key: str, value: Any) -> Any:
    """The value that TOML gave for `table.key`, as `cls` holds it; PacosError where it cannot be."""
    check_name(where, key, names_of(cls), "key", f"{table}.")
    name = f"{table}.{key}"
    if isinstance(value, str):
        _check_text(where, name, value)
    hint = get_type_hints(cls)[key]
    value = _typed(where, name, hint, value)
    if type(value) is int and float in (hint, *get_args(hint)):
        # One number has one spelling: it stands in the keys of paid replies.
        value = float(value)
    _check_bounds(where, name, next(f for f in fields(cls) if f.name == key).metadata, value)
    return value


def _typed(where: str, name: str, hint: Any, value: Any) -> Any:
    def inner_table(cls: type, values: dict[str, Any], table: str) -> Any:
        return cls(**{key: checked(where, cls, table, key, each) for key, each in values.items()})

    try:
        return typed(hint, value, name, inner_table)
    except MisfitError:
        near = difflib.get_close_matches(str(value), [str(v) for v in get_args(hint)], n=1)
        nearest = f"; did you mean {near[0]!r}?" if near else "."
        raise PacosError(f"{where}: {name} is {value!r}; expected {describe(hint)}{nearest}") from None


def _check_text(where: str, name: str, value: str) -> None:
    if "\0" in value:
        raise PacosError(f"{where}: {name} holds a NUL character; remove it.")
    if name.endswith(".api_key_env") and not value.isidentifier():
        raise PacosError(
            f"{where}: {name} is no variable's name; expected one such as OPENAI_API_KEY, which holds the key."
        )
    if "://" not in value:
        return
    try:
        address = urlsplit(value)
        secret = bool(address.password) or (name.endswith(".base_url") and bool(address.query))
    except ValueError as error:
        raise PacosError(
            f"{where}: {name} is no address ({error}); expected one such as http://host:8000/v1."
        ) from None
    if secret:
        raise PacosError(
            f"{where}: {name} holds a password or a query, and a recipe is copied into its run; leave it out of the "
            "address. A key goes into the variable that api_key_env names, PostgreSQL's password into PGPASSWORD."
        )


def _check_bounds(where: str, name: str, about: Mapping[str, Any], value: Any) -> None:
    low, high = about.get("at_least", -math.inf), about.get("at_most", math.inf)
    # Neither holds for what is not a number.
    if isinstance(value, (int, float)) and not (low <= value <= high):
        bound = f"at most {high}" if value > high else f"at least {low}"
        raise PacosError(f"{where}: {name} is {value}; expected {bound}.")
