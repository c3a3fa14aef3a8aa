"""Live updates of one process: the feed, the hub and the crowd, joined on gevent's event loop.

Belongs to the thread, and so to the event loop, that uses it first.
"""

from __future__ import annotations

import random
import time
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import gevent
import structlog
from gevent.event import AsyncResult
from gevent.event import Event as Flag
from redis.exceptions import RedisError

from api.live.crowd import READ, WRITE, Crowd
from api.live.errors import ServerFull, TooManyStreams
from api.live.events import Form, Present
from api.live.hub import Hub, Watcher
from api.live.stream import Stream
from api.live.waiter import Waiter
from api.metrics import OPEN_STREAMS
from common.errors import BackendUnavailable, JobNotFound

if TYPE_CHECKING:
    import _socket

    from common.jobs.model import Job
    from common.store.feed import EventFeed

#: Seconds until a caller is told that the store does not answer.
PATIENCE: Final = 1.5
#: Seconds, told to a caller that was refused.
RETRY_AFTER: Final = 2.0
TICK: Final = 0.25
#: Longest pause between two attempts to reach the store, seconds.
RECONNECT: Final = 0.5

log = structlog.get_logger(__name__)


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """How many streams, and how often they hear a heartbeat (seconds)."""

    heartbeat: float = 15.0
    streams: int = 12_000
    streams_per_user: int = 50


class LiveUpdates:
    """Streams and long polls. Starts by itself with the first of them."""

    def __init__(self, feed: EventFeed, present: Present, bounds: Bounds | None = None) -> None:
        self.bounds = bounds or Bounds()
        self._feed = feed
        self._hub = Hub(feed, present, heartbeat=self.bounds.heartbeat)
        self._waiters: set[Waiter] = set()
        self._per_user: Counter[str] = Counter()
        self._draining = False
        self._loop: Any = None
        self._crowd: Crowd
        self._lost = Flag()
        #: The loop's watchers of the feed's connection.
        self._readable: Any = None
        self._writable: Any = None
        self._flushing = False

    def wait_for(self, job_id: str, since: int, timeout: float) -> Job:
        """The job once its version is past ``since`` or it is finished; else as it is at the end.

        ``timeout`` in seconds. Raises ``JobNotFound`` and ``BackendUnavailable``.
        """
        self._start()
        waiter = Waiter(since)
        job = self._join(job_id, waiter)
        if self._draining:
            timeout = 0
        self._waiters.add(waiter)
        try:
            return waiter.wait(job, timeout)
        finally:
            self._waiters.discard(waiter)
            self._hub.leave(job_id, waiter)
            self._feed_soon()

    def open(self, job_id: str, form: Form, *, user: str) -> tuple[Stream, Job]:
        """A stream that hears of the job already, and the job as it is; it still needs ``start``.

        Raises ``JobNotFound``, ``BackendUnavailable``, ``ServerFull`` and ``TooManyStreams``.
        Whoever does not start it has to ``abandon`` it.
        """
        self._start()
        if self._draining or self._per_user.total() >= self.bounds.streams:
            raise ServerFull(retry_after=RETRY_AFTER)
        if self._per_user[user] >= self.bounds.streams_per_user:
            raise TooManyStreams(retry_after=RETRY_AFTER)
        stream = Stream(job_id, form, user, self._crowd.dirty)
        self._per_user[user] += 1
        OPEN_STREAMS.labels(form.value).inc()
        try:
            job = self._join(job_id, stream)
        except BaseException:
            self.abandon(stream)
            raise
        return stream, job

    def start(
        self, stream: Stream, connection: _socket.socket, head: bytes, since: int | None, job: Job
    ) -> None:
        """Write ``head`` and what a client that knows ``since`` missed; go on alone."""
        missed = "heartbeat" if job.version == since else "connected"
        opening = head + self._hub.event(job, missed).bytes_for(stream.form)
        if job.terminal:
            opening += self._hub.event(job).bytes_for(stream.form)
        self._crowd.admit(stream, connection)
        stream.start(connection, opening, job.version, last=job.terminal)
        if self._draining:
            stream.end()

    def abandon(self, stream: Stream) -> None:
        """A stream is over, or never began."""
        self._hub.leave(stream.job_id, stream)
        self._feed_soon()
        self._per_user[stream.user] -= 1
        OPEN_STREAMS.labels(stream.form.value).dec()
        if not self._per_user[stream.user]:
            del self._per_user[stream.user]

    def drain(self, within: float) -> None:
        """End everything, spread over ``within`` seconds, so that clients do not return at once."""
        self._draining = True
        for waiter in list(self._waiters):
            waiter.release()
        if self._loop is None:
            return
        streams = self._crowd.shuffled()
        rounds = max(1, round(within / 0.05))
        for number in range(rounds):
            for stream in streams[number::rounds]:
                stream.end()
            gevent.sleep(0.05)
        with gevent.Timeout(1.0, False):
            while len(self._crowd):
                gevent.sleep(0.05)

    def _join(self, job_id: str, watcher: Watcher) -> Job:
        answer: AsyncResult = AsyncResult()
        self._hub.join(job_id, watcher, answer.set, time.monotonic())
        self._feed_soon()
        try:
            job: Job | None = answer.get(timeout=PATIENCE)
        except gevent.Timeout:
            self._hub.leave(job_id, watcher)
            raise BackendUnavailable(retry_after=RETRY_AFTER) from None
        if job is None:
            raise JobNotFound
        return job

    def _start(self) -> None:
        if self._loop is not None:
            return
        self._loop = gevent.get_hub().loop
        self._crowd = Crowd(self._loop, self.abandon)
        gevent.spawn(self._stay_connected)
        self._ticker = self._loop.timer(TICK, TICK)
        self._ticker.start(self._tick)

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
            self._hub.resubscribe()
            self._feed_soon()
            self._lost.wait()

    def _pump(self) -> None:
        """The feed has something to read."""
        try:
            for job_id, fields in self._feed.receive():
                self._hub.change(job_id, fields)
        except (RedisError, OSError) as error:
            self._disconnect(error)
        self._feed_soon()

    def _tick(self) -> None:
        now = time.monotonic()
        self._hub.tick(now)
        self._crowd.tick(now)
        if self._feed.connected:
            try:
                self._feed.check()
            except RedisError as error:
                self._disconnect(error)
        self._feed_soon()

    def _feed_soon(self) -> None:
        """Send what the feed has queued, in this turn of the loop, all of it together."""
        if not self._flushing:
            self._flushing = True
            self._loop.run_callback(self._flush_feed)

    def _flush_feed(self) -> None:
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
            self._writable.start(self._feed_writable)

    def _feed_writable(self) -> None:
        _stop(self._writable)
        self._writable = None
        self._flush_feed()

    def _disconnect(self, error: Exception) -> None:
        log.warning("live updates: the job store's connection is lost", error=repr(error))
        # A watcher has to stop before its file descriptor is closed.
        for watcher in (self._readable, self._writable):
            if watcher is not None:
                _stop(watcher)
        self._readable = self._writable = None
        self._feed.close()
        self._lost.set()


def _stop(watcher: Any) -> None:
    watcher.stop()
    watcher.close()
