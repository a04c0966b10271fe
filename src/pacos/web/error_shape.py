"""One shape for every error, OpenAI's, which the pages read too."""

from collections.abc import Callable
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response

from pacos.web.streams import ClientGoneError

_CODES = {
    "missing": "missing_required_parameter",
    "extra_forbidden": "unknown_parameter",
    "unsupported_parameter": "unsupported_parameter",
    "json_invalid": "invalid_json",
}


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


def add_error_handlers(app: FastAPI, missing_page: Callable[[Request], Response | None]) -> None:
    """Gives every failure of the app its shape; who asks for HTML that is not there gets `missing_page`, if any."""

    @app.exception_handler(RefusalError)
    async def refuse(request: Request, refusal: RefusalError) -> Response:
        response = error_response(refusal.status, refusal.message, refusal.code, _kind(refusal.status))
        if refusal.retry_after_seconds:
            response.headers["Retry-After"] = str(round(refusal.retry_after_seconds))
        return response

    @app.exception_handler(RequestValidationError)
    async def explain(request: Request, error: RequestValidationError) -> Response:
        return _invalid(error.errors()[0])

    @app.exception_handler(HTTPException)
    async def not_found(request: Request, error: HTTPException) -> Response:
        is_missing = error.status_code == 404
        if is_missing and "text/html" in request.headers.get("accept", "") and (page := missing_page(request)):
            return page
        message = f"{request.method} {request.url.path}: {error.detail}."
        return error_response(error.status_code, message, "not_found" if is_missing else "invalid_method")

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
