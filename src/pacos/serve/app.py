"""Puts page and API on one FastAPI app, with one shape for every error."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.telemetry import TelemetryConfig
from starlette.exceptions import HTTPException
from starlette.responses import Response

from pacos.serve.answers import Answers, RefusalError
from pacos.serve.chat_page import ChatPage
from pacos.serve.model import ServedModel
from pacos.serve.openai_api import OpenAiApi
from pacos.serve.store import Store
from pacos.serve.terms import Terms
from pacos.serve.visitors import Visitors
from pacos.web.guards import RequestGuards, error_response
from pacos.web.pages import Pages
from pacos.web.streams import ClientGoneError

Lifespan = Callable[[FastAPI], AbstractAsyncContextManager[None]]
_CODES = {
    "missing": "missing_required_parameter",
    "extra_forbidden": "unknown_parameter",
    "unsupported_parameter": "unsupported_parameter",
    "json_invalid": "invalid_json",
}


@dataclass(frozen=True)
class Parts:
    """What the app is made of."""

    answers: Answers
    model: ServedModel
    store: Store
    terms: Terms
    watermark: bool


def make_app(parts: Parts, lifespan: Lifespan | None = None) -> FastAPI:
    """The whole web app; all state is in `parts`."""
    # FastAPI's own documentation pages load scripts from elsewhere, so they are off.
    # Its telemetry would put what visitors write into spans and logs, whatever the environment asks for.
    no_telemetry: TelemetryConfig = {"tracing": False, "metrics": False, "logs": False, "auto_configure": False}
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None, lifespan=lifespan, telemetry=no_telemetry)
    pages = Pages(Path(__file__).parent)
    visitors = Visitors(parts.store, parts.terms)
    app.include_router(OpenAiApi(parts.answers, parts.model, visitors).router())
    page = ChatPage(parts.answers, parts.model, visitors, parts.store, pages, parts.watermark)
    app.include_router(page.router())
    pages.mount(app)
    _add_error_handlers(app, pages, parts.model)
    app.add_middleware(RequestGuards)
    return app


def _add_error_handlers(app: FastAPI, pages: Pages, model: ServedModel) -> None:
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
        wants_page = "text/html" in request.headers.get("accept", "") and not request.url.path.startswith("/v1")
        if wants_page and error.status_code == 404:
            return pages.render("missing.html", 404, model=model)
        message = f"{request.method} {request.url.path}: {error.detail}."
        return error_response(error.status_code, message, "not_found" if error.status_code == 404 else "invalid_method")

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
