"""Regular expressions that take a time linear in the text, whatever the pattern: Rust's engine, which pydantic has."""

import time
from collections.abc import Callable

from pydantic_core import SchemaError, SchemaValidator
from pydantic_core.core_schema import str_schema

from pacos.core.errors import PacosError

Finds = Callable[[str], bool]

# Linear still means slow where counted repetitions are nested: (?:\w{1,300}){1,300} is a machine of 90,000 states.
_TRIAL_LETTERS = 500
_TRIAL_SECONDS = 0.25


def compile_linear(pattern: str, where: str) -> Finds:
    """Whether `pattern` is found in a text, which has no lone surrogates; PacosError where it is no pattern, or slow.

    Look-around and back-references are what this engine does without. `where` begins the error's line.
    """
    try:
        finds = SchemaValidator(str_schema(pattern=pattern, regex_engine="rust-regex")).isinstance_python
    except (SchemaError, UnicodeError) as error:
        # Its last line says why, after what kind of error it is.
        why = str(error).strip().splitlines()[-1].split(": ", 1)[-1].rstrip(".")
        raise PacosError(
            f"{where}: not a pattern that can be used: {why}; expected Rust's "
            "syntax of regular expressions, without look-around and back-references. Mend it."
        ) from None
    started = time.thread_time()
    for letter in sorted({char for char in pattern if char.isalnum()})[:8]:
        finds(letter * _TRIAL_LETTERS)
        if time.thread_time() - started > _TRIAL_SECONDS:
            raise PacosError(
                f"{where}: the pattern takes {time.thread_time() - started:.1f} s for {_TRIAL_LETTERS} letters; "
                "expected one that is done in a millisecond. Write it without counted repetitions inside others."
            )
    return finds


def encodable(text: str) -> str:
    """The text with what is no character (half a surrogate pair) replaced, as the engine needs it."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-8", "replace").decode("utf-8")
    return text
