"""The operators' streams: one reading a second for all who look, and none while nobody does."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

import gevent
import orjson
import structlog
from redis.exceptions import RedisError

from api.live import sse
from api.live.errors import ServerFull
from api.live.event_loop import StreamLoop
from api.live.messages import Form
from api.live.streams import Stream
from api.metrics import OPEN_STREAMS
from api.overview import stamped

if TYPE_CHECKING:
    import _socket
    from collections.abc import Callable

#: Seconds between two readings.
EVERY: Final = 1.0
#: Operators that look at once, by each process.
MOST: Final = 50
#: Seconds of a stream; whoever comes back has to show again that they are an operator.
LIFETIME: Final = 900.0
RETRY_AFTER: Final = 5.0
#: How the figures name such streams.
FORM: Final = "operator"

log = structlog.get_logger(__name__)


class OperatorStream(Stream):
    """A stream of readings: the newest takes the place of one that is not yet written."""

    __slots__ = ("until",)

    def __init__(self, until: float, dirty: Callable[[Stream], None]) -> None:
        """``until`` by the monotonic clock."""
        super().__init__("", Form.NAMED, "", dirty)
        self.until = until

    def show(self, reading: bytes) -> None:
        if not self.ended:
            self._slot = reading
            self._dirty(self)


class OperatorStreams:
    """Reads what operators look at and shows it to them. Belongs to gevent's event loop."""

    def __init__(self, read: Callable[[], dict[str, Any]], *, heartbeat: float) -> None:
        """``heartbeat``: seconds after which a reading is sent although it is the same."""
        self._read = read
        self._heartbeat = heartbeat
        self._streams: set[OperatorStream] = set()
        self._crowd: StreamLoop | None = None
        self._reader: Any = None
        self._count = 0
        self._ended = False

    def opening(self) -> bytes:
        """What a new stream begins with. Raises ``RedisError`` and ``ServerFull``."""
        if self._ended or len(self._streams) >= MOST:
            raise ServerFull(retry_after=RETRY_AFTER)
        return sse.retry() + self._event(self._read())

    def admit(self, connection: _socket.socket, opening: bytes) -> None:
        """Write ``opening``, then every change."""
        if self._crowd is None:
            self._crowd = StreamLoop(gevent.get_hub().loop, self._left)
        stream = OperatorStream(time.monotonic() + LIFETIME, self._crowd.dirty)
        self._streams.add(stream)
        OPEN_STREAMS.labels(FORM).inc()
        self._crowd.admit(stream, connection)
        stream.start(connection, opening, 0, last=self._ended)
        if not self._reader:
            self._reader = gevent.spawn(self._follow, self._crowd)

    def end(self) -> None:
        """End every stream, now and from now on: the process stops."""
        self._ended = True
        for stream in self._streams:
            stream.end()

    def _follow(self, crowd: StreamLoop) -> None:
        shown: dict[str, Any] = {}
        shown_at = 0.0
        while self._streams:
            gevent.sleep(EVERY)
            now = time.monotonic()
            crowd.tick(now)
            try:
                reading = self._read()
            except RedisError as error:
                # Whoever asks again is told what is wrong.
                log.warning("nothing to show to operators", error=repr(error))
                for stream in self._streams:
                    stream.end()
                continue
            if reading != shown or now - shown_at >= self._heartbeat:
                shown, shown_at = reading, now
                self._show(self._event(reading))
            for stream in [stream for stream in self._streams if stream.until <= now]:
                stream.end()

    def _show(self, event: bytes) -> None:
        for stream in self._streams:
            stream.show(event)

    def _event(self, reading: dict[str, Any]) -> bytes:
        self._count += 1
        data = orjson.dumps(stamped(reading))
        return sse.message(data, event="overview", version=self._count)

    def _left(self, stream: Stream) -> None:
        if isinstance(stream, OperatorStream):
            self._streams.discard(stream)
            OPEN_STREAMS.labels(FORM).dec()
