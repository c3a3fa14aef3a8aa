"""Live updates of one process: its streams, its long polls and its connections to the job store.

Everything here belongs to the thread, and so to the gevent event loop, that uses it first.
"""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import gevent
from hiredis import ReplyError

from api.errors import ServerFull, TooManyStreams
from api.limits.concurrency_limit import Client, ConcurrencyLimit, ConcurrencyLimits
from api.live import sse
from api.live.event_loop import StreamLoop
from api.live.hub import Hub
from api.live.long_poll import DisconnectSource, LongPoll, WaitUntil
from api.live.messages import JobMessage, Present, StreamFormat
from api.live.store_connection import RETRY_AFTER, StoreConnection
from api.live.streams import Stream
from api.metrics import OPEN_STREAMS
from common.job_store.keys import partition_of_job, partition_of_key
from common.jobs.events import event_name

if TYPE_CHECKING:
    import _socket

    from common.job_store.subscription import EventSubscription
    from common.jobs.model import Job

#: Seconds.
TICK_INTERVAL: Final = 0.25
#: While draining: seconds between two steps, and the maximum for data that is not sent yet.
DRAIN_STEP: Final = 0.05
FINAL_FLUSH_TIMEOUT: Final = 1.0
#: File descriptors that streams leave to everything else: requests, the job store and files. Where
#: few are allowed, half of them.
RESERVED_DESCRIPTORS: Final = 2_500


@dataclass(frozen=True, kw_only=True)
class StreamLimits:
    """How many streams there may be, and the seconds between two heartbeats."""

    heartbeat_interval: float
    maximum: ConcurrencyLimits


