"""One shape for every error, OpenAI's, which the pages read too."""

import sys
from collections.abc import Callable
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response

from pacos.store.database import DatabaseAwayError
from pacos.web.streams import ClientGoneError

_CODES = {
    "missing": "missing_required_parameter",
    "extra_forbidden": "unknown_parameter",
    "unsupported_parameter": "unsupported_parameter",
    "json_invalid": "invalid_json",
}


# When to ask again where the database is away.
AWAY_SECONDS = 5


class RefusalError(Exception):
    """A request that gets no answer: HTTP status, OpenAI's error code, and a line for a person."""

    def __init__(self, status: int, code: str, message: str, retry_after_seconds: float | None = None) -> None:
        super().__init__(message)
        self.status, self.code, self.message = status, code, message
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

    def told(request: Request, status: int, message: str, code: str, wait_seconds: float | None = None) -> Response:
        wants_page = "text/html" in request.headers.get("accept", "")
        page = problem_page(request, status, "" if code == "not_found" else message) if wants_page else None
        response = page or error_response(status, message, code, _kind(status))
        if wait_seconds:
            response.headers["Retry-After"] = str(round(wait_seconds))
        return response

    @app.exception_handler(RefusalError)
    async def refuse(request: Request, refusal: RefusalError) -> Response:
        return told(request, refusal.status, refusal.message, refusal.code, refusal.retry_after_seconds)

    @app.exception_handler(DatabaseAwayError)
    async def wait_for_database(request: Request, error: DatabaseAwayError) -> Response:
        # Names a folder or a host, so only whoever runs the server reads it.
        print(error, file=sys.stderr)
        line = "The server's database cannot be reached; please try again in a moment."
        return told(request, 503, line, "database_unavailable", AWAY_SECONDS)

    @app.exception_handler(RequestValidationError)
    async def explain(request: Request, error: RequestValidationError) -> Response:
        return _invalid(error.errors()[0])

    @app.exception_handler(HTTPException)
    async def not_found(request: Request, error: HTTPException) -> Response:
        message = f"{request.method} {request.url.path}: {error.detail}."
        return told(request, error.status_code, message, "not_found" if error.status_code == 404 else "invalid_method")

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


def _invalid(error: dict[str, Any]) -> Response:
    where = [str(part) for part in error["loc"] if part != "body" and not str(part).startswith("function-")]
    name = ".".join(where)
    code = _CODES.get(error["type"], "invalid_value")
    messages = {
        "missing_required_parameter": f"Missing required parameter: '{name}'.",
        "unknown_parameter": f"Unrecognized request argument supplied: '{name}'.",
        "unsupported_parameter": error["msg"],
        "invalid_json": f"The request's body is not JSON: {error.get('ctx', {}).get('error', error['msg'])}.",
    }
    message = messages.get(code) or (f"Invalid value for '{name}': {error['msg']}." if name else error["msg"])
    return error_response(400, message, code, param=name or None)
