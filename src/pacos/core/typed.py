"""Values as TOML and JSON have them, into the types that dataclasses ask for."""

import types
from collections.abc import Callable
from dataclasses import is_dataclass
from typing import Any, Literal, Union, get_args, get_origin

KIND_OF_VALUE = {str: "text", int: "a whole number", float: "a number", bool: "true or false"}


class MisfitError(Exception):
    """A value that is not of the type asked for, and where it stands."""


def check_whole(text: str, where: str = "") -> None:
    """MisfitError for half a surrogate pair, which JSON can spell and no file, database or tokenizer takes."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise MisfitError(f"has half a surrogate pair{where}, which no file can hold") from None


def typed(hint: Any, value: Any, name: str, make: Callable[[Any, dict[str, Any], str], Any]) -> Any:
    """`value` as a `hint`: lists become tuples where those are meant, and `make(cls, values, name)` makes dataclasses.

    A whole number is a number too, and stays what it is. Raises MisfitError.
    """
    kind, inner = get_origin(hint) or hint, get_args(hint)
    if kind in (types.UnionType, Union):
        options = [option for option in inner if (option is types.NoneType) == (value is None)]
        # Of what may be left out, what it is otherwise is what is missed.
        hint = next((option for option in options if type(value) is option), (options or inner)[0])
        return typed(hint, value, name, make)
    if is_dataclass(hint) and isinstance(value, dict):
        return make(hint, value, name)
    if kind is dict and inner and isinstance(value, dict):
        return {key: typed(inner[1], each, f"{name}.{key}", make) for key, each in value.items()}
    if kind in (list, tuple) and inner and isinstance(value, list):
        # list[X] and tuple[X, ...] have one type for all, tuple[X, Y] one for each.
        hints = inner if kind is tuple and inner[-1] is not ... else inner[:1] * len(value)
        if len(hints) == len(value):
            return kind(typed(h, v, f"{name}[{i}]", make) for i, (h, v) in enumerate(zip(hints, value, strict=True)))
    whole_number = kind is float and type(value) is int
    if hint is Any or type(value) is kind or whole_number or (kind is Literal and value in inner):
        return value
    raise MisfitError(f"{name} is {str(value)[:40]!r}")


def describe(hint: Any) -> str:
    """A type in the words of a recipe's reader."""
    if get_origin(hint) is Literal:
        return " or ".join(f'"{value}"' for value in get_args(hint))
    if get_origin(hint) is tuple:
        return 'a list of texts, such as ["one", "two"]'
    options = get_args(hint) or (hint,)
    told = [
        describe(option) if get_origin(option) else "a table" if is_dataclass(option) else KIND_OF_VALUE.get(option)
        for option in options
    ]
    return " or ".join(filter(None, told))
