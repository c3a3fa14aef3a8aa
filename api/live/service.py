"""Live updates of one process: links to the store, and the crowd that watches, on one event loop.

Belongs to the thread, and so to gevent's event loop, that uses it first.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import gevent
from hiredis import ReplyError

from api.errors import ServerFull, TooManyStreams
from api.live.event_loop import StreamLoop
from api.live.hub import Hub
from api.live.long_poll import Waiter
from api.live.messages import Form, JobMessage, Present
from api.live.store_connection import RETRY_AFTER, StoreConnection
from api.live.streams import Stream
from api.metrics import OPEN_STREAMS
from common.job_store.keys import partition_of_job, partition_of_key
from common.jobs.events import event_name

if TYPE_CHECKING:
    import _socket

    from common.job_store.subscription import EventSubscription
    from common.jobs.model import Job

TICK: Final = 0.25
#: While draining: between two looks, and longest for what is not yet written, seconds.
PAUSE: Final = 0.05
LAST_WORDS: Final = 1.0


@dataclass(frozen=True, kw_only=True)
class StreamLimits:
    """How many streams, and how often they hear a heartbeat (seconds)."""

    heartbeat: float = 15.0
    streams: int = 12_000
    streams_per_user: int = 50


class LiveUpdates:
    """Streams and long polls. Starts by itself with the first of them."""

    def __init__(
        self,
        feeds: Sequence[EventSubscription],
        present: Present,
        bounds: StreamLimits | None = None,
    ) -> None:
        """``feeds``: one, or as many as there are partitions, each for its own."""
        self.bounds = bounds or StreamLimits()
        self._feeds = feeds
        self._present = present
        self._links: list[StoreConnection] = []
        self._crowd: StreamLoop
        self._ticker: Any = None
        self._waiters: set[Waiter] = set()
        self._streams = 0
        self._per_user: Counter[str] = Counter()
        self._draining = False

    def wait_for(self, job_id: str, since: int, timeout: float) -> Job:
        """The job once its version is past ``since`` or it is finished; else as it is at the end.

        ``timeout`` in seconds. Raises ``JobNotFound`` and ``BackendUnavailable``.
        """
        link = self._link(partition_of_job(job_id))
        waiter = Waiter(since)
        job = link.join(job_id, waiter)
        self._waiters.add(waiter)
        try:
            return waiter.wait(job, 0 if self._draining else timeout)
        finally:
            self._waiters.discard(waiter)
            link.leave(job_id, waiter)

    def read_fields(self, job_id: str) -> Mapping[str, str]:
        """The job's fields as they are. Raises ``JobNotFound`` and ``BackendUnavailable``."""
        return self._link(partition_of_job(job_id)).read_fields(job_id)

    def read_version(self, job_id: str) -> list[str]:
        """The job's version and ``updated_at``, Nones if there is none. Raises as ``read_fields``."""
        return self._link(partition_of_job(job_id)).read_version(job_id)

    def run(self, key: str, digest: str, arguments: list[str]) -> list[Any] | None:
        """A ``ScriptRunner`` for scripts: on the connection that all of the process share.

        What the store refuses has not been carried out: its ordinary client knows what to do then.
        """
        link = self._link(partition_of_key(key))
        try:
            answer: list[Any] | None = link.call("EVALSHA", digest, "1", key, *arguments)
        except ReplyError:
            return None
        return answer

    def open(self, job_id: str, form: Form, *, user: str) -> tuple[Stream, Job]:
        """A stream that hears of the job already, and the job as it is; it still needs ``start``.

        Raises ``JobNotFound``, ``BackendUnavailable``, ``ServerFull`` and ``TooManyStreams``.
        Whoever does not start it has to ``abandon`` it.
        """
        link = self._link(partition_of_job(job_id))
        if self._draining or self._streams >= self.bounds.streams:
            raise ServerFull(retry_after=RETRY_AFTER)
        if self._per_user[user] >= self.bounds.streams_per_user:
            raise TooManyStreams(retry_after=RETRY_AFTER)
        stream = Stream(job_id, form, user, self._crowd.dirty)
        self._streams += 1
        self._per_user[user] += 1
        OPEN_STREAMS.labels(form.value).inc()
        try:
            job = link.join(job_id, stream)
        except BaseException:
            self.abandon(stream)
            raise
        return stream, job

    def start(
        self, stream: Stream, connection: _socket.socket, head: bytes, since: int | None, job: Job
    ) -> None:
        """Write ``head`` and what a client that knows ``since`` missed; go on alone."""
        missed = "heartbeat" if job.version == since else "connected"
        opening = head + JobMessage(job, missed, self._present).bytes_for(stream.form)
        if job.terminal:
            opening += JobMessage(job, event_name(job), self._present).bytes_for(stream.form)
        self._crowd.admit(stream, connection)
        stream.start(connection, opening, job.version, last=job.terminal)
        if self._draining:
            stream.end()

    def abandon(self, stream: Stream) -> None:
        """A stream is over, or never began."""
        self._link(partition_of_job(stream.job_id)).leave(stream.job_id, stream)
        self._streams -= 1
        self._per_user[stream.user] -= 1
        OPEN_STREAMS.labels(stream.form.value).dec()
        if not self._per_user[stream.user]:
            del self._per_user[stream.user]

    def drain(self, within: float) -> None:
        """End everything, spread over ``within`` seconds, so that clients do not return at once."""
        self._draining = True
        for waiter in list(self._waiters):
            waiter.release()
        if not self._links:
            return
        streams = self._crowd.shuffled()
        began, total = time.monotonic(), len(streams)
        while streams:
            gevent.sleep(PAUSE)
            passed = (time.monotonic() - began) / within
            while streams and len(streams) > total * (1 - passed):
                streams.pop().end()
        with gevent.Timeout(LAST_WORDS, False):
            while self._crowd.writing:
                gevent.sleep(PAUSE)

    def _link(self, partition: int) -> StoreConnection:
        if not self._links:
            self._begin()
        return self._links[partition % len(self._links)]

    def _begin(self) -> None:
        loop = gevent.get_hub().loop
        self._crowd = StreamLoop(loop, self.abandon)
        heartbeat = self.bounds.heartbeat
        self._links = [
            StoreConnection(feed, Hub(feed, self._present, heartbeat=heartbeat), self._crowd, loop)
            for feed in self._feeds
        ]
        self._ticker = loop.timer(TICK, TICK)
        self._ticker.start(self._tick)

    def _tick(self) -> None:
        now = time.monotonic()
        self._crowd.tick(now)
        for link in self._links:
            link.tick(now)