def available_streams() -> int:
    """Return how many streams this process has file descriptors for."""
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if limit == resource.RLIM_INFINITY:
        return sys.maxsize
    return limit - min(RESERVED_DESCRIPTORS, limit // 2)


class LiveUpdates:
    """Opens streams and long polls. It connects to the job store when it is first used."""

    def __init__(
        self,
        subscriptions: Sequence[EventSubscription],
        present: Present,
        limits: StreamLimits,
    ) -> None:
        """``subscriptions``: one for all partitions, or one for each, in order."""
        self.limits = limits
        self._subscriptions = subscriptions
        self._present = present
        self._connections: list[StoreConnection] = []
        self._loop: StreamLoop
        self._ticker: Any = None
        self._long_polls: set[LongPoll] = set()
        self._limit = ConcurrencyLimit(
            self.limits.maximum,
            full=lambda: ServerFull(retry_after=RETRY_AFTER),
            exceeded=lambda: TooManyStreams(retry_after=RETRY_AFTER),
        )
        self._draining = False

    def wait_for_job(
        self,
        job_id: str,
        until: WaitUntil,
        timeout: float,
        connection: DisconnectSource | None = None,
    ) -> Job:
        """Return the job once it meets ``until``.

        After ``timeout`` seconds, when the client of ``connection`` disconnects, or when the
        process stops, return the job as it is then. Raises ``JobNotFound`` and
        ``BackendUnavailable``.
        """
        store = self._connection(partition_of_job(job_id))
        long_poll = LongPoll(until)
        job = store.subscribe(job_id, long_poll)
        self._long_polls.add(long_poll)
        try:
            return long_poll.wait(job, 0 if self._draining else timeout, connection)
        finally:
            self._long_polls.discard(long_poll)
            store.unsubscribe(job_id, long_poll)

    def read_fields(self, job_id: str) -> Mapping[str, str]:
        """Return the job's fields. Raise ``JobNotFound`` and ``BackendUnavailable``."""
        return self._connection(partition_of_job(job_id)).read_fields(job_id)

    def read_version(self, job_id: str) -> list[str]:
        """Return the job's ``version`` and ``updated_at``, Nones if there is no such job.

        Raises ``BackendUnavailable``.
        """
        return self._connection(partition_of_job(job_id)).read_version(job_id)

    def run_script(self, key: str, digest: str, arguments: list[str]) -> list[Any] | None:
        """Run a script on the connection that all requests of the process share.

        Returns None if the job store rejected the script, which then has not run: its ordinary
        client knows what to do. Raises ``BackendUnavailable``.
        """
        connection = self._connection(partition_of_key(key))
        try:
            reply: list[Any] | None = connection.call("EVALSHA", digest, "1", key, *arguments)
        except ReplyError:
            return None
        return reply

    def open_stream(
        self, job_id: str, format_: StreamFormat, *, client: Client, last_version: int | None
    ) -> PendingStream:
        """Subscribe a new stream to the job; ``last_version``: what its client has already.

        Raises ``JobNotFound``, ``BackendUnavailable``, ``ServerFull`` and ``TooManyStreams``, and
        ``CredentialsError`` if the link to the archive cannot be signed.
        """
        connection = self._connection(partition_of_job(job_id))
        if self._draining:
            raise ServerFull(retry_after=RETRY_AFTER)
        self._limit.acquire(client)
        stream = Stream(job_id, format_, client, self._loop.request_flush)
        OPEN_STREAMS.labels(format_.value).inc()
        try:
            job = connection.subscribe(job_id, stream)
            if job.terminal and job.version == last_version:
                return PendingStream(self, stream, job, None)
            # Here, an error still becomes a response.
            return PendingStream(self, stream, job, self._opening(job, format_, last_version))
        except BaseException:
            self.release(stream)
            raise

    def _opening(self, job: Job, format_: StreamFormat, last_version: int | None) -> bytes:
        """Return the first messages of a stream: the job as it is."""
        name = "heartbeat" if job.version == last_version else "connected"
        snapshot = JobMessage(job, name, self._present)
        # With an ID, a client that loses the connection before the next message would reconnect
        # with the last version, get 204, and wait for the end forever.
        opening = snapshot.encode(format_, with_id=not job.terminal)
        if job.terminal:
            opening += JobMessage(job, event_name(job), self._present).encode(format_)
        return opening if format_ is StreamFormat.WEBSOCKET else sse.retry() + opening

    def start(self, stream: Stream, connection: _socket.socket, opening: bytes, job: Job) -> None:
        """Send ``opening``, then every change."""
        self._loop.add(stream, connection)
        stream.start(connection, opening, job.version, last=job.terminal)
        if self._draining:
            stream.end()

    def release(self, stream: Stream) -> None:
        """Unsubscribe a stream that has ended or was never started."""
        self._connection(partition_of_job(stream.job_id)).unsubscribe(stream.job_id, stream)
        self._limit.release(stream.client)
        OPEN_STREAMS.labels(stream.format.value).dec()

    def drain(self, duration: float) -> None:
        """End everything, spread over ``duration`` seconds: clients then reconnect one by one."""
        self._draining = True
        for long_poll in list(self._long_polls):
            long_poll.cancel()
        if not self._connections:
            return
        streams = self._loop.active_streams_shuffled()
        started, total = time.monotonic(), len(streams)
        while streams:
            gevent.sleep(DRAIN_STEP)
            elapsed = (time.monotonic() - started) / duration
            while streams and len(streams) > total * (1 - elapsed):
                streams.pop().end()
        with gevent.Timeout(FINAL_FLUSH_TIMEOUT, False):
            while self._loop.has_unsent_data:
                gevent.sleep(DRAIN_STEP)

    def _connection(self, partition: int) -> StoreConnection:
        if not self._connections:
            self._connect()
        return self._connections[partition % len(self._connections)]

    def _connect(self) -> None:
        loop = gevent.get_hub().loop
        self._loop = StreamLoop(loop, self.release)
        interval = self.limits.heartbeat_interval
        self._connections = [
            StoreConnection(
                subscription,
                Hub(subscription, self._present, heartbeat_interval=interval),
                self._loop,
                loop,
            )
            for subscription in self._subscriptions
        ]
        self._ticker = loop.timer(TICK_INTERVAL, TICK_INTERVAL)
        self._ticker.start(self._tick)

    def _tick(self) -> None:
        now = time.monotonic()
        self._loop.tick(now)
        for connection in self._connections:
            connection.tick(now)


class PendingStream:
    """A stream that is subscribed already but has no connection yet.

    Either ``start`` or ``abandon`` has to be called.
    """

    def __init__(self, live: LiveUpdates, stream: Stream, job: Job, opening: bytes | None) -> None:
        """``opening``: the first messages; None if the client has the final state already."""
        self.job = job
        self._live = live
        self._stream = stream
        self._opening = opening

    @property
    def nothing_to_send(self) -> bool:
        """Whether the job is finished and the client has its last state already."""
        return self._opening is None

    def start(self, connection: _socket.socket, head: bytes) -> None:
        """Send ``head``, the job as it is, and every change until it is finished."""
        self._live.start(self._stream, connection, head + (self._opening or b""), self.job)

    def abandon(self) -> None:
        """Unsubscribe: the client is gone."""
        self._live.release(self._stream)
