"""GET /metrics: how the server does, as Prometheus reads it.

What is in the store is counted when somebody asks, and a request costs three microseconds: its
counters are looked up once for each route. The numbers are of the whole server and name nobody.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from fastapi import APIRouter, Request, Response
from prometheus_client import CollectorRegistry, Gauge, Histogram, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector
from starlette.types import Scope

from tunesmith.store.statistics import Snapshot, Statistics

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)


@dataclass(frozen=True, kw_only=True)
class Load:
    """What the models of one server have done so far, and do now."""

    classified_tokens: int
    """Tokens that encoders have read."""
    read_tokens: int
    """Those that causal models have read."""
    written_tokens: int
    waiting: int
    """Requests to write that have not begun to be answered."""
    writing: int


class Metrics:
    """The numbers of one server; `load` tells what its models do."""

    def __init__(self, statistics: Statistics, load: Callable[[], Load]) -> None:
        self.registry = CollectorRegistry()
        self.in_flight = Gauge(
            "tunesmith_requests_in_flight", "Requests that are being served", registry=self.registry
        )
        self._latency = Histogram(
            "tunesmith_request_seconds",
            "From a request's head to its reply's end",
            ("method", "route", "status"),
            buckets=SECONDS,
            registry=self.registry,
        )
        self._routes: dict[tuple[str, str, int], Histogram] = {}
        ProcessCollector(registry=self.registry)
        self.registry.register(_Counted(statistics, load))

    def served(self, scope: Scope, route: str, status: int, seconds: float) -> None:
        """Count a request that has been served; `route` is a template, never what came."""
        name = scope["method"], route, status
        histogram = self._routes.get(name)
        if histogram is None:
            histogram = self._routes[name] = self._latency.labels(*map(str, name))
        histogram.observe(seconds)


def router(metrics: Metrics) -> APIRouter:
    """The route."""
    routes = APIRouter()

    @routes.get("/metrics")
    def read_metrics(request: Request) -> Response:
        encode, kind = choose_encoder(request.headers.get("accept", ""))
        return Response(encode(metrics.registry), headers={"content-type": kind})

    return routes


class _Counted(Collector):
    """What others have counted, or the database counts when somebody asks."""

    def __init__(self, statistics: Statistics, load: Callable[[], Load]) -> None:
        self._statistics = statistics
        self._load = load

    def describe(self) -> list[Metric]:
        """Nothing beforehand: it would ask the database."""
        return []

    def collect(self) -> Iterator[Metric]:
        """See Collector."""
        yield from _of_models(self._load())
        now = self._statistics.now()
        for what, counts in (("jobs", now.jobs), ("batches", now.batches)):
            family = GaugeMetricFamily(f"tunesmith_{what}", f"{what}, by state", labels=["status"])
            for status, number in sorted(counts.items()):
                family.add_metric([status], number)
            yield family
        for name, (about, value) in _gauges(now).items():
            yield GaugeMetricFamily(f"tunesmith_{name}", about, value)


def _of_models(load: Load) -> Iterator[Metric]:
    about = "Tokens of the texts that models have answered"
    answered = load.classified_tokens + load.read_tokens
    yield CounterMetricFamily("tunesmith_answered_tokens", about, answered)
    about = "Tokens that models have read, by their kind"
    read = CounterMetricFamily("tunesmith_read_tokens", about, labels=["kind"])
    read.add_metric(["encoder"], load.classified_tokens)
    read.add_metric(["causal"], load.read_tokens)
    yield read
    about = "Tokens that causal models have written"
    yield CounterMetricFamily("tunesmith_written_tokens", about, load.written_tokens)
    about = "Requests to write that wait to be answered, and that are being answered"
    asked = GaugeMetricFamily("tunesmith_writing_requests", about, labels=["state"])
    asked.add_metric(["waiting"], load.waiting)
    asked.add_metric(["writing"], load.writing)
    yield asked


def _gauges(now: Snapshot) -> dict[str, tuple[str, float]]:
    waiting = 0.0 if now.queued_since is None else max(0.0, time.time() - now.queued_since)
    return {
        "oldest_queued_job_seconds": ("Age of the oldest queued job; 0: none waits", waiting),
        "training_tokens_per_second": (
            "Of all running jobs, as each last said",
            now.training_tokens_per_second,
        ),
        "files": ("Files kept", now.files),
        "file_bytes": ("Size of the files kept", now.file_bytes),
        "deliveries_due": ("Webhook deliveries that are due", now.deliveries_due),
    }
