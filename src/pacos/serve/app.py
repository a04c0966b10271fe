"""Puts page and API on one FastAPI app."""

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path

from fastapi import Depends, FastAPI, Request
from fastapi.telemetry import TelemetryConfig
from starlette.responses import Response

from pacos.serve.answering import Answers
from pacos.serve.chat_page import ChatPage, PageOptions
from pacos.serve.comparing import Comparing
from pacos.serve.detect_page import DetectPage
from pacos.serve.keys_page import KeysPage
from pacos.serve.limits import Limits
from pacos.serve.metrics import CountRequests
from pacos.serve.moderations_api import ModerationsApi
from pacos.serve.openai_api import OpenAiApi
from pacos.serve.page_stream import Speaker
from pacos.serve.reports import ReportBox
from pacos.serve.reports_page import ReportsPage
from pacos.serve.review_page import ReviewPage
from pacos.serve.seals import Seals
from pacos.serve.sharing import Sharing
from pacos.serve.tokenizer_api import TokenizerApi
from pacos.watermark import TextDetector
from pacos.web.error_shape import add_error_handlers
from pacos.web.guards import RequestGuards
from pacos.web.pages import Pages
from pacos.web.people import People

Lifespan = Callable[[FastAPI], AbstractAsyncContextManager[None]]


def make_app(
    speaker: Speaker,
    people: People,
    reports: ReportBox,
    options: PageOptions,
    lifespan: Lifespan | None = None,
    review_password: str = "",
    detector: TextDetector | None = None,
) -> FastAPI:
    """The whole web app.

    Without a password there is no page for reviewers; with a `detector` anyone may look for the mark on one.
    """
    # FastAPI's own documentation pages load scripts from elsewhere, so they are off.
    # Its telemetry would put what visitors write into spans and logs, whatever the environment asks for.
    no_telemetry: TelemetryConfig = {"tracing": False, "metrics": False, "logs": False, "auto_configure": False}
    app = FastAPI(
        title="pacos serve",
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
        telemetry=no_telemetry,
        # OpenAI's clients say that they send JSON; curl and others forget to.
        strict_content_type=False,
    )
    answers, limits, seals, store = speaker.answers, Limits(), Seals(), options.store
    spoken = [each.answers for each in (speaker, options.other) if each]
    models = [each.model for each in spoken]
    _count_together(spoken)
    pages = Pages(Path(__file__).parent, model=answers.model, pages=_linked(detector is not None))
    admitted = [Depends(people.admit)]
    app.include_router(OpenAiApi(answers, limits).router(), dependencies=admitted)
    app.include_router(ModerationsApi(answers.moderator, limits).router(), dependencies=admitted)
    app.include_router(TokenizerApi(answers, limits).router(), dependencies=admitted)
    app.include_router(answers.metrics.router(answers.model.name))
    app.include_router(ChatPage(speaker, people, limits, seals, pages, options).router())
    if options.other:
        app.include_router(Comparing((speaker, options.other), people, limits, store, seals).router())
    app.include_router(Sharing(models, people, limits, store, seals, pages).router())
    app.include_router(ReportsPage(models, people, limits, reports, store, seals, pages).router())
    app.include_router(KeysPage(people, limits, pages).router())
    if review_password:
        app.include_router(ReviewPage(reports, store, pages, review_password).router())
    if detector:
        app.include_router(DetectPage(detector, limits, pages).router())
    pages.mount(app)

    def problem_page(request: Request, status: int, message: str) -> Response | None:
        is_api = request.url.path.startswith("/v1")
        return None if is_api else pages.render("problem.html", status, message=message)

    add_error_handlers(app, problem_page)
    app.add_middleware(RequestGuards)
    app.add_middleware(CountRequests, metrics=answers.metrics)
    return app


def _count_together(spoken: Sequence[Answers]) -> None:
    """What /metrics says is of all models: each counts in the first one's."""
    metrics, moderator, queues = spoken[0].metrics, spoken[0].moderator, {each.queue for each in spoken}
    for answers in spoken:
        answers.metrics = metrics
    metrics.watch("pacos_answers_under_way", "Answers that have a slot.", lambda: sum(q.under_way for q in queues))
    metrics.watch("pacos_answers_waiting", "Answers that wait for one.", lambda: sum(q.waiting for q in queues))
    about = "Texts withheld, by backend, category, and input or output."
    metrics.count("pacos_withheld", about, lambda: moderator.withheld, "backend", "category", "side")


def _linked(has_detector: bool) -> list[tuple[str, str]]:
    """What every page's header links to."""
    detect = [("/detect", "Detect")] if has_detector else []
    return [("/", "Chat"), *detect, ("/keys", "API keys"), ("/terms", "Terms")]
