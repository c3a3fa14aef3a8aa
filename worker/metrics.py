"""Prometheus metrics of a worker process. docs/observability.md describes them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

import structlog
from prometheus_client import Counter, Gauge, Histogram, start_http_server

from common.jobs.transitions import JobState

if TYPE_CHECKING:
    from common.job_store.sweeper import SweepResult
    from common.jobs.model import Job

_BUCKETS: Final = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 900, 3600)

_ATTEMPTS: Final = Counter(
    "longhaul_attempts_total", "Ended attempts, by outcome and failure code", ["outcome", "code"]
)
_ATTEMPT_SECONDS: Final = Histogram(
    "longhaul_attempt_seconds", "Duration of attempts", ["outcome"], buckets=_BUCKETS
)
_WAIT_SECONDS: Final = Histogram(
    "longhaul_job_wait_seconds",
    "Time from the creation of a job, or from its restart, to its first attempt",
    ["priority"],
    buckets=_BUCKETS,
)
_JOB_SECONDS: Final = Histogram(
    "longhaul_job_seconds",
    "Time from the creation of a job, or from its restart, to its completion",
    ["priority"],
    buckets=_BUCKETS,
)
_RECOVERIES: Final = Counter(
    "longhaul_recoveries_total", "Jobs recovered by this worker's sweeper, by cause", ["cause"]
)
WEBHOOKS: Final = Counter(
    "longhaul_webhook_posts_total",
    "Attempts to deliver a webhook, by the resulting state",
    ["state"],
)
EMAILS: Final = Counter(
    "longhaul_emails_total",
    "Attempts to send an email, by the resulting state",
    ["state"],
)
HISTORY_ENTRIES: Final = Counter(
    "longhaul_history_entries_total", "Entries of the state log recorded in the history"
)
_SLOTS: Final = Gauge(
    "longhaul_worker_process_slots", "Jobs that this process can run at the same time"
)
_BUSY: Final = Gauge("longhaul_worker_process_busy", "Jobs that this process is running")

log = structlog.get_logger(__name__)


def serve(host: str, port: int, *, slots: int, running_jobs: Callable[[], tuple[str, ...]]) -> None:
    """Serve the metrics of this process on a port; 0 disables that.

    If the port is in use, for example by another worker on this machine, the worker runs without.
    """
    # Without a first value of zero, Prometheus would not see the first increase.
    for cause in ("worker_lost", "worker_lost_too_often", "message_lost"):
        _RECOVERIES.labels(cause)
    # And an installation whose jobs all fail would have no rate of successes that an alert can see.
    _ATTEMPTS.labels("completed", "")
    _SLOTS.set(slots)
    _BUSY.set_function(lambda: len(running_jobs()))
    if not port:
        return
    try:
        start_http_server(port, host)
    except OSError as error:
        log.warning("metrics not served", port=port, error=str(error))


def attempt_started(job: Job) -> None:
    """Record how long the job waited for its first attempt."""
    if job.attempt == 1 and job.started_at is not None:
        _WAIT_SECONDS.labels(job.priority).observe((job.started_at - job.requested_at) / 1000)


def attempt_ended(job: Job | None, seconds: float) -> str:
    """Record an attempt and return its outcome.

    ``job``: as the attempt left it; None if it was cancelled or another worker has it now.
    """
    code = job.failure.code if job is not None and job.failure is not None else ""
    outcome = _outcome(job)
    _ATTEMPTS.labels(outcome, code).inc()
    _ATTEMPT_SECONDS.labels(outcome).observe(seconds)
    if job is not None and outcome == "completed":
        _JOB_SECONDS.labels(job.priority).observe((job.updated_at - job.requested_at) / 1000)
    return outcome


def _outcome(job: Job | None) -> str:
    if job is None:
        return "interrupted"
    if job.status is JobState.QUEUED:
        return "retried" if job.failure else "returned_to_queue"
    return job.status.value


def sweep_finished(result: SweepResult) -> None:
    """Count the jobs that a sweep recovered."""
    _RECOVERIES.labels("worker_lost").inc(result.recovered)
    _RECOVERIES.labels("worker_lost_too_often").inc(result.failed)
    _RECOVERIES.labels("message_lost").inc(result.resent)
