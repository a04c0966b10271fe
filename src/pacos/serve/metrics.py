"""What a server counts, in Prometheus' text form at /metrics."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, Metric
from prometheus_client.registry import Collector

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

    def text(self) -> bytes:
        """The whole page."""
        return generate_latest(self.registry)

    def _counter(self, name: str, about: str, *labels: str) -> Counter:
        return Counter(name, about, labels, registry=self.registry)

    def _histogram(self, name: str, about: str) -> Histogram:
        return Histogram(name, about, registry=self.registry, buckets=_SECONDS)
