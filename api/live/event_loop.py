"""All open streams of a process, on gevent's event loop: no greenlet and no thread for any of them.

The loop tells when a client sends, hangs up or can be written to again; between those, a stream is
a few hundred bytes that nobody looks at.
"""

from __future__ import annotations

import random
import socket
import time
from collections import deque
from typing import TYPE_CHECKING, Any, Final

import structlog

from api.live.messages import Form
from api.live.streams import SEND_BUFFER, Stream
from api.live.websocket import PING_EVERY

if TYPE_CHECKING:
    import _socket
    from collections.abc import Callable

READ: Final = 1
WRITE: Final = 2
#: Streams written to before others get their turn on the loop.
BATCH: Final = 256
#: Seconds that a client has to hang up after the end, so that a reset cannot eat the last event.
LINGER: Final = 3.0
#: Seconds that a client may leave its buffers full.
STALLED: Final = 60.0

log = structlog.get_logger(__name__)


class StreamLoop:
    """Reads from, writes to and closes the sockets of streams."""

    def __init__(self, loop: Any, left: Callable[[Stream], None]) -> None:
        """``loop`` is gevent's; ``left`` is called once for each stream that is over."""
        self._loop = loop
        self._left = left
        self._open: set[Stream] = set()
        self._dirty: deque[Stream] = deque()
        #: Streams whose client has to read first: the loop's watcher, and until when they may.
        self._stalled: dict[Stream, tuple[Any, float]] = {}
        #: Ended streams whose client has not hung up yet: (deadline, stream).
        self._lingering: deque[tuple[float, Stream]] = deque()
        #: WebSockets to ping: (due time, stream).
        self._pings: deque[tuple[float, Stream]] = deque()
        self._corked = False
        self._scheduled = False

    def __len__(self) -> int:
        return len(self._open)

    @property
    def writing(self) -> bool:
        """Whether something is not yet written to somebody."""
        return bool(self._dirty or self._stalled)

    def admit(self, stream: Stream, connection: _socket.socket) -> None:
        """Make the socket fit for a stream and listen to it."""
        connection.setblocking(False)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
        if connection.family != socket.AF_UNIX:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._open.add(stream)
        stream.watch_read = watcher = self._loop.io(connection.fileno(), READ)
        watcher.start(self._readable, stream)
        if stream.form is Form.WEBSOCKET:
            self._pings.append((time.monotonic() + PING_EVERY, stream))

    def cork(self) -> None:
        """Several streams are about to have something to write; ``uncork`` writes it."""
        self._corked = True

    def uncork(self) -> None:
        """Write now. Coming back to it by the loop would cost a system call and more."""
        self._corked = False
        self._write_batch()

    def dirty(self, stream: Stream) -> None:
        """Something is to be written: it happens in this turn of the loop, for all together."""
        self._dirty.append(stream)
        if not self._corked:
            self._schedule()

    def tick(self, now: float) -> None:
        """Close those whose time is over, ping whose turn it is; ``now`` by the monotonic clock."""
        while self._lingering and self._lingering[0][0] <= now:
            self._close(self._lingering.popleft()[1])
        for stream in [s for s, (_, until) in self._stalled.items() if until <= now]:
            log.info("stream closed: its client does not read", job_id=stream.job_id)
            self._close(stream)
        while self._pings and self._pings[0][0] <= now:
            self._ping(self._pings.popleft()[1], now)

    def shuffled(self) -> list[Stream]:
        """All streams that are not over, in random order."""
        streams = [stream for stream in self._open if not stream.ended]
        random.shuffle(streams)
        return streams

    def _ping(self, stream: Stream, now: float) -> None:
        if stream in self._open:
            stream.ping()
            self._pings.append((now + PING_EVERY, stream))

    def _schedule(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            self._loop.run_callback(self._on_turn)

    def _on_turn(self) -> None:
        self._scheduled = False
        self._write_batch()

    def _write_batch(self) -> None:
        for _ in range(min(BATCH, len(self._dirty))):
            stream = self._dirty.popleft()
            if stream in self._open and stream not in self._stalled:
                self._write(stream)
        if self._dirty:
            self._schedule()

    def _write(self, stream: Stream) -> None:
        try:
            done = stream.flush()
            if done and stream.ended:
                self._hang_up(stream)
        except OSError:
            self._close(stream)
            return
        if not done:
            watcher = self._loop.io(stream.socket.fileno(), WRITE)
            self._stalled[stream] = (watcher, time.monotonic() + STALLED)
            watcher.start(self._writable, stream)

    def _writable(self, stream: Stream) -> None:
        self._resume(stream)
        self._write(stream)

    def _resume(self, stream: Stream) -> None:
        stalled = self._stalled.pop(stream, None)
        if stalled is not None:
            stalled[0].stop()
            stalled[0].close()

    def _readable(self, stream: Stream) -> None:
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

    def _hang_up(self, stream: Stream) -> None:
        """Everything is out: say so, and leave the client a moment to hang up as well."""
        stream.socket.shutdown(socket.SHUT_WR)
        self._lingering.append((time.monotonic() + LINGER, stream))

    def _close(self, stream: Stream) -> None:
        if stream not in self._open:
            return
        self._open.remove(stream)
        self._resume(stream)
        stream.watch_read.stop()
        stream.watch_read.close()
        stream.socket.close()
        stream.ended = True
        self._left(stream)
