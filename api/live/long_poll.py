"""Long polls: wait until a job changes, or until it is finished."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final, Protocol

from gevent.event import Event

from common.errors import JobNotFound

if TYPE_CHECKING:
    from api.live.messages import JobMessage
    from common.job_store.queries import JobQueries
    from common.jobs.model import Job

#: Seconds between two reads of ``Polling``: short at first, since most changes come soon.
MIN_PAUSE: Final = 0.05
MAX_PAUSE: Final = 0.5


class Live(Protocol):
    """Waits for a job's changes: ``LiveUpdates``, or ``Polling`` in a process without them."""

    def wait_for_change(self, job_id: str, since: int, timeout: float) -> Job:
        """Return the job once its version is above ``since`` or it is finished.

        After ``timeout`` seconds, return it as it is then. Raises ``JobNotFound``.
        """


class Polling:
    """Reads the job again and again."""

    def __init__(self, queries: JobQueries) -> None:
        self._queries = queries

    def wait_for_change(self, job_id: str, since: int, timeout: float) -> Job:
        deadline = time.monotonic() + timeout
        pause = MIN_PAUSE
        while True:
            job = self._queries.get(job_id)
            remaining = deadline - time.monotonic()
            if job.version > since or job.terminal or remaining <= 0:
                return job
            time.sleep(min(pause, remaining))
            pause = min(pause * 1.5, MAX_PAUSE)


def wait_until_finished(live: Live, job: Job, timeout: float) -> Job:
    """Return the job once it is finished, or as it is after ``timeout`` seconds."""
    deadline = time.monotonic() + timeout
    while not job.terminal:
        remaining = deadline - time.monotonic()
        if remaining <= 0:
            break
        job = live.wait_for_change(job.id, job.version, remaining)
    return job


class LongPoll:
    """A subscriber that waits for one change."""

    def __init__(self, since: int) -> None:
        self.position = 0
        self._since = since
        self._done = Event()
        self._newest: Job | None = None
        self._deleted = False

    def wait(self, job: Job, timeout: float) -> Job:
        """Return the newest state: ``job`` itself if it is new already, or if nothing changes.

        Raises ``JobNotFound`` when the job store deletes the job meanwhile.
        """
        if job.version <= self._since and not job.terminal:
            self._done.wait(timeout)
        if self._deleted:
            raise JobNotFound
        newest = self._newest
        return newest if newest is not None and newest.version > job.version else job

    def cancel(self) -> None:
        """Stop waiting."""
        self._done.set()

    def deliver(self, message: JobMessage) -> None:
        self._newest = message.job
        if message.version > self._since:
            self._done.set()

    def heartbeat(self, message: JobMessage | None) -> None:
        """Do nothing: heartbeats are for streams."""

    def job_deleted(self) -> None:
        self._deleted = True
        self._done.set()
