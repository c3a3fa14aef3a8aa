"""The queue's figures, read from the job store when Prometheus asks.

Any process of the API answers the same, so nothing has to be added up between them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import structlog
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector
from redis.exceptions import RedisError

from common.job_store.state_log import backlog

if TYPE_CHECKING:
    from prometheus_client import Metric
    from redis import Redis

    from common.job_store.stats import QueueState, QueueStatistics

log = structlog.get_logger(__name__)


class QueueMetrics(Collector):
    """A collector for one scrape after the other."""

    def __init__(self, statistics: QueueStatistics, client: Redis) -> None:
        self._statistics = statistics
        self._client = client

    def collect(self) -> Iterator[Metric]:
        up = GaugeMetricFamily("longhaul_store_up", "Whether the job store answers: 1 or 0")
        try:
            read, behind = self._statistics.read(), backlog(self._client)
        except RedisError as error:
            log.warning("no figures of the queue", error=repr(error))
            up.add_metric([], 0)
            yield up
            return
        up.add_metric([], 1)
        yield up
        yield from _waiting(read)
        yield from _gauges(read)
        yield _ended(read)
        journal = GaugeMetricFamily(
            "longhaul_journal_backlog",
            "Entries of the state log that a group has not acknowledged",
            labels=["group"],
        )
        for group, entries in behind.items():
            journal.add_metric([group], entries)
        yield journal


def _waiting(read: QueueState) -> Iterator[Metric]:
    waiting = GaugeMetricFamily(
        "longhaul_jobs_waiting", "Queued jobs that could run now", labels=["priority"]
    )
    oldest = GaugeMetricFamily(
        "longhaul_oldest_wait_seconds",
        "How long the first waiting job has waited; 0 when none waits",
        labels=["priority"],
    )
    for priority, count in read.waiting.items():
        waiting.add_metric([priority], count)
        oldest.add_metric([priority], read.oldest[priority] or 0)
    yield from (waiting, oldest)


def _gauges(read: QueueState) -> Iterator[Metric]:
    for name, meaning, value in (
        ("longhaul_jobs_leased", "Jobs that a worker holds", read.processing),
        ("longhaul_jobs_retrying", "Jobs whose next attempt is not due yet", read.retrying),
        (
            "longhaul_dead_letters",
            "Failed jobs that a retry might help",
            read.dead_letters,
        ),
        ("longhaul_queue_paused", "Whether an operator paused the queue: 1 or 0", int(read.paused)),
        ("longhaul_workers", "Worker processes that showed a sign of life", read.workers),
        ("longhaul_worker_slots", "Jobs that all workers may run at once", read.slots),
        ("longhaul_worker_slots_busy", "Of these, how many run a job", read.busy),
    ):
        yield GaugeMetricFamily(name, meaning, value=value)


def _ended(read: QueueState) -> Metric:
    ended = CounterMetricFamily(
        "longhaul_jobs_ended", "Jobs that ended, by the state", labels=["status"]
    )
    for status in ("completed", "failed", "cancelled"):
        ended.add_metric([status], getattr(read, status))
    return ended
