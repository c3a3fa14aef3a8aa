"""What operators look at: the queue, each worker with its jobs, the newest failures."""

from __future__ import annotations

import time
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from common.jobs.presenter import iso

if TYPE_CHECKING:
    from common.job_store.failed_jobs import FailedJobs
    from common.job_store.queries import JobQueries
    from common.job_store.stats import QueueStatistics
    from common.job_store.worker_registry import WorkerRegistry
    from common.jobs.model import Job
    from common.jobs.presenter import JobPresenter

#: Failures that are shown.
FAILURES: Final = 20
#: Jobs at hand that are read of each partition.
MOST: Final = 100

_AT_HAND: Final = (
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
_FAILED: Final = ("jobId", "error", "errorCode", "retryable", "attempt", "completedAt")


@dataclass(frozen=True, kw_only=True)
class Overview:
    """Reads and presents it. Raises ``redis.exceptions.RedisError`` when the store is away."""

    queue: QueueStatistics
    fleet: WorkerRegistry
    queries: JobQueries
    failed: FailedJobs
    presenter: JobPresenter

    def read(self) -> dict[str, Any]:
        """Everything as of now, apart from ``timestamp``."""
        return {
            "statistics": self.statistics(),
            "workers": self.workers(),
            "failures": self.failures(),
        }

    def statistics(self) -> dict[str, Any]:
        """How many jobs wait, run and have ended, and how long they take."""
        read = self.queue.read()
        return {
            "waiting": read.waiting,
            "totalWaiting": sum(read.waiting.values()),
            "oldestWaitSeconds": read.oldest_wait,
            "processing": read.processing,
            "retrying": read.retrying,
            "completed": read.completed,
            "failed": read.failed,
            "cancelled": read.cancelled,
            "deadLetters": read.dead_letters,
            "paused": read.paused,
            "workers": read.workers,
            "durations": {f"p{percent}": read.duration(percent) for percent in (50, 95, 99)},
            "successRate": read.success_rate,
        }

    def workers(self) -> list[dict[str, Any]]:
        """Each worker with the jobs that it has at hand."""
        fleet = self.fleet.registered()
        # What a worker says of itself is up to a heartbeat old; the leases are of now.
        at_hand: defaultdict[str | None, list[Job]] = defaultdict(list)
        for job in sorted(
            self.queries.processing(MOST), key=lambda job: (job.started_at or 0, job.id)
        ):
            at_hand[job.worker].append(job)
        return [
            {
                "workerId": worker.name,
                "host": worker.host,
                "since": iso(worker.since),
                "slots": worker.slots,
                "jobs": [self._part(job, _AT_HAND) for job in at_hand[worker.name]],
            }
            for worker in fleet
        ]

    def failures(self) -> list[dict[str, Any]]:
        """The jobs of all users that failed last, newest first."""
        return [self._part(job, _FAILED) for job in self.failed.newest(FAILURES)]

    def _part(self, job: Job, members: tuple[str, ...]) -> dict[str, Any]:
        shown = self.presenter.present(job)
        return {"userId": job.user, **{name: shown[name] for name in members}}


def stamped(reading: dict[str, Any]) -> dict[str, Any]:
    """The reading with the time of now."""
    return {**reading, "timestamp": iso(time.time_ns() // 1_000_000)}
