"""An error's body in any dialect: its codes, words, parameters and waits, wherever they stand in it."""

import json
import re
from dataclasses import dataclass, field
from typing import Any

from pacos.engines.http.dialects import ERROR_KEY, STATUS_OF_CODE, plain
from pacos.engines.http.waits import retry_after_seconds, seconds_of, wait_seconds

# Errors in errors: a gateway's holds the provider's as JSON text.
_DEPTH = 8
_MOST_MESSAGES = 3


@dataclass(slots=True)
class ErrorBody:
    """What an error says, outermost first."""

    date: str = ""
    codes: list[str] = field(default_factory=list)
    messages: list[str] = field(default_factory=list)
    params: list[str] = field(default_factory=list)
    waits: list[float] = field(default_factory=list)
    is_object: bool = False
    """Whether it is an error of the protocol, and no page or text of something before it."""

    @property
    def message(self) -> str:
        """Its words, those of what it wraps after its own."""
        return ": ".join(list(dict.fromkeys(self.messages))[:_MOST_MESSAGES])

    @property
    def status(self) -> int | None:
        """The status that it names, where the answer itself has none."""
        numbers = [int(code) for code in self.codes if re.fullmatch(r"[45]\d\d", code)]
        meant = [STATUS_OF_CODE[plain(code)] for code in self.codes if plain(code) in STATUS_OF_CODE]
        return next(iter(numbers + meant), None)


def read_error(body: Any, date: str = "") -> ErrorBody:
    """Reads JSON, or the error object in it; `date` is the server's time of day, as its header has it."""
    error = ErrorBody(date)
    _read_message(body, error, _DEPTH)
    return error


def _read(value: Any, error: ErrorBody, depth: int) -> None:
    if isinstance(value, list):
        # Gemini's compatible endpoint puts a list around its error: page-assist#406.
        for part in value:
            _read(part, error, depth - 1)
    if not isinstance(value, dict) or depth < 0:
        return
    error.is_object = error.is_object or bool(value)
    for key, said in value.items():
        what = ERROR_KEY.get(plain(key))
        if what == "filtered":
            error.codes.append(key)
        elif what == "headers" and isinstance(said, dict):
            headers = {"date": error.date} | {name.lower(): str(text) for name, text in said.items()}
            waits = (retry_after_seconds(headers), wait_seconds(headers))
            error.waits += [wait for wait in waits if wait is not None]
        elif what == "wait":
            error.waits += [wait for wait in [seconds_of(key, said)] if wait is not None]
        elif what == "param":
            last = said[-1] if isinstance(said, list) and said else said
            error.params += [last.rpartition(".")[2]] if isinstance(last, str) and last else []
        elif what == "code" and isinstance(said, (str, int)) and not isinstance(said, bool):
            error.codes.append(str(said))
        elif what is not None:
            _read_message(said, error, depth)


def _read_message(said: Any, error: ErrorBody, depth: int) -> None:
    if isinstance(said, list):
        for part in said:
            _read_message(part, error, depth)
    elif isinstance(said, str) and said.strip():
        inner = _json_in(said)
        if inner is None:
            error.messages.append(said.strip())
        else:
            _read(inner, error, depth - 1)
    else:
        _read(said, error, depth - 1)


def _json_in(text: str) -> Any:
    if text.strip()[0] not in "{[":
        return None
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, (dict, list)) else None
