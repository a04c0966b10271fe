"""Puts page and API on one FastAPI app."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

from fastapi import FastAPI, Request
from fastapi.telemetry import TelemetryConfig
from starlette.responses import Response

from pacos.serve.chat_page import ChatPage, PageOptions
from pacos.serve.openai_api import OpenAiApi
from pacos.serve.page_stream import Speaker
from pacos.serve.reports import ReportBox
from pacos.web.error_shape import add_error_handlers
from pacos.web.guards import RequestGuards
from pacos.web.pages import Pages
from pacos.web.people import Limit, People

Lifespan = Callable[[FastAPI], AbstractAsyncContextManager[None]]


def make_app(
    speaker: Speaker,
    people: People,
    reports: ReportBox,
    options: PageOptions,
    lifespan: Lifespan | None = None,
) -> FastAPI:
    """The whole web app."""
    # FastAPI's own documentation pages load scripts from elsewhere, so they are off.
    # Its telemetry would put what visitors write into spans and logs, whatever the environment asks for.
    no_telemetry: TelemetryConfig = {"tracing": False, "metrics": False, "logs": False, "auto_configure": False}
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None, lifespan=lifespan, telemetry=no_telemetry)
    pages = Pages(Path(__file__).parent)
    # One limit for both, since who asks by the API may ask on the page too.
    questions = Limit(session=(20, 20), address=(60, 60))
    answers = speaker.answers
    app.include_router(OpenAiApi(answers, people, questions).router())
    app.include_router(ChatPage(speaker, people, questions, reports, pages, options).router())
    pages.mount(app)

    def missing_page(request: Request) -> Response | None:
        is_api = request.url.path.startswith("/v1")
        return None if is_api else pages.render("missing.html", 404, model=answers.model)

    add_error_handlers(app, missing_page)
    app.add_middleware(RequestGuards)
    return app
