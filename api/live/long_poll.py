"""A long poll: a watcher that waits for one change."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gevent.event import Event as Flag

from common.errors import JobNotFound

if TYPE_CHECKING:
    from api.live.messages import JobMessage
    from common.jobs.model import Job


class Waiter:
    """Waits until the job's version is past ``since``."""

    def __init__(self, since: int) -> None:
        self.place = 0
        self._since = since
        self._over = Flag()
        self._newest: Job | None = None
        self._known = True

    def wait(self, job: Job, timeout: float) -> Job:
        """The newest state: ``job`` itself if it is new already, or nothing came in ``timeout`` s.

        Raises ``JobNotFound`` when the job is forgotten meanwhile.
        """
        if job.version <= self._since and not job.terminal:
            self._over.wait(timeout)
        if not self._known:
            raise JobNotFound
        newest = self._newest
        return newest if newest is not None and newest.version > job.version else job

    def release(self) -> None:
        """Wait no longer."""
        self._over.set()

    def offer(self, event: JobMessage) -> None:
        self._newest = event.job
        if event.version > self._since:
            self._over.set()

    def beat(self, event: JobMessage | None) -> None:
        """Heartbeats are for streams."""

    def gone(self) -> None:
        self._known = False
        self._over.set()
