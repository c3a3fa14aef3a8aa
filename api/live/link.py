"""One connection to the store and its hub, kept alive on gevent's event loop."""

from __future__ import annotations

import random
import time
from itertools import chain
from typing import Any, Final

import gevent
import structlog
from gevent.event import AsyncResult
from gevent.event import Event as Flag
from redis.exceptions import RedisError

from api.live.crowd import READ, WRITE
from api.live.hub import Hub, Watcher
from common.errors import BackendUnavailable, JobNotFound
from common.jobs.model import Job
from common.store.feed import EventFeed

#: Seconds until a caller is told that the store does not answer, and until it may ask again.
PATIENCE: Final = 1.5
RETRY_AFTER: Final = 2.0
#: Seconds for a mere reading: who gives up then can still ask by another way.
READ_PATIENCE: Final = 0.4
#: Longest pause between two attempts to reach the store, seconds.
RECONNECT: Final = 0.5

log = structlog.get_logger(__name__)


class Link:
    """Reads the feed into the hub; reconnects for as long as it takes, then reads all anew."""

    def __init__(self, feed: EventFeed, hub: Hub, loop: Any) -> None:
        """``loop`` is gevent's."""
        self.hub = hub
        self._feed = feed
        self._loop = loop
        self._lost = Flag()
        #: The loop's watchers of the feed's connection.
        self._readable: Any = None
        self._writable: Any = None
        self._flushing = False
        #: Who waits for a job to be read.
        self._readers: dict[str, list[AsyncResult]] = {}
        gevent.spawn(self._stay_connected)

    def join(self, job_id: str, watcher: Watcher) -> Job:
        """Watch a job; it as it was when the watch began.

        Raises ``JobNotFound``, and ``BackendUnavailable`` when the store does not answer in time.
        """
        answer: AsyncResult = AsyncResult()
        self.hub.join(job_id, watcher, answer.set, time.monotonic())
        self._flush_soon()
        try:
            job: Job | None = answer.get(timeout=PATIENCE)
        except gevent.Timeout:
            self.leave(job_id, watcher)
            raise BackendUnavailable(retry_after=RETRY_AFTER) from None
        if job is None:
            raise JobNotFound
        return job

    def read(self, job_id: str) -> Job:
        """The job as it is now: together with whatever else is asked for in this turn.

        Raises ``JobNotFound``, and ``BackendUnavailable`` when the store does not answer in time.
        """
        if not self._feed.connected:
            raise BackendUnavailable(retry_after=RETRY_AFTER)
        answer: AsyncResult = AsyncResult()
        readers = self._readers.setdefault(job_id, [])
        if not readers:
            self._feed.read([job_id])
            self._flush_soon()
        readers.append(answer)
        try:
            fields: dict[str, str] | None = answer.get(timeout=READ_PATIENCE)
        except gevent.Timeout:
            raise BackendUnavailable(retry_after=RETRY_AFTER) from None
        if fields is None:
            raise JobNotFound
        return Job.from_fields(fields)

    def leave(self, job_id: str, watcher: Watcher) -> None:
        """Watch no longer."""
        self.hub.leave(job_id, watcher)
        self._flush_soon()

    def tick(self, now: float) -> None:
        """Start heartbeats that are due, and see whether the store is still there."""
        self.hub.tick(now)
        if self._feed.connected:
            try:
                self._feed.check()
            except RedisError as error:
                self._disconnect(error)
        self._flush_soon()

    def _stay_connected(self) -> None:
        while True:
            try:
                self._feed.connect()
            except (RedisError, OSError) as error:
                log.warning("live updates: the job store cannot be reached", error=repr(error))
                gevent.sleep(random.uniform(0.1, RECONNECT))  # noqa: S311
                continue
            self._lost.clear()
            self._readable = self._loop.io(self._feed.fileno(), READ)
            self._readable.start(self._pump)
            self.hub.resubscribe()
            self._flush_soon()
            self._lost.wait()

    def _pump(self) -> None:
        """The feed has something to read."""
        try:
            for job_id, fields in self._feed.receive():
                for answer in self._readers.pop(job_id, ()):
                    answer.set(fields)
                self.hub.change(job_id, fields)
        except (RedisError, OSError) as error:
            self._disconnect(error)
        self._flush_soon()

    def _flush_soon(self) -> None:
        """Send what the feed has queued, in this turn of the loop, all of it together."""
        if not self._flushing:
            self._flushing = True
            self._loop.run_callback(self._flush)

    def _flush(self) -> None:
        self._flushing = False
        if not self._feed.connected:
            return
        try:
            done = self._feed.flush()
        except (RedisError, OSError) as error:
            self._disconnect(error)
            return
        if not done and self._writable is None:
            self._writable = self._loop.io(self._feed.fileno(), WRITE)
            self._writable.start(self._on_writable)

    def _on_writable(self) -> None:
        _stop(self._writable)
        self._writable = None
        self._flush()

    def _disconnect(self, error: Exception) -> None:
        log.warning("live updates: the job store's connection is lost", error=repr(error))
        # A watcher has to stop before its file descriptor is closed.
        for watcher in (self._readable, self._writable):
            if watcher is not None:
                _stop(watcher)
        self._readable = self._writable = None
        self._feed.close()
        readers, self._readers = self._readers, {}
        for answer in chain.from_iterable(readers.values()):
            answer.set_exception(BackendUnavailable(retry_after=RETRY_AFTER))
        self._lost.set()


def _stop(watcher: Any) -> None:
    watcher.stop()
    watcher.close()
