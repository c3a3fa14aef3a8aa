"""Metrics that are read when Prometheus asks: of the queue, of services and of settings.

Most come from the job store, so every API process returns the same, and nothing has to be summed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Final

import structlog
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from redis.exceptions import RedisError

from common.job_store import time_budget
from common.job_store.errors import log_failure

if TYPE_CHECKING:
    from common.job_store.bucket_size import BucketSize
    from common.job_store.circuit_breaker_states import CircuitBreakerState
    from common.job_store.queue_statistics import QueueState
    from common.job_store.server_state import ServerState
    from common.job_store.state_log_backlog import Backlog

#: Label -> counter in the job store, see common/job_store/archive_totals.py.
_ARCHIVES: Final = {
    "composed": "composed",
    "found": "found",
    "streamed": "streamed",
    "delivered_as_is": "single_files",
}
_ARCHIVE_BYTES: Final = {
    "copied": "copied",
    "through_worker": "through_worker",
    "reused": "reused",
    "resumed": "resumed",
    "delivered_as_is": "single_file_bytes",
}
_CIRCUIT_STATES: Final = {"closed": 0, "half-open": 1, "open": 2}

log = structlog.get_logger(__name__)


class StoreCollector(Collector):
    """Metrics from the job store; none while they cannot be read."""

    def __init__(self, subject: str, read: Callable[[], Iterable[Metric]]) -> None:
        """``subject`` names the metrics in the log; ``read`` may raise ``RedisError``."""
        self._subject = subject
        self._read = read

    def collect(self) -> Iterable[Metric]:
        try:
            return list(self._read())
        except RedisError as error:
            log_failure(log, f"cannot read the metrics of {self._subject}", error)
            return []


class QueueMetrics(Collector):
    """The metrics of the queue and of what lets jobs start, and whether they could be read."""

    def __init__(
        self,
        read: Callable[[], QueueState],
        read_breaker_states: Callable[[], Mapping[str, CircuitBreakerState]],
    ) -> None:
        self._read = read
        self._read_breaker_states = read_breaker_states

    def collect(self) -> Iterator[Metric]:
        up = GaugeMetricFamily(
            "longhaul_job_store_up", "Whether the job store is available: 1 or 0"
        )
        try:
            state, breaker_states = self._read(), self._read_breaker_states()
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
        yield _circuit_breakers(breaker_states)
        yield GaugeMetricFamily(
            "longhaul_worker_demand",
            "Jobs for which workers are needed: the running ones, and the waiting ones unless the "
            "queue is paused or a circuit breaker is open",
            value=_demand(state, breaker_states),
        )


class DependencyMetrics(Collector):
    """What this process finds when it checks its dependencies, as ``/health`` reports it."""

    def __init__(self, check: Callable[[], Mapping[str, str]]) -> None:
        """``check`` returns ``off``, ``ok`` or a failure by the name of each dependency."""
        self._check = check

    def collect(self) -> Iterator[Metric]:
        began = time.monotonic()
        results = {name: result for name, result in self._check().items() if result != "off"}
        if budget := time_budget.current():
            budget.spend(time.monotonic() - began)
        yield _by_label(
            GaugeMetricFamily,
            "longhaul_dependency_up",
            "Whether a dependency passes the check of /health: 1 or 0",
            "dependency",
            {name: int(result == "ok") for name, result in results.items()},
        )


class SettingMetrics(Collector):
    """Settings that alerts compare metrics with."""

    def __init__(self, thresholds: Mapping[str, float], *, processes: int) -> None:
        self._thresholds = thresholds
        self._processes = processes

    def collect(self) -> Iterator[Metric]:
        yield _by_label(
            GaugeMetricFamily,
            "longhaul_alert_threshold",
            "A setting that alerts compare metrics with",
            "setting",
            self._thresholds,
        )
        yield GaugeMetricFamily(
            "longhaul_api_processes_expected",
            "Processes that this API server should run",
            value=self._processes,
        )


def state_log(backlogs: Mapping[str, Backlog]) -> Iterator[Metric]:
    """Yield how far each consumer group is behind."""
    yield _by_label(
        GaugeMetricFamily,
        "longhaul_state_log_backlog",
        "State log entries that a consumer group has not acknowledged",
        "group",
        {name: backlog.entries for name, backlog in backlogs.items()},
    )
    yield _by_label(
        GaugeMetricFamily,
        "longhaul_state_log_lag_seconds",
        "Age of the oldest entry that a consumer group has not acknowledged; 0 if there is none",
        "group",
        {name: backlog.seconds for name, backlog in backlogs.items()},
    )


def servers(states: Iterable[ServerState]) -> Iterator[Metric]:
    """Yield the memory and the connections of the job store's servers."""
    states = list(states)
    for name, description, member in (
        ("memory_bytes", "Memory that a server of the job store uses", "memory"),
        ("memory_limit_bytes", "Memory that it may use; 0: no limit", "memory_limit"),
        ("connections", "Connections to a server of the job store", "connections"),
        ("connections_limit", "Connections that it accepts; 0: unknown", "connection_limit"),
    ):
        yield _by_label(
            GaugeMetricFamily,
            f"longhaul_job_store_{name}",
            description,
            "server",
            {state.name: getattr(state, member) for state in states},
        )


