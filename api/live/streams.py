"""One client's stream: the newest message that is not sent yet, and the rest of a partial write."""

from __future__ import annotations

import socket
import struct
from typing import TYPE_CHECKING, Any, Final

import structlog

from api.limits.concurrency_limit import Client
from api.live import sse, websocket
from api.live.messages import JobMessage, StreamFormat

if TYPE_CHECKING:
    import _socket
    from collections.abc import Callable

#: Bytes of the kernel's send buffer: small, so that a slow client does not read minutes of old
#: states.
SEND_BUFFER: Final = 16_384
#: A client is unreachable after this many failed attempts in a row, and so long without an
#: acknowledgement.
MAX_UNACKNOWLEDGED: Final = 3
MAX_SILENCE_MS: Final = 10_000

# The first members of the kernel's tcp_info, see linux/tcp.h.
_TCP_INFO: Final = struct.Struct("=8B13I")
_RETRANSMITS, _PROBES, _LAST_ACK = 2, 3, 20

log = structlog.get_logger(__name__)


class Stream:
    """A subscriber with a socket. It writes when ``flush`` is called, never by itself.

    Before ``start`` it has no socket and only keeps the newest message.
    """

    #: Set by ``start``.
    socket: _socket.socket
    #: The event loop's watcher of the socket; only ``StreamLoop`` uses it.
    read_watcher: Any

    __slots__ = (
        "_blocked",
        "_frames",
        "_request_flush",
        "_slot",
        "_unsent",
        "_version",
        "client",
        "ended",
        "format",
        "job_id",
        "position",
        "read_watcher",
        "socket",
    )

    def __init__(
        self,
        job_id: str,
        format_: StreamFormat,
        client: Client,
        request_flush: Callable[[Stream], None],
    ) -> None:
        """``request_flush`` is called whenever there is something to flush."""
        self.job_id = job_id
        self.format = format_
        self.client = client
        self.position = 0
        #: Nothing follows once ``_unsent`` is sent.
        self.ended = False
        self._request_flush = request_flush
        self._frames: websocket.FrameParser | None = None
        #: The next message; a newer one replaces it while the client does not read.
        self._slot: JobMessage | bytes | None = None
        self._unsent = b""
        self._version = -1
        #: The client has to read before more can be written.
        self._blocked = True

    def start(
        self, connection: _socket.socket, opening: bytes, version: int, *, last: bool
    ) -> None:
        """Take the socket and send ``opening``, which contains the job as of ``version``.

        ``last``: the stream ends with it.
        """
        self.socket = connection
        self._unsent = opening
        if last and self.format is StreamFormat.WEBSOCKET:
            self._unsent += websocket.close(websocket.NORMAL_CLOSURE)
        self._version = version
        if isinstance(self._slot, JobMessage) and self._slot.version <= version:
            self._slot = None
        self.ended = last
        self._request_flush(self)

    def deliver(self, message: JobMessage) -> None:
        waiting = self._slot
        newest = waiting.version if isinstance(waiting, JobMessage) else self._version
        if self.ended or (message.version <= newest and not message.terminal):
            return
        if (
            isinstance(waiting, JobMessage)
            and not self._blocked
            and len(self._unsent) < SEND_BUFFER
        ):
            # Both came in the same iteration of the loop: a client that keeps up gets both.
            self._append(waiting)
        self._slot = message
        if self.started:
            self._request_flush(self)

    def heartbeat(self, message: JobMessage | None) -> None:
        if not self.started or self.ended:
            return
        if _is_unreachable(self.socket):
            self.ended, self._unsent, self._slot = True, b"", None
        elif not self.has_unsent_data and (
            message is not None or self.format is not StreamFormat.WEBSOCKET
        ):
            self._slot = sse.COMMENT if message is None else message
        self._request_flush(self)

    def job_deleted(self) -> None:
        self.end()

    def ping(self) -> None:
        """Send a WebSocket ping, unless there is other data for the client anyway."""
        if not self.has_unsent_data and not self.ended:
            self._slot = websocket.ping()
            self._request_flush(self)

    def end(self) -> None:
        """End after the current write and the newest state."""
        if self.ended or not self.started:
            return
        if isinstance(self._slot, JobMessage):
            self._append(self._slot)
        if not self.ended:
            self._close_for_reconnect()
        self._request_flush(self)

    @property
    def started(self) -> bool:
        return self._version >= 0

    @property
    def has_unsent_data(self) -> bool:
        return bool(self._unsent) or self._slot is not None

    def flush(self) -> bool:
        """Send what there is; return False when the client has to read first.

        Raises ``OSError``.
        """
        while self._unsent or self._slot is not None:
            if not self._unsent:
                slot, self._slot = self._slot, None
                if isinstance(slot, JobMessage):
                    self._append(slot)
                else:
                    self._unsent = slot or b""
            try:
                sent = self.socket.send(self._unsent)
            except BlockingIOError:
                self._blocked = True
                return False
            self._unsent = self._unsent[sent:]
        self._blocked = False
        return True

    def receive(self, data: bytes) -> None:
        """Handle what the client sent, which matters in a WebSocket only."""
        if self.format is not StreamFormat.WEBSOCKET or self.ended:
            return
        if self._frames is None:
            self._frames = websocket.FrameParser()
        reply = self._frames.feed(data)
        # A client that does not read its replies gets no more of them: memory must not grow.
        if reply and (self._frames.closed or len(self._unsent) < SEND_BUFFER):
            self._unsent += reply
        self.ended = self._frames.closed
        self._request_flush(self)

    def _close_for_reconnect(self) -> None:
        if self.format is StreamFormat.WEBSOCKET:
            self._unsent += websocket.close(websocket.SERVICE_RESTART)
        self.ended = True

    def _append(self, message: JobMessage) -> None:
        self._slot = None
        try:
            self._unsent += message.encode(self.format)
        except Exception:
            # The client reconnects, and gets an error as the response.
            log.exception("cannot render a job, closing its stream", job_id=self.job_id)
            self._close_for_reconnect()
            return
        self._version = message.version
        if message.terminal:
            self.ended = True
            if self.format is StreamFormat.WEBSOCKET:
                self._unsent += websocket.close(websocket.NORMAL_CLOSURE)


def _is_unreachable(connection: _socket.socket) -> bool:
    """Return whether data, or a probe of a closed window, has been unacknowledged for too long.

    Not TCP_USER_TIMEOUT, which also disconnects a client that is alive but reads slowly.
    """
    if connection.family == socket.AF_UNIX:
        return False
    info = _TCP_INFO.unpack(
        connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO.size)
    )
    attempts = max(info[_RETRANSMITS], info[_PROBES])
    return bool(attempts >= MAX_UNACKNOWLEDGED and info[_LAST_ACK] > MAX_SILENCE_MS)
