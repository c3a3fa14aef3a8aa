"""What operators look at: the queue, each worker with its jobs, the newest failures."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from common.jobs.transitions import JobState
from common.presenter import iso

if TYPE_CHECKING:
    from common.jobs.model import Job
    from common.presenter import JobPresenter
    from common.store.failures import Failures
    from common.store.presence import Workers
    from common.store.queries import JobQueries
    from common.store.stats import QueueStatistics

#: Failures that are shown.
FAILURES: Final = 20

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
    fleet: Workers
    queries: JobQueries
    failed: Failures
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
        fleet = self.fleet.known()
        named = self.queries.get_many([job_id for worker in fleet for job_id in worker.running])
        # Since a worker last spoke, a job may have ended or gone to another one.
        at_hand = {job.id: job for job in named if job.status is JobState.PROCESSING}
        return [
            {
                "workerId": worker.name,
                "host": worker.host,
                "since": iso(worker.since),
                "slots": worker.slots,
                "jobs": [
                    self._part(at_hand[job_id], _AT_HAND)
                    for job_id in worker.running
                    if job_id in at_hand and at_hand[job_id].worker == worker.name
                ],
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
