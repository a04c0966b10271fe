"""/metrics and /healthz: what a server counts, in Prometheus' text form, and that it answers."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from fastapi import APIRouter
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, Metric
from prometheus_client.registry import Collector
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_PROMETHEUS = "text/plain; version=0.0.4; charset=utf-8"
_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)


Kept = int | Mapping[Any, int]
"""A number, or numbers by the values of their labels."""


class _Kept(Collector):
    def __init__(self, name: str, about: str, value: Callable[[], Kept], labels: Sequence[str]) -> None:
        self.name, self.about, self.value, self.labels = name, about, value, labels

    def collect(self) -> Iterator[Metric]:
        family = CounterMetricFamily(self.name, self.about, labels=self.labels)
        value = self.value()
        for labels, number in value.items() if isinstance(value, Mapping) else [((), value)]:
            family.add_metric(labels, number)
        yield family


class Metrics:
    """Counters of one server; no label has a text or an address that came from outside."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = self._counter("pacos_http_requests", "Requests by route and status.", "route", "status")
        self.answers = self._counter("pacos_answers", "Answers by how they ended.", "finish_reason")
        self.refused = self._counter("pacos_refusals", "Questions that got no answer, by error code.", "code")
        self.prompt_tokens = self._counter("pacos_prompt_tokens", "Tokens read.")
        self.cached_tokens = self._counter("pacos_cached_tokens", "Of those read, the ones found in the prefix cache.")
        self.completion_tokens = self._counter("pacos_completion_tokens", "Tokens written.")
        self.first_token = self._histogram("pacos_first_token_seconds", "From a question to its answer's first piece.")
        self.answer = self._histogram("pacos_answer_seconds", "From a question to its answer's end.")

    def count(self, name: str, about: str, value: Callable[[], Kept], *labels: str) -> None:
        """A counter that someone else keeps, whole or by `labels`; it is read when it is asked for."""
        self.registry.register(_Kept(name, about, value, labels))

    def watch(self, name: str, about: str, value: Callable[[], float]) -> None:
        """A number that is read when it is asked for."""
        Gauge(name, about, registry=self.registry).set_function(value)

    def router(self, model: str) -> APIRouter:
        """The routes; neither is limited nor needs a key."""

        async def healthz() -> dict[str, str]:
            """Answers as long as the event loop turns."""
            return {"status": "ok", "model": model}

        router = APIRouter()
        router.add_api_route("/healthz", healthz, methods=["GET"])
        router.add_api_route("/metrics", self.show, methods=["GET"])
        return router

    async def show(self) -> Response:
        """Everything that is counted."""
        return Response(generate_latest(self.registry), media_type=_PROMETHEUS)

    def _counter(self, name: str, about: str, *labels: str) -> Counter:
        return Counter(name, about, labels, registry=self.registry)

    def _histogram(self, name: str, about: str) -> Histogram:
        return Histogram(name, about, registry=self.registry, buckets=_SECONDS)


class CountRequests:
    """ASGI middleware: counts each request by its route, never by the path that a client wrote, and by its status."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self.app, self.metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def counting(message: Message) -> None:
            if message["type"] == "http.response.start":
                route = getattr(scope.get("route"), "path", "none")
                self.metrics.requests.labels(re.sub(r"\{(\w+):\w+\}", r"{\1}", route), str(message["status"])).inc()
            await send(message)

        await self.app(scope, receive, counting)
