"""Figures for Prometheus; kept in files shared by all processes where the library is told so."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Final

from flask import Flask, Response, g, request
from prometheus_client import REGISTRY as PROCESS_REGISTRY
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest, values
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.metrics_core import CounterMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

CONTENT_TYPE: Final = CONTENT_TYPE_PLAIN_0_0_4
MEDIA_TYPE: Final = CONTENT_TYPE.partition(";")[0]

_REQUESTS: Final = Histogram(
    "longhaul_http_request_seconds",
    "Time to the first byte of an answer",
    ["method", "route", "status"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 15, 30, 60),
)
_REQUESTED: Final = Counter(
    "longhaul_jobs_requested_total",
    "Requests for a job by what became of them",
    ["outcome"],
)


OPEN_STREAMS: Final = Gauge(
    "longhaul_open_streams", "Live streams, by form", ["form"], multiprocess_mode="livesum"
)


def install(app: Flask) -> None:
    app.before_request(_start)
    app.after_request(_observe)


def exposition(queue: Collector) -> bytes:
    """All figures in the text format: of this process, or of all where they share files.

    ``queue`` tells those that are the same whichever process is asked.
    """
    shared = CollectorRegistry()
    shared.register(queue)
    # The library decides by its own variable PROMETHEUS_MULTIPROC_DIR, once, on import.
    if not values.ValueClass._multiprocess:
        return generate_latest(PROCESS_REGISTRY) + generate_latest(shared)
    MultiProcessCollector(shared)  # type: ignore[no-untyped-call]
    return generate_latest(shared)


def archives(totals: Mapping[str, int]) -> bytes:
    """What the workers counted of their archives, in the text format."""
    registry = CollectorRegistry()
    registry.register(_Archives(totals))
    return generate_latest(registry)


def requested(outcome: str) -> None:
    """Count one request for a job by what became of it."""
    _requested(outcome).inc()


def observe(method: str, route: str, status: int, seconds: float) -> None:
    """Count one answered request."""
    _series(method, route, status).observe(seconds)


# Outcomes, methods, routes and statuses are few; the library's own look-up takes a lock.
@cache
def _requested(outcome: str) -> Counter:
    return _REQUESTED.labels(outcome)


@cache
def _series(method: str, route: str, status: int) -> Histogram:
    return _REQUESTS.labels(method, route, status)


class _Archives(Collector):
    def __init__(self, totals: Mapping[str, int]) -> None:
        self._totals = totals

    def collect(self) -> Iterator[Metric]:
        made = CounterMetricFamily(
            "longhaul_archives", "Archives by how they came to be", labels=["how"]
        )
        for how in ("composed", "found", "streamed"):
            made.add_metric([how], self._totals.get(how, 0))
        yield made
        moved = CounterMetricFamily(
            "longhaul_archive_bytes",
            "Bytes of archives: copied by the storage, written by workers, reused from an older "
            "archive, or there already when a later attempt resumed",
            labels=["way"],
        )
        for way in ("copied", "through_worker", "reused", "resumed"):
            moved.add_metric([way], self._totals.get(way, 0))
        yield moved


def _start() -> None:
    g.started = time.perf_counter()


def _observe(response: Response) -> Response:
    # The rule, not the path: ids would make a series for each job. Nor any method: it is the
    # caller's word until a rule knows it.
    rule = request.url_rule
    method, route = (request.method, rule.rule) if rule else ("other", "unknown")
    observe(method, route, response.status_code, time.perf_counter() - g.started)
    return response
