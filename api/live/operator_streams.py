"""The operators' streams: the overview is read once a second for all of them, if there are any."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import gevent
import orjson
import structlog
from redis.exceptions import RedisError

from api.admin.overview import with_timestamp
from api.errors import ServerFull
from api.limits.concurrency_limit import Client
from api.live import sse
from api.live.event_loop import StreamLoop
from api.live.messages import StreamFormat
from api.live.streams import Stream
from api.metrics import OPEN_STREAMS
from common.job_store.errors import log_failure

if TYPE_CHECKING:
    import _socket
    from collections.abc import Callable

    from api.server.hijacking import OnHijack

#: Seconds between two reads of the overview.
READ_INTERVAL: Final = 1.0
#: Open streams per process.
MAX_STREAMS: Final = 50
#: Seconds after which a stream ends, so that the client has to be authorized again.
MAX_AGE: Final = 900.0
RETRY_AFTER: Final = 5.0
#: Operator streams have one limit for all, so their clients are not counted.
UNCOUNTED: Final = Client("", "")
#: The label of these streams in metrics.
METRIC_LABEL: Final = "operator"

log = structlog.get_logger(__name__)


class OperatorStream(Stream):
    """A stream of overviews: a newer one replaces one that is not sent yet."""

    __slots__ = ("expires_at",)

    def __init__(self, expires_at: float, request_flush: Callable[[Stream], None]) -> None:
        """``expires_at``: by the monotonic clock."""
        super().__init__("", StreamFormat.NAMED, UNCOUNTED, request_flush)
        self.expires_at = expires_at

    def send(self, event: bytes) -> None:
        if not self.ended:
            self._slot = event
            self._request_flush(self)


class OperatorStreams:
    """Sends the overview to operators whenever it changes. Runs on gevent's event loop."""

    def __init__(
        self, read_overview: Callable[[], dict[str, Any]], *, heartbeat_interval: float
    ) -> None:
        """``heartbeat_interval``: seconds after which an unchanged overview is sent again."""
        self._read_overview = read_overview
        self._heartbeat_interval = heartbeat_interval
        self._streams: set[OperatorStream] = set()
        self._loop: StreamLoop | None = None
        self._reader: Any = None
        self._event_count = 0
        self._closed = False

    def open_stream(self) -> OnHijack:
        """Return a function that starts a stream on a connection, beginning with the overview.

        Raises ``RedisError`` and ``ServerFull``.
        """
        if self._closed or len(self._streams) >= MAX_STREAMS:
            raise ServerFull(retry_after=RETRY_AFTER)
        return partial(self._start, sse.retry() + self._event(self._read_overview()))

    def close_all(self) -> None:
        """End all streams, and those that are opened later: the process is stopping."""
        self._closed = True
        for stream in self._streams:
            stream.end()

    def _start(self, opening: bytes, connection: _socket.socket, head: bytes) -> None:
        if self._loop is None:
            self._loop = StreamLoop(gevent.get_hub().loop, self._on_close)
        stream = OperatorStream(time.monotonic() + MAX_AGE, self._loop.request_flush)
        self._streams.add(stream)
        OPEN_STREAMS.labels(METRIC_LABEL).inc()
        self._loop.add(stream, connection)
        stream.start(connection, head + opening, 0, last=self._closed)
        if not self._reader:
            self._reader = gevent.spawn(self._read_and_send, self._loop)

    def _read_and_send(self, loop: StreamLoop) -> None:
        last_sent: dict[str, Any] = {}
        last_sent_at = 0.0
        while self._streams:
            gevent.sleep(READ_INTERVAL)
            now = time.monotonic()
            loop.tick(now)
            try:
                overview = self._read_overview()
            except RedisError as error:
                # Clients reconnect, and get a response that says what is wrong.
                log_failure(log, "the overview cannot be read; ending its streams", error)
                for stream in self._streams:
                    stream.end()
                continue
            if overview != last_sent or now - last_sent_at >= self._heartbeat_interval:
                last_sent, last_sent_at = overview, now
                self._send(self._event(overview))
            for stream in [stream for stream in self._streams if stream.expires_at <= now]:
                stream.end()

    def _send(self, event: bytes) -> None:
        for stream in self._streams:
            stream.send(event)

    def _event(self, overview: dict[str, Any]) -> bytes:
        self._event_count += 1
        data = orjson.dumps(with_timestamp(overview)).decode()
        return sse.message(data, event="overview", version=self._event_count)

    def _on_close(self, stream: Stream) -> None:
        if isinstance(stream, OperatorStream):
            self._streams.discard(stream)
            OPEN_STREAMS.labels(METRIC_LABEL).dec()
