"""One client's connection: a latest-wins slot of one, and what a slow reader left of a write."""

from __future__ import annotations

import socket
import struct
from typing import TYPE_CHECKING, Any, Final

from api.live import sse, websocket
from api.live.messages import Form, JobMessage

if TYPE_CHECKING:
    import _socket
    from collections.abc import Callable

#: Bytes of the kernel's send buffer: a slow client should not sit on minutes of old states.
SEND_BUFFER: Final = 16_384
#: A client is dead when this many attempts in a row to reach it were in vain, and for so long.
UNANSWERED: Final = 3
SILENCE_MS: Final = 10_000

# The first members of the kernel's tcp_info, see linux/tcp.h.
_TCP_INFO: Final = struct.Struct("=8B13I")
_RETRANSMITS, _PROBES, _LAST_ACK = 2, 3, 20


class Stream:
    """A watcher with a socket. It writes when ``flush`` is called, never by itself.

    Before ``start`` it has no socket yet and only remembers the newest event.
    """

    #: Set by ``start``.
    socket: _socket.socket
    #: The loop's watcher of the socket; the crowd's own.
    watch_read: Any

    __slots__ = (
        "_blocked",
        "_dirty",
        "_incoming",
        "_rest",
        "_slot",
        "_version",
        "ended",
        "form",
        "job_id",
        "place",
        "socket",
        "user",
        "watch_read",
    )

    def __init__(self, job_id: str, form: Form, user: str, dirty: Callable[[Stream], None]) -> None:
        """``dirty`` is called whenever there is something to flush."""
        self.job_id = job_id
        self.form = form
        self.user = user
        self.place = 0
        #: Nothing further will be written once the rest is out.
        self.ended = False
        self._dirty = dirty
        self._incoming: websocket.Incoming | None = None
        self._slot: JobMessage | bytes | None = None
        self._rest = b""
        self._version = -1
        #: The client has to read before more can be written; the slot holds but the newest then.
        self._blocked = True

    def start(
        self, connection: _socket.socket, opening: bytes, version: int, *, last: bool
    ) -> None:
        """Take the socket; ``opening`` goes out first and tells the job as of ``version``.

        ``last``: the stream ends with it.
        """
        self.socket = connection
        self._rest = opening
        if last and self.form is Form.WEBSOCKET:
            self._rest += websocket.close(websocket.DONE)
        self._version = version
        if isinstance(self._slot, JobMessage) and self._slot.version <= version:
            self._slot = None
        self.ended = last
        self._dirty(self)

    def offer(self, event: JobMessage) -> None:
        held = self._slot
        newest = held.version if isinstance(held, JobMessage) else self._version
        if event.version <= newest or self.ended:
            return
        if isinstance(held, JobMessage) and not self._blocked and len(self._rest) < SEND_BUFFER:
            # Both came in the same turn of the loop: a client that keeps up gets both.
            self._take_slot(held)
        self._slot = event
        if self.started:
            self._dirty(self)

    def beat(self, event: JobMessage | None) -> None:
        if not self.started or self.ended:
            return
        if _vanished(self.socket):
            self.ended, self._rest, self._slot = True, b"", None
        elif not self.waiting and (event is not None or self.form is not Form.WEBSOCKET):
            self._slot = sse.COMMENT if event is None else event
        self._dirty(self)

    def gone(self) -> None:
        self.end()

    def ping(self) -> None:
        """Send a WebSocket's ping, unless the client has something to read anyway."""
        if not self.waiting and not self.ended:
            self._slot = websocket.ping()
            self._dirty(self)

    def end(self, code: int = websocket.RESTART) -> None:
        """End after what is being written and the newest state; ``code`` is for a WebSocket."""
        if self.ended or not self.started:
            return
        if isinstance(self._slot, JobMessage):
            self._take_slot(self._slot)
        if self.form is Form.WEBSOCKET and not self.ended:
            self._rest += websocket.close(code)
        self.ended = True
        self._dirty(self)

    @property
    def started(self) -> bool:
        return self._version >= 0

    @property
    def waiting(self) -> bool:
        """Whether something is not yet written."""
        return bool(self._rest) or self._slot is not None

    def flush(self) -> bool:
        """Write what is there; False when the client has to read first. Raises ``OSError``."""
        while self._rest or self._slot is not None:
            if not self._rest:
                slot, self._slot = self._slot, None
                if isinstance(slot, JobMessage):
                    self._take_slot(slot)
                else:
                    self._rest = slot or b""
            try:
                sent = self.socket.send(self._rest)
            except BlockingIOError:
                self._blocked = True
                return False
            self._rest = self._rest[sent:]
        self._blocked = False
        return True

    def receive(self, data: bytes) -> None:
        """The client has sent something: of use in a WebSocket only."""
        if self.form is not Form.WEBSOCKET or self.ended:
            return
        if self._incoming is None:
            self._incoming = websocket.Incoming()
        answer = self._incoming.feed(data)
        # Whoever does not read its answers gets none: what waits must not grow.
        if answer and (self._incoming.closed or len(self._rest) < SEND_BUFFER):
            self._rest += answer
        self.ended = self._incoming.closed
        self._dirty(self)

    def _take_slot(self, event: JobMessage) -> None:
        self._slot = None
        self._rest += event.bytes_for(self.form)
        self._version = event.version
        if event.terminal:
            self.ended = True
            if self.form is Form.WEBSOCKET:
                self._rest += websocket.close(websocket.DONE)


def _vanished(connection: _socket.socket) -> bool:
    """Whether what was sent, or a probe of a closed window, has gone unanswered for too long.

    Not TCP_USER_TIMEOUT, which also ends a client that is alive but slow to read.
    """
    if connection.family == socket.AF_UNIX:
        return False
    info = _TCP_INFO.unpack(
        connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO.size)
    )
    attempts = max(info[_RETRANSMITS], info[_PROBES])
    return bool(attempts >= UNANSWERED and info[_LAST_ACK] > SILENCE_MS)
