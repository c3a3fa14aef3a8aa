"""Long polls: wait until a job changes, or until it is finished."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from gevent.event import Event

from api.errors import ServerFull, TooManyWaitingRequests
from api.limits.concurrency_limit import Client, ConcurrencyLimit, ConcurrencyLimits
from common.errors import JobNotFound

if TYPE_CHECKING:
    from api.live.messages import JobMessage
    from common.job_store.queries import JobQueries
    from common.jobs.model import Job

#: Seconds between two polls of ``PollingWaiter``: short at first, since most changes come soon.
MIN_PAUSE: Final = 0.05
MAX_PAUSE: Final = 0.5
#: Seconds until a request that was not allowed to wait may try again.
RETRY_AFTER: Final = 5.0


class DisconnectSource(Protocol):
    """The part of a client's connection that a waiting request needs."""

    def on_disconnect(self, callback: Callable[[], None]) -> AbstractContextManager[None]:
        """Call ``callback`` if the client disconnects meanwhile."""


@dataclass(frozen=True, kw_only=True)
class WaitUntil:
    """What ends a wait: a version above ``since`` with enough progress, or a finished job."""

    since: int = 0
    #: Percent.
    min_progress: int = 0

    def met_by(self, job: Job | JobMessage) -> bool:
        """Return whether the wait is over."""
        if job.terminal or self.min_progress > 100:
            return job.terminal
        return job.version > self.since and (
            not self.min_progress or job.progress >= self.min_progress
        )


#: No job that is still running has so much progress.
FINISHED: Final = WaitUntil(min_progress=101)


class JobWaiter(Protocol):
    """Waits for a job's changes: ``LiveUpdates``, or without them ``PollingWaiter``."""

    def wait_for_job(
        self,
        job_id: str,
        until: WaitUntil,
        timeout: float,
        connection: DisconnectSource | None = None,
    ) -> Job:
        """Return the job once it meets ``until``.

        After ``timeout`` seconds, when the client of ``connection`` disconnects, or when the
        process stops, return the job as it is then. Raises ``JobNotFound``.
        """


class PollingWaiter:
    """Polls the job store until the job meets the condition."""

    def __init__(self, queries: JobQueries) -> None:
        self._queries = queries

    def wait_for_job(
        self,
        job_id: str,
        until: WaitUntil,
        timeout: float,
        connection: DisconnectSource | None = None,  # noqa: ARG002  Not watched.
    ) -> Job:
        deadline = time.monotonic() + timeout
        pause = MIN_PAUSE
        while True:
            job = self._queries.get(job_id)
            remaining = deadline - time.monotonic()
            if until.met_by(job) or remaining <= 0:
                return job
            time.sleep(min(pause, remaining))
            pause = min(pause * 1.5, MAX_PAUSE)


@dataclass(frozen=True, kw_only=True)
class WaitingClient:
    """Who waits."""

    client: Client
    #: None under a web server that does not report disconnected clients.
    connection: DisconnectSource | None = None


class WaitingRequests:
    """Lets requests wait for jobs, within limits."""

    def __init__(self, job_waiter: JobWaiter, limits: ConcurrencyLimits) -> None:
        """``limits``: each waiting request occupies a connection of the web server.

        So the total has to be well below the number of its connections.
        """
        self._job_waiter = job_waiter
        self._limit = ConcurrencyLimit(
            limits,
            full=lambda: ServerFull(
                "This server has no capacity for more waiting requests. Poll without waiting.",
                retry_after=RETRY_AFTER,
            ),
            exceeded=lambda: TooManyWaitingRequests(retry_after=RETRY_AFTER),
        )

    def __len__(self) -> int:
        """Return the number of requests that wait."""
        return len(self._limit)

    def wait_for_job(
        self, client: WaitingClient, job_id: str, until: WaitUntil, timeout: float
    ) -> Job:
        """Return the job as ``JobWaiter.wait_for_job`` does.

        Raises ``TooManyWaitingRequests`` and ``ServerFull`` too.
        """
        with self._limit.held(client.client):
            return self._job_waiter.wait_for_job(job_id, until, timeout, client.connection)

    def wait_until_finished(self, client: WaitingClient, job: Job, timeout: float) -> Job:
        """Return the job once it is finished, or as it is after ``timeout`` seconds.

        Returns earlier if the limits are exceeded, the client disconnects or the process stops:
        the job exists, and its client can poll.
        """
        if job.terminal or timeout <= 0:
            return job
        try:
            return self.wait_for_job(client, job.id, FINISHED, timeout)
        except (ServerFull, TooManyWaitingRequests):
            return job


class LongPoll:
    """A subscriber that waits until a job meets a condition."""

    def __init__(self, until: WaitUntil) -> None:
        self.position = 0
        self._until = until
        self._done = Event()
        self._newest: JobMessage | None = None
        self._deleted = False

    def wait(self, job: Job, timeout: float, connection: DisconnectSource | None = None) -> Job:
        """Return the newest state: ``job`` itself if that is enough, or if nothing changes.

        Stops waiting when the client of ``connection`` disconnects. Raises ``JobNotFound`` when the
        job store deletes the job meanwhile.
        """
        if not self._until.met_by(job):
            with connection.on_disconnect(self.cancel) if connection else nullcontext():
                self._done.wait(timeout)
        if self._deleted:
            raise JobNotFound
        newest = self._newest
        if newest is None or not (newest.version > job.version or newest.terminal):
            return job
        return newest.job

    def cancel(self) -> None:
        """Stop waiting."""
        self._done.set()

    def deliver(self, message: JobMessage) -> None:
        self._newest = message
        if self._until.met_by(message):
            self._done.set()

    def heartbeat(self, message: JobMessage | None) -> None:
        """Do nothing: heartbeats are for streams."""

    def job_deleted(self) -> None:
        self._deleted = True
        self._done.set()
