"""All open streams of a process on gevent's event loop, without a greenlet or thread for each.

The loop reports when a client sends something, disconnects or can be written to again. In between,
a stream is a few hundred bytes that cost no time.
"""

from __future__ import annotations

import random
import socket
import time
from collections import deque
from typing import TYPE_CHECKING, Any, Final

import structlog

from api.live.messages import StreamFormat
from api.live.streams import SEND_BUFFER, Stream
from api.live.websocket import PING_INTERVAL

if TYPE_CHECKING:
    import _socket
    from collections.abc import Callable

READ: Final = 1
WRITE: Final = 2
#: Streams written to in a row before the loop serves others.
BATCH: Final = 256
#: Seconds that a client has to disconnect after the end, so that a reset cannot destroy the last
#: message on its way.
LINGER: Final = 3.0
#: Seconds that a client may leave its buffers full.
STALL_TIMEOUT: Final = 60.0

log = structlog.get_logger(__name__)


class StreamLoop:
    """Reads from, writes to and closes the sockets of streams."""

    def __init__(self, loop: Any, on_close: Callable[[Stream], None]) -> None:
        """``loop`` is gevent's; ``on_close`` is called once for each stream that is over."""
        self._loop = loop
        self._on_close = on_close
        self._open: set[Stream] = set()
        self._to_flush: deque[Stream] = deque()
        #: Streams whose client has to read first: the loop's watcher, and the deadline.
        self._stalled: dict[Stream, tuple[Any, float]] = {}
        #: Ended streams whose client has not disconnected yet: (deadline, stream).
        self._lingering: deque[tuple[float, Stream]] = deque()
        #: WebSockets to ping: (due time, stream).
        self._pings: deque[tuple[float, Stream]] = deque()
        self._batching = False
        self._scheduled = False

    def __len__(self) -> int:
        return len(self._open)

    @property
    def has_unsent_data(self) -> bool:
        return bool(self._to_flush or self._stalled)

    def add(self, stream: Stream, connection: _socket.socket) -> None:
        """Configure the socket for a stream and watch it."""
        connection.setblocking(False)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
        if connection.family != socket.AF_UNIX:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._open.add(stream)
        stream.read_watcher = watcher = self._loop.io(connection.fileno(), READ)
        watcher.start(self._on_readable, stream)
        if stream.format is StreamFormat.WEBSOCKET:
            self._pings.append((time.monotonic() + PING_INTERVAL, stream))

    def begin_batch(self) -> None:
        """Collect the streams to flush until ``end_batch``."""
        self._batching = True

    def end_batch(self) -> None:
        """Flush now: scheduling it in the loop would cost another system call."""
        self._batching = False
        self._flush_batch()

    def request_flush(self, stream: Stream) -> None:
        """Flush the stream in this iteration of the loop, together with others."""
        self._to_flush.append(stream)
        if not self._batching:
            self._schedule_flush()

    def tick(self, now: float) -> None:
        """Close streams whose time is over and send the pings that are due.

        ``now`` is the monotonic clock's time.
        """
        while self._lingering and self._lingering[0][0] <= now:
            self._close(self._lingering.popleft()[1])
        for stream in [s for s, (_, deadline) in self._stalled.items() if deadline <= now]:
            log.info("closed a stream whose client does not read", job_id=stream.job_id)
            self._close(stream)
        while self._pings and self._pings[0][0] <= now:
            self._ping(self._pings.popleft()[1], now)

    def active_streams_shuffled(self) -> list[Stream]:
        """Return all streams that have not ended, in random order."""
        streams = [stream for stream in self._open if not stream.ended]
        random.shuffle(streams)
        return streams

    def _ping(self, stream: Stream, now: float) -> None:
        if stream in self._open:
            stream.ping()
            self._pings.append((now + PING_INTERVAL, stream))

    def _schedule_flush(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            self._loop.run_callback(self._on_scheduled)

    def _on_scheduled(self) -> None:
        self._scheduled = False
        self._flush_batch()

    def _flush_batch(self) -> None:
        for _ in range(min(BATCH, len(self._to_flush))):
            stream = self._to_flush.popleft()
            if stream in self._open and stream not in self._stalled:
                self._flush(stream)
        if self._to_flush:
            self._schedule_flush()

    def _flush(self, stream: Stream) -> None:
        try:
            done = stream.flush()
            if done and stream.ended:
                self._shut_down(stream)
        except OSError:
            self._close(stream)
            return
        if not done:
            watcher = self._loop.io(stream.socket.fileno(), WRITE)
            self._stalled[stream] = (watcher, time.monotonic() + STALL_TIMEOUT)
            watcher.start(self._on_writable, stream)

    def _on_writable(self, stream: Stream) -> None:
        self._stop_write_watcher(stream)
        self._flush(stream)

    def _stop_write_watcher(self, stream: Stream) -> None:
        stalled = self._stalled.pop(stream, None)
        if stalled is not None:
            stalled[0].stop()
            stalled[0].close()

    def _on_readable(self, stream: Stream) -> None:
        try:
            data = stream.socket.recv(4096)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if data:
            stream.receive(data)
        else:
            self._close(stream)

    def _shut_down(self, stream: Stream) -> None:
        """Send the end of a stream whose data is all sent, and let the client disconnect first."""
        stream.socket.shutdown(socket.SHUT_WR)
        self._lingering.append((time.monotonic() + LINGER, stream))

    def _close(self, stream: Stream) -> None:
        if stream not in self._open:
            return
        self._open.remove(stream)
        self._stop_write_watcher(stream)
        stream.read_watcher.stop()
        stream.read_watcher.close()
        stream.socket.close()
        stream.ended = True
        self._on_close(stream)
