"""A client's connection, with deadlines.

gevent's own sockets try to read, fail, and then wait, with a watcher and a timer that are started
and stopped each time: two system calls too many per request. Here one watcher lives as long as the
connection, and one timer a second checks the deadlines of all connections.
"""

from __future__ import annotations

import fcntl
import socket
import struct
import termios
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Final, cast

from gevent.hub import Waiter
from gunicorn.util import close_graceful

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

READ: Final = 1
CHUNK: Final = 16_384
#: Seconds: zero would be no timeout but a socket that does not block.
MIN_TIMEOUT: Final = 0.001
#: The state in the kernel's tcp_info while both sides may send, see net/tcp_states.h.
_TCP_ESTABLISHED: Final = 1
#: Bytes of a rejected request that are read, so that its client gets the response.
MAX_DRAINED: Final = 4 * 1024 * 1024
#: The key of the ``ClientConnection`` in the WSGI environment.
ENVIRON_KEY: Final = "longhaul.client_connection"


class ClientConnection:
    """A socket that one greenlet at a time reads from."""

    def __init__(self, client: socket.socket, loop: Any) -> None:
        """``loop`` is gevent's."""
        self.socket = client
        #: Whether it is between two requests.
        self.idle = False
        #: Whether a request was responded to.
        self.served = False
        #: Whether its socket belongs to somebody else now.
        self.hijacked = False
        #: Whether its client has disconnected while a request waited.
        self.disconnected = False
        #: When a greenlet began to wait for a request or the rest of one, or for its client to
        #: read; None if none waits.
        self.waiting_since: float | None = None
        self._watcher = loop.io(client.fileno(), READ)
        self._watching = False
        self._sending = False
        self._waiter: Any = None
        self._deadline = 0.0
        self._on_disconnect: Callable[[], None] | None = None

    def receive(self, deadline: float) -> bytes:
        """Return the next bytes, empty at the end of the stream.

        ``deadline`` by the monotonic clock, exact to about a second. Raises ``OSError``, of which
        ``TimeoutError`` is one.
        """
        while True:
            self._wait(deadline)
            try:
                # Not gevent's `recv`, which would wait by its own means.
                return bytes(self.socket._sock.recv(CHUNK))  # type: ignore[attr-defined]
            except BlockingIOError:
                continue

    @contextmanager
    def on_disconnect(self, callback: Callable[[], None]) -> Iterator[None]:
        """Call ``callback``, which must not block, if the client disconnects meanwhile."""
        self._on_disconnect = callback
        self._watch()
        try:
            yield
        finally:
            self._on_disconnect = None

    def check(self, now: float) -> None:
        """Raise ``TimeoutError`` in ``receive`` if its time is over; notice a disconnected client.

        Call this from the loop. ``now`` is the monotonic clock's time.
        """
        if self._waiter is not None and now > self._deadline:
            self._waiter.throw(TimeoutError())
        # A client that has pipelined another request is not watched.
        self._check_disconnect()

    def send(self, data: bytes, timeout: float) -> float:
        """Send all of the data and return for how many seconds its client did not read.

        Raises ``TimeoutError`` if that takes longer than ``timeout``, and ``OSError``.
        """
        try:
            # One call usually sends everything; gevent's sendall makes several.
            sent = self.socket._sock.send(data)  # type: ignore[attr-defined]
        except BlockingIOError:
            sent = 0
        if sent == len(data):
            return 0.0
        began = self.waiting_since = time.monotonic()
        self._sending = True
        self.socket.settimeout(max(timeout, MIN_TIMEOUT))
        try:
            self.socket.sendall(memoryview(data)[sent:])
        finally:
            self._sending = False
            self.waiting_since = None
        return time.monotonic() - began

    def end_waiting(self) -> None:
        """Let ``receive`` return what has arrived by now and then the end; let ``send`` fail."""
        self.waiting_since = None
        # A connection that was reset can't be shut down, and ends by itself.
        with suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR if self._sending else socket.SHUT_RD)

    def close(self) -> None:
        """Close the connection so that the client can read the last response.

        The kernel resets a connection that is closed before all of its bytes are read, and the
        client then loses what it has not read yet (RFC 9112, 9.6).
        """
        self.stop_watching()
        if not self.hijacked:
            # It still counts, and others may need its place.
            self.waiting_since = time.monotonic()
            close_graceful(self.socket, max_drain=MAX_DRAINED)

    def stop_watching(self) -> None:
        """Stop watching the socket; do this before it is closed or hijacked."""
        self._watcher.stop()
        self._watcher.close()

    def _wait(self, deadline: float) -> None:
        waiter = self._waiter = Waiter()
        self._deadline = deadline
        self._watch()
        try:
            waiter.get()
        finally:
            self._waiter = None

    def _watch(self) -> None:
        if not self._watching:
            self._watching = True
            self._watcher.start(self._on_readable)

    def _on_readable(self) -> None:
        if self._waiter is not None:
            self._waiter.switch(None)
            return
        # The client pipelines, in which case its bytes stay in the kernel until the response is
        # sent, or it has disconnected.
        self._watching = False
        self._watcher.stop()
        self._check_disconnect()

    def _check_disconnect(self) -> None:
        callback = self._on_disconnect
        if callback is not None and _is_disconnected(self.socket):
            self._on_disconnect = None
            self.disconnected = True
            callback()


def connection_of(environ: WSGIEnvironment) -> ClientConnection | None:
    """Return the connection of a request; None under another web server."""
    return cast("ClientConnection | None", environ.get(ENVIRON_KEY))


def _is_disconnected(client: socket.socket) -> bool:
    """Return whether the client has closed its side, also if unread bytes are before the end.

    A client that floods the connection while its request waits counts as gone too: once the
    kernel's buffers are full, its end could not arrive.
    """
    unread = struct.unpack("i", fcntl.ioctl(client.fileno(), termios.FIONREAD, b"\0\0\0\0"))[0]
    if unread > CHUNK:
        return True
    if client.family == socket.AF_UNIX:
        try:
            return not client._sock.recv(1, socket.MSG_PEEK)  # type: ignore[attr-defined]
        except BlockingIOError:
            return False
        except OSError:
            return True
    return client.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] != _TCP_ESTABLISHED
