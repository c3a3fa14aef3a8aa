"""Metrics for Prometheus: of the HTTP API, and of the queue as the job store knows it.

The metrics of the HTTP API are counted per process. With several processes the Prometheus library
keeps them in shared files (``PROMETHEUS_MULTIPROC_DIR``), and any process can return the totals.
The metrics of the queue are read from the job store for each scrape; every process returns the
same, so nothing has to be summed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from typing import TYPE_CHECKING, Final

import structlog
from flask import Flask, Response, g, request
from prometheus_client import REGISTRY as PROCESS_REGISTRY
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest, values
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector
from redis.exceptions import RedisError

from common.job_store.errors import log_failure
from common.job_store.state_log import backlog

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment
    from redis import Redis

    from common.job_store.archive_totals import ArchiveTotals
    from common.job_store.stats import QueueState, QueueStatistics

PATH: Final = "/metrics"
CONTENT_TYPE: Final = CONTENT_TYPE_PLAIN_0_0_4
MEDIA_TYPE: Final = CONTENT_TYPE.partition(";")[0]

_REQUEST_SECONDS: Final = Histogram(
    "longhaul_http_request_seconds",
    "Time to the first byte of a response",
    ["method", "route", "status"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 15, 30, 60),
)
_JOB_REQUESTS: Final = Counter(
    "longhaul_jobs_requested_total", "Accepted requests for a job, by outcome", ["outcome"]
)
OPEN_STREAMS: Final = Gauge(
    "longhaul_open_streams", "Open live streams, by form", ["form"], multiprocess_mode="livesum"
)

log = structlog.get_logger(__name__)


def install(app: Flask) -> None:
    """Measure every request of the app."""
    app.before_request(_start_timer)
    app.after_request(_observe_response)


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

    That port needs no token: only Prometheus should reach it.
    """

    def __init__(self, app: WSGIApplication, port: int, read: Callable[[], bytes]) -> None:
        self._app = app
        self._port = str(port)
        self._read = read

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        # The server sets it to the port of the listener, whatever Host says.
        if environ["SERVER_PORT"] != self._port:
            return self._app(environ, start_response)
        if environ["PATH_INFO"] != PATH or environ["REQUEST_METHOD"] not in ("GET", "HEAD"):
            return Response("Only GET /metrics is served here.\n", 404)(environ, start_response)
        return Response(self._read(), content_type=CONTENT_TYPE)(environ, start_response)


def count_job_request(outcome: str) -> None:
    """Count an accepted request for a job."""
    _job_requests(outcome).inc()


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
    observe_request(method, route, response.status_code, time.perf_counter() - g.started)
    return response


class QueueMetrics(Collector):
    """Collects the metrics of the queue from the job store."""

    def __init__(self, statistics: QueueStatistics, client: Redis) -> None:
        self._statistics = statistics
        self._client = client

    def collect(self) -> Iterator[Metric]:
        up = GaugeMetricFamily(
            "longhaul_job_store_up", "Whether the job store is available: 1 or 0"
        )
        try:
            state, unacknowledged = self._statistics.read(), backlog(self._client)
        except RedisError as error:
            log_failure(log, "cannot read the metrics of the queue", error)
            up.add_metric([], 0)
            yield up
            return
        up.add_metric([], 1)
        yield up
        yield from _waiting(state)
        yield from _gauges(state)
        yield _ended(state)
        state_log = GaugeMetricFamily(
            "longhaul_state_log_backlog",
            "State log entries that a consumer group has not acknowledged",
            labels=["group"],
        )
        for group, entries in unacknowledged.items():
            state_log.add_metric([group], entries)
        yield state_log


def _waiting(state: QueueState) -> Iterator[Metric]:
    waiting = GaugeMetricFamily(
        "longhaul_jobs_waiting", "Queued jobs that are ready to run", labels=["priority"]
    )
    oldest = GaugeMetricFamily(
        "longhaul_oldest_wait_seconds",
        "How long the oldest waiting job has waited; 0 if none is waiting",
        labels=["priority"],
    )
    for priority, count in state.waiting.items():
        waiting.add_metric([priority], count)
        oldest.add_metric([priority], state.oldest[priority] or 0)
    yield from (waiting, oldest)


def _gauges(state: QueueState) -> Iterator[Metric]:
    for name, description, value in (
        ("longhaul_jobs_leased", "Jobs that are leased to a worker", state.processing),
        ("longhaul_jobs_retrying", "Jobs that wait for their next attempt", state.retrying),
        (
            "longhaul_dead_letters",
            "Failed jobs for which another attempt might succeed",
            state.dead_letters,
        ),
        (
            "longhaul_queue_paused",
            "Whether an operator paused the queue: 1 or 0",
            int(state.paused),
        ),
        ("longhaul_workers", "Worker processes that are alive", state.workers),
        ("longhaul_worker_slots", "Jobs that all workers can run at the same time", state.slots),
        ("longhaul_worker_slots_busy", "Worker slots that are running a job", state.busy),
    ):
        yield GaugeMetricFamily(name, description, value=value)


def _ended(state: QueueState) -> Metric:
    ended = CounterMetricFamily(
        "longhaul_jobs_ended", "Jobs that ended, by final state", labels=["status"]
    )
    for status in ("completed", "failed", "cancelled"):
        ended.add_metric([status], getattr(state, status))
    return ended


class ArchiveMetrics(Collector):
    """Collects what the workers counted about archives from the job store."""

    def __init__(self, totals: ArchiveTotals) -> None:
        self._totals = totals

    def collect(self) -> Iterator[Metric]:
        try:
            totals = self._totals.read()
        except RedisError as error:
            log_failure(log, "cannot read the metrics of archives", error)
            return
        archives = CounterMetricFamily(
            "longhaul_archives", "Archives, by how they were created", labels=["how"]
        )
        for how in ("composed", "found", "streamed"):
            archives.add_metric([how], totals.get(how, 0))
        yield archives
        archive_bytes = CounterMetricFamily(
            "longhaul_archive_bytes",
            "Bytes of archives: copied by the object storage, written by workers, reused from an "
            "older archive, or already uploaded by an earlier attempt",
            labels=["method"],
        )
        for way in ("copied", "through_worker", "reused", "resumed"):
            archive_bytes.add_metric([way], totals.get(way, 0))
        yield archive_bytes