def archives(totals: Mapping[str, int]) -> Iterator[Metric]:
    """Yield what the workers counted about archives."""
    yield _by_label(
        CounterMetricFamily,
        "longhaul_archives",
        "Finished archives, by how they were made",
        "method",
        {label: totals.get(name, 0) for label, name in _ARCHIVES.items()},
    )
    yield _by_label(
        CounterMetricFamily,
        "longhaul_archive_bytes",
        "Bytes of finished archives, by how they got there",
        "method",
        {label: totals.get(name, 0) for label, name in _ARCHIVE_BYTES.items()},
    )


def bucket(size: BucketSize | None) -> Iterator[Metric]:
    """Yield the size of the archive bucket, if it was measured."""
    if size is None:
        return
    for name, description, value in (
        ("bytes", "Bytes in the archive bucket, measured once an hour", size.bytes),
        ("objects", "Objects in the archive bucket, measured once an hour", size.objects),
    ):
        yield GaugeMetricFamily(f"longhaul_archive_bucket_{name}", description, value=value)


def _circuit_breakers(states: Mapping[str, CircuitBreakerState]) -> Metric:
    return _by_label(
        GaugeMetricFamily,
        "longhaul_circuit_breaker_state",
        "Circuit breaker of a service: 0 closed, 1 half-open, 2 open",
        "service",
        {service: _CIRCUIT_STATES[state] for service, state in states.items()},
    )


def _demand(state: QueueState, breaker_states: Mapping[str, CircuitBreakerState]) -> int:
    may_start = not state.paused and all(breaker == "closed" for breaker in breaker_states.values())
    return state.processing + (sum(state.waiting.values()) if may_start else 0)


def _waiting(state: QueueState) -> Iterator[Metric]:
    yield _by_label(
        GaugeMetricFamily,
        "longhaul_jobs_waiting",
        "Queued jobs that are ready to run",
        "priority",
        state.waiting,
    )
    yield _by_label(
        GaugeMetricFamily,
        "longhaul_oldest_wait_seconds",
        "How long the oldest waiting job has waited; 0 if none is waiting",
        "priority",
        {priority: wait or 0 for priority, wait in state.oldest.items()},
    )


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
    return _by_label(
        CounterMetricFamily,
        "longhaul_jobs_ended",
        "Jobs that ended, by final state; a job that is retried counts each time it ends",
        "status",
        {
            "completed": state.completed,
            "failed": state.failed,
            "cancelled": state.cancelled,
        },
    )


def _by_label(
    kind: type[GaugeMetricFamily] | type[CounterMetricFamily],
    name: str,
    description: str,
    label: str,
    values: Mapping[str, float],
) -> Metric:
    """Return a metric with one label, with a sample for each of its values."""
    family = kind(name, description, labels=[label])
    for value, number in values.items():
        family.add_metric([value], number)
    return family
