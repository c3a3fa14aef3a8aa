"""Waiting for a job to change, for long polls and for calls that want the end."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from common.job_store.queries import JobQueries
    from common.jobs.model import Job

#: Seconds between looks: short at first, since most waits are for something about to happen.
SHORTEST_PAUSE: Final = 0.05
LONGEST_PAUSE: Final = 0.5


class Live(Protocol):
    """Knows of changes as they happen."""

    def wait_for(self, job_id: str, since: int, timeout: float) -> Job:
        """The job once its version is past ``since`` or it is finished; else as it is at the end.

        ``timeout`` in seconds. Raises ``JobNotFound``.
        """


class Polling:
    """Reads the job again and again: for a process without live updates."""

    def __init__(self, queries: JobQueries) -> None:
        self._queries = queries

    def wait_for(self, job_id: str, since: int, timeout: float) -> Job:
        deadline = time.monotonic() + timeout
        pause = SHORTEST_PAUSE
        while True:
            job = self._queries.get(job_id)
            left = deadline - time.monotonic()
            if job.version > since or job.terminal or left <= 0:
                return job
            time.sleep(min(pause, left))
            pause = min(pause * 1.5, LONGEST_PAUSE)


def wait_for_end(live: Live, job: Job, timeout: float) -> Job:
    """The job once it is finished, or as it is after ``timeout`` seconds."""
    deadline = time.monotonic() + timeout
    while not job.terminal:
        left = deadline - time.monotonic()
        if left <= 0:
            break
        job = live.wait_for(job.id, job.version, left)
    return job
