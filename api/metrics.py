"""Metrics of the HTTP API for Prometheus.

They are counted per process. With several processes the Prometheus library keeps them in shared
files (``PROMETHEUS_MULTIPROC_DIR``), and any process can return the totals.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Final

from flask import Flask, Response, g, request
from prometheus_client import REGISTRY as PROCESS_REGISTRY
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest, values
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from api.errors import HostNotAllowed

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

    from api.allowed_hosts import AllowedHosts

PATH: Final = "/metrics"
CONTENT_TYPE: Final = CONTENT_TYPE_PLAIN_0_0_4
MEDIA_TYPE: Final = CONTENT_TYPE.partition(";")[0]

_REQUEST_SECONDS: Final = Histogram(
    "longhaul_http_request_seconds",
    "Time to the first byte of a response, without waits for a job that the client asked for",
    ["method", "route", "status"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 15, 30, 60),
)
_JOB_REQUESTS: Final = Counter(
    "longhaul_jobs_requested_total", "Accepted requests for a job, by outcome", ["outcome"]
)
OPEN_STREAMS: Final = Gauge(
    "longhaul_open_streams", "Open live streams, by format", ["format"], multiprocess_mode="livesum"
)
_PROCESSES: Final = Gauge(
    "longhaul_api_processes", "Processes of this API server that run", multiprocess_mode="livesum"
)


def install(app: Flask) -> None:
    """Measure every request of the app."""
    app.before_request(_start_timer)
    app.after_request(_observe_response)


def process_started() -> None:
    """Count this process as one that runs."""
    _PROCESSES.set(1)


def exposition(*collectors: Collector) -> bytes:
    """Return the metrics of this process, or of all that share files, and those of collectors."""
    shared = CollectorRegistry()
    for collector in collectors:
        shared.register(collector)
    # The library reads PROMETHEUS_MULTIPROC_DIR once, when it is imported.
    if not values.ValueClass._multiprocess:
        return generate_latest(PROCESS_REGISTRY) + generate_latest(shared)
    MultiProcessCollector(shared)  # type: ignore[no-untyped-call]
    return generate_latest(shared)


class MetricsPort:
    """WSGI middleware that serves the metrics, and nothing else, on a port of their own.

    That port needs no token: only Prometheus should reach it. The Host header is checked, so that
    a web page whose name resolves to this machine (DNS rebinding) does not.
    """

    def __init__(
        self, app: WSGIApplication, port: int, hosts: AllowedHosts, read: Callable[[], bytes]
    ) -> None:
        self._app = app
        self._port = str(port)
        self._hosts = hosts
        self._read = read

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        # The server sets it to the port of the listener, whatever Host says.
        if environ["SERVER_PORT"] != self._port:
            return self._app(environ, start_response)
        if not self._hosts.allow(environ.get("HTTP_HOST", "")):
            return Response(f"{HostNotAllowed().message}\n", 421)(environ, start_response)
        if environ["PATH_INFO"] != PATH or environ["REQUEST_METHOD"] not in ("GET", "HEAD"):
            return Response("Only GET /metrics is served here.\n", 404)(environ, start_response)
        return Response(self._read(), content_type=CONTENT_TYPE)(environ, start_response)


def count_job_request(outcome: str) -> None:
    """Count an accepted request for a job."""
    _job_requests(outcome).inc()


@contextmanager
def waiting_for_job() -> Iterator[None]:
    """Leave the block out of the duration of the request.

    A client that asks to wait for its job gets what it asked for, and must not look like a slow
    API.
    """
    started = time.perf_counter()
    try:
        yield
    finally:
        g.waited = time.perf_counter() - started


def observe_request(method: str, route: str, status: int, seconds: float) -> None:
    """Record the duration of a request."""
    _request_seconds(method, route, status).observe(seconds)


# There are few outcomes, methods, routes, and statuses, and the library's own lookup takes a lock.
@cache
def _job_requests(outcome: str) -> Counter:
    return _JOB_REQUESTS.labels(outcome)


@cache
def _request_seconds(method: str, route: str, status: int) -> Histogram:
    return _REQUEST_SECONDS.labels(method, route, status)


def _start_timer() -> None:
    g.started = time.perf_counter()


def _observe_response(response: Response) -> Response:
    # The label is the rule, because each path would create a series of its own. Without a rule,
    # clients could create series by inventing methods.
    rule = request.url_rule
    method, route = (request.method, rule.rule) if rule else ("other", "unknown")
    seconds = time.perf_counter() - g.started - g.get("waited", 0.0)
    observe_request(method, route, response.status_code, seconds)
    return response
