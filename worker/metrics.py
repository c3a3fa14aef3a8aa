"""Metrics of one worker process; docs/observability.md explains them all."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

import structlog
from prometheus_client import Counter, Gauge, Histogram, start_http_server

from common.jobs.transitions import JobState

if TYPE_CHECKING:
    from common.job_store.sweeper import SweepResult
    from common.jobs.model import Job

_LONG: Final = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 900, 3600)

_ATTEMPTS: Final = Counter(
    "longhaul_attempts_total", "Attempts that ended, by how and why", ["outcome", "code"]
)
_ATTEMPT_SECONDS: Final = Histogram(
    "longhaul_attempt_seconds", "How long attempts took", ["outcome"], buckets=_LONG
)
_WAIT_SECONDS: Final = Histogram(
    "longhaul_job_wait_seconds",
    "From a job's creation to its first attempt",
    ["priority"],
    buckets=_LONG,
)
_JOB_SECONDS: Final = Histogram(
    "longhaul_job_seconds", "From a job's creation to its completion", ["priority"], buckets=_LONG
)
_RECOVERIES: Final = Counter(
    "longhaul_recoveries_total", "What this worker's sweeper set right, by cause", ["cause"]
)
ARCHIVE_BYTES: Final = Counter(
    "longhaul_archive_bytes_total", "Bytes of finished archives, by the way they went", ["way"]
)
WEBHOOKS: Final = Counter(
    "longhaul_webhook_posts_total", "Attempts to deliver a webhook, by its state after", ["state"]
)
HISTORY_ENTRIES: Final = Counter(
    "longhaul_history_entries_total", "Entries of the state log that history took"
)
_SLOTS: Final = Gauge("longhaul_worker_process_slots", "Jobs that this process may run at once")
_BUSY: Final = Gauge("longhaul_worker_process_busy", "Jobs that this process runs")

log = structlog.get_logger(__name__)


def serve(host: str, port: int, *, slots: int, running: Callable[[], tuple[str, ...]]) -> None:
    """Show the metrics of this process on a port; 0: do not.

    A port that is taken, as by another worker on this machine, costs the metrics only.
    """
    _SLOTS.set(slots)
    _BUSY.set_function(lambda: len(running()))
    if not port:
        return
    try:
        start_http_server(port, host)
    except OSError as error:
        log.warning("this worker shows no metrics", port=port, error=str(error))


def attempt_began(job: Job) -> None:
    if job.attempt == 1 and job.started_at is not None:
        _WAIT_SECONDS.labels(job.priority).observe((job.started_at - job.created_at) / 1000)


def attempt_ended(ended: Job | None, seconds: float) -> str:
    """``ended``: the job as the attempt left it; None when it was taken away. The outcome."""
    code = ended.failure.code if ended is not None and ended.failure is not None else ""
    outcome = _outcome(ended)
    _ATTEMPTS.labels(outcome, code).inc()
    _ATTEMPT_SECONDS.labels(outcome).observe(seconds)
    if ended is not None and outcome == "completed":
        _JOB_SECONDS.labels(ended.priority).observe((ended.updated_at - ended.created_at) / 1000)
    return outcome


def _outcome(ended: Job | None) -> str:
    if ended is None:
        return "taken_away"
    if ended.status is JobState.QUEUED:
        return "retried" if ended.failure else "handed_back"
    return ended.status.value


def swept(found: SweepResult) -> None:
    """Count what a sweep set right."""
    _RECOVERIES.labels("worker_lost").inc(found.recovered)
    _RECOVERIES.labels("worker_lost_too_often").inc(found.failed)
    _RECOVERIES.labels("message_lost").inc(found.resent)
