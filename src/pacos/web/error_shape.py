"""One shape for every error, OpenAI's, which the pages read too."""

import json
import sys
from collections.abc import Callable, Sequence
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response

from pacos.store.database import DatabaseAwayError
from pacos.web.streams import ClientGoneError

# What the validator expected, by the name of its error, in OpenAI's words.
_EXPECTED = {
    "string": "a string", "int": "an integer", "float": "a decimal", "bool": "a boolean", "list": "an array",
    "dict": "an object", "model": "an object", "model_attributes": "an object", "mapping": "an object",
}  # fmt: skip
_BOUNDS = {
    "greater_than": ("below minimum", ">", "gt"), "greater_than_equal": ("below minimum", ">=", "ge"),
    "less_than": ("above maximum", "<", "lt"), "less_than_equal": ("above maximum", "<=", "le"),
}  # fmt: skip


# A megabyte of wrong fields is not looked at to its end.
MOST_ERRORS = 100

# When to ask again where the database is away.
AWAY_SECONDS = 5


class RefusalError(Exception):
    """A request that gets no answer: HTTP status, OpenAI's error code, a line for a person, and the field it is of."""

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        retry_after_seconds: float | None = None,
        param: str | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.code, self.message, self.param = status, code, message, param
        self.retry_after_seconds = retry_after_seconds


def error_response(
    status: int, message: str, code: str, kind: str = "invalid_request_error", param: str | None = None
) -> JSONResponse:
    """An error in OpenAI's shape; `param` names the field that is wrong."""
    error = {"message": message, "type": kind, "param": param, "code": code}
    return JSONResponse({"error": error}, status)


def add_error_handlers(app: FastAPI, problem_page: Callable[[Request, int, str], Response | None]) -> None:
    """Gives every failure of the app its shape; who asks for HTML gets `problem_page`, if any.

    That gets the status and the message, "" where nothing has the address.
    """

    def told(
        request: Request,
        status: int,
        message: str,
        code: str,
        wait_seconds: float | None = None,
        param: str | None = None,
    ) -> Response:
        wants_page = "text/html" in request.headers.get("accept", "")
        page = problem_page(request, status, "" if code == "not_found" else message) if wants_page else None
        response = page or error_response(status, message, code, _kind(status), param)
        if wait_seconds:
            response.headers["Retry-After"] = str(round(wait_seconds))
        return response

    @app.exception_handler(RefusalError)
    async def refuse(request: Request, refusal: RefusalError) -> Response:
        return told(request, refusal.status, refusal.message, refusal.code, refusal.retry_after_seconds, refusal.param)

    @app.exception_handler(DatabaseAwayError)
    async def wait_for_database(request: Request, error: DatabaseAwayError) -> Response:
        # Names a folder or a host, so only whoever runs the server reads it.
        print(error, file=sys.stderr)
        line = "The server's database cannot be reached; please try again in a moment."
        return told(request, 503, line, "database_unavailable", AWAY_SECONDS)

    @app.exception_handler(RequestValidationError)
    async def explain(request: Request, error: RequestValidationError) -> Response:
        return _invalid(error.errors(), error.body)

    @app.exception_handler(HTTPException)
    async def not_found(request: Request, error: HTTPException) -> Response:
        if error.status_code == 400:
            return _not_json("it is not UTF-8, or nested too deeply")
        message = f"{request.method} {request.url.path}: {error.detail}."
        code = "not_found" if error.status_code == 404 else "invalid_method"
        response = told(request, error.status_code, message, code)
        response.headers.update(error.headers or {})
        return response

    @app.exception_handler(ClientGoneError)
    async def nobody(request: Request, error: ClientGoneError) -> Response:
        return Response(status_code=499)

    @app.exception_handler(Exception)
    async def fail(request: Request, error: Exception) -> Response:
        return error_response(500, "The server failed while answering.", "server_error", "server_error")


def _kind(status: int) -> str:
    if status == 429:
        return "rate_limit_error"
    return "server_error" if status >= 500 else "invalid_request_error"


def _not_json(reason: str) -> Response:
    line = "We could not parse the JSON body of your request. (HINT: This likely means that "
    return error_response(400, f"{line}{reason}.)", "invalid_json")


