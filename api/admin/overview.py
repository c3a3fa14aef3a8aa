"""What operators see: the queue, the workers with their jobs, and the latest failures."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from api.admin.service_summary import summary_of
from common.jobs.presenter import iso

if TYPE_CHECKING:
    from common.job_store.circuit_breaker_states import CircuitBreakerState
    from common.job_store.queries import FailedJobs, JobQueries
    from common.job_store.queue_statistics import QueueState, QueueStatistics
    from common.job_store.statistics_log import Sample
    from common.job_store.worker_registry import WorkerRegistry
    from common.jobs.model import Job
    from common.jobs.presenter import JobPresenter

MAX_FAILURES: Final = 20
#: Running jobs that are read from each partition.
MAX_JOBS_PER_PARTITION: Final = 100

_RUNNING_JOB_MEMBERS: Final = (
    "jobId",
    "priority",
    "attempt",
    "progress",
    "totalFiles",
    "processedFiles",
    "totalBytes",
    "processedBytes",
    "estimatedSecondsRemaining",
    "startedAt",
)
_FAILED_JOB_MEMBERS: Final = (
    "jobId",
    "error",
    "errorCode",
    "retryable",
    "attempt",
    "completedAt",
)


@dataclass(frozen=True, kw_only=True)
class Overview:
    """Reads the overview as JSON members.

    Raises ``redis.exceptions.RedisError`` if the job store is unavailable.
    """

    queue_statistics: QueueStatistics
    worker_registry: WorkerRegistry
    queries: JobQueries
    failed_jobs: FailedJobs
    presenter: JobPresenter
    #: The API's checks of its dependencies.
    dependency_checks: Callable[[], Mapping[str, str]]
    breaker_states: Callable[[], Mapping[str, CircuitBreakerState]]
    #: Reads so many of the newest statistics, oldest first.
    samples: Callable[[int], Sequence[Sample]]
    #: Success rate of jobs below which the summary says that jobs fail.
    min_success_rate: float

    def read(self) -> dict[str, Any]:
        """Return the current overview, without ``timestamp``."""
        state = self.queue_statistics.read()
        return {
            "summary": self._summary(state),
            "statistics": _statistics(state),
            "workers": self.workers(),
            "failures": self.failures(),
        }

    def statistics(self) -> dict[str, Any]:
        """Return how many jobs wait, run and have ended, and how long they take."""
        return _statistics(self.queue_statistics.read())

    def workers(self) -> list[dict[str, Any]]:
        """Return each worker with the jobs that it is running."""
        workers = self.worker_registry.registered()
        # By leases, because what a worker reports about itself is up to one heartbeat old.
        running: defaultdict[str | None, list[Job]] = defaultdict(list)
        for job in sorted(
            self.queries.processing(MAX_JOBS_PER_PARTITION),
            key=lambda job: (job.started_at or 0, job.id),
        ):
            running[job.worker].append(job)
        return [
            {
                "workerId": worker.name,
                "host": worker.host,
                "since": iso(worker.since),
                "slots": worker.slots,
                "jobs": [self._present(job, _RUNNING_JOB_MEMBERS) for job in running[worker.name]],
            }
            for worker in workers
        ]

    def failures(self) -> list[dict[str, Any]]:
        """Return the latest failed jobs of all users, newest first."""
        return [
            self._present(job, _FAILED_JOB_MEMBERS) for job in self.failed_jobs.newest(MAX_FAILURES)
        ]

    def _summary(self, state: QueueState) -> dict[str, Any]:
        return summary_of(
            state,
            dependency_checks=self.dependency_checks(),
            breaker_states=self.breaker_states(),
            samples=self.samples,
            min_success_rate=self.min_success_rate,
        )

    def _present(self, job: Job, members: tuple[str, ...]) -> dict[str, Any]:
        presented = self.presenter.present(job)
        return {"userId": job.user, **{name: presented[name] for name in members}}


def _statistics(state: QueueState) -> dict[str, Any]:
    return {
        "waiting": state.waiting,
        "totalWaiting": sum(state.waiting.values()),
        "oldestWaitSeconds": state.oldest_wait,
        "processing": state.processing,
        "retrying": state.retrying,
        "completed": state.completed,
        "failed": state.failed,
        "cancelled": state.cancelled,
        "deadLetters": state.dead_letters,
        "paused": state.paused,
        "workers": state.workers,
        "durations": {
            "avg": state.average_duration,
            **{f"p{percent}": state.duration(percent) for percent in (50, 95, 99)},
        },
        "successRate": state.success_rate,
    }


def with_timestamp(overview: dict[str, Any]) -> dict[str, Any]:
    """Return the overview with the current time as ``timestamp``."""
    return {**overview, "timestamp": iso(time.time_ns() // 1_000_000)}