def _invalid(errors: Sequence[dict[str, Any]], body: Any) -> Response:
    """The error that lies deepest: a field that may be of several kinds has one for each, and the deepest, or one that
    is of more than the kind, is of the kind that was meant."""
    if isinstance(body, bytes):
        line = "Unsupported Content-Type: expected application/json (with curl: -H 'Content-Type: application/json')."
        return error_response(415, line, "unsupported_media_type")
    placed = [(_real_path(error["loc"], body), error) for error in errors[:MOST_ERRORS]]
    placed = [([*path, *error["loc"][-1:]] if error["type"] == "missing" else path, error) for path, error in placed]
    path, error = max(placed, key=lambda each: (len(each[0]), not _expected(str(each[1]["type"]))))
    kind, told = str(error["type"]), error.get("ctx", {})
    name = _shown(path)
    value = error.get("input")
    if kind == "json_invalid":
        return _not_json(f"{told.get('error', error['msg'])} at byte {error['loc'][-1]}")
    if kind == "missing":
        if body is None:
            return _not_json("there is no body")
        return error_response(400, f"Missing required parameter: '{name}'.", "missing_required_parameter", param=name)
    if kind == "extra_forbidden":
        line = f"Unrecognized request argument supplied: '{name}'."
        return error_response(400, line, "unknown_parameter", param=name)
    if kind == "unsupported_parameter":
        # Of a message: which one.
        return error_response(400, error["msg"], kind, param=f"{name}.{told['name']}".lstrip("."))
    if kind in _BOUNDS:
        side, sign, bound = _BOUNDS[kind]
        number = "integer" if isinstance(told[bound], int) else "decimal"
        line = (
            f"Invalid '{name}': {number} {side} value. Expected a value {sign} {told[bound]}, but got {value} instead."
        )
        return error_response(400, line, f"{number}_{side.replace(' ', '_').replace('imum', '')}_value", param=name)
    if kind in ("literal_error", "enum"):
        allowed = str(told["expected"]).replace(" or ", ", ")
        line = f"Invalid value: '{value}'. Supported values are: {allowed}."
        return error_response(400, line, "invalid_value", param=name)
    if kind in ("too_long", "too_short", "string_too_long", "string_too_short"):
        return _wrong_length(kind, name, value, told)
    expected = [_expected(str(other["type"])) for at, other in placed if at == path]
    if all(expected):
        wanted = " or ".join(dict.fromkeys(filter(None, expected)))
        wanted = f"one of {wanted}" if len(set(expected)) > 1 else wanted
        line = f"Invalid type for '{name}': expected {wanted}, but got {_json_kind(value)} instead."
        return error_response(400, line, "invalid_type", param=name or None)
    # A line of our own names its field itself.
    code = "invalid_value"
    message = error["msg"] if error["msg"].endswith(".") else f"Invalid value for '{name}': {error['msg']}."
    return error_response(400, message, code, param=name or _known_name(kind, body))


def _wrong_length(kind: str, name: str, value: Any, told: dict[str, Any]) -> Response:
    what = "string" if kind.startswith("string") else "object" if isinstance(value, dict) else "array"
    length = told.get("actual_length", len(value) if isinstance(value, str | list | dict) else 0)
    if kind.endswith("short"):
        line = f"Invalid '{name}': empty {what}. Expected {_a(what)} with minimum length {told['min_length']}."
        return error_response(400, line, f"empty_{what}", param=name)
    most = f"Expected {_a(what)} with maximum length {told['max_length']}, but got one of length {length} instead"
    return error_response(400, f"Invalid '{name}': {what} too long. {most}.", f"{what}_above_max_length", param=name)


def _a(what: str) -> str:
    return f"a {what}" if what == "string" else f"an {what}"


def _real_path(where: Sequence[int | str], body: Any) -> list[int | str]:
    """The fields that are really there; the validator also names the kinds that it tried."""
    path: list[int | str] = []
    value = body
    for part in (part for part in where if part != "body"):
        # A kind's name among a list's places: looked for in a range, it would be compared with each.
        is_place = isinstance(part, int) and isinstance(value, list) and 0 <= part < len(value)
        if is_place or (isinstance(value, dict) and part in value):
            value = value[part]
            path.append(part)
    return path


def _shown(path: Sequence[int | str]) -> str:
    """`messages[0].content`, as OpenAI writes it."""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).lstrip(".")


def _known_name(kind: str, body: Any) -> str | None:
    return kind if isinstance(body, dict) and kind in body else None


def _expected(kind: str) -> str | None:
    stem = kind.removesuffix("_type").removesuffix("_parsing").removesuffix("_from_float")
    return _EXPECTED.get(stem) if stem != kind else None


def _json_kind(value: Any) -> str:
    kinds = {str: "a string", bool: "a boolean", int: "an integer", float: "a decimal", list: "an array"}
    if value is None:
        return "null"
    return kinds.get(type(value), "an object" if isinstance(value, dict) else json.dumps(value, default=str))
