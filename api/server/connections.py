"""The reading side of a client's connection, with deadlines.

gevent's own sockets try to read, fail, and then wait, with a watcher and a timer that are started
and stopped each time: two system calls too many per request. Here one watcher lives as long as the
connection, and one timer a second checks the deadlines of all connections.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

from gevent.hub import Waiter

if TYPE_CHECKING:
    import socket

READ: Final = 1
CHUNK: Final = 65_536


class ClientConnection:
    """A socket that one greenlet at a time reads from."""

    def __init__(self, client: socket.socket, loop: Any) -> None:
        """``loop`` is gevent's."""
        self.socket = client
        #: Whether it is between two requests.
        self.idle = False
        self._watcher = loop.io(client.fileno(), READ)
        self._watching = False
        self._waiter: Any = None
        self._deadline = 0.0

    def receive(self, timeout: float) -> bytes:
        """Return the next bytes, empty at the end of the stream.

        ``timeout`` in seconds, exact to about a second. Raises ``OSError``, of which
        ``TimeoutError`` is one.
        """
        while True:
            self._wait(timeout)
            try:
                # Not gevent's `recv`, which would wait by its own means.
                return bytes(self.socket._sock.recv(CHUNK))  # type: ignore[attr-defined]
            except BlockingIOError:
                continue

    def expire(self, now: float) -> None:
        """Raise ``TimeoutError`` in ``receive`` if its time is over; call this from the loop.

        ``now`` is the monotonic clock's time.
        """
        if self._waiter is not None and now > self._deadline:
            self._waiter.throw(TimeoutError())

    def stop_watching(self) -> None:
        """Stop watching the socket; do this before it is closed or hijacked."""
        self._watcher.stop()
        self._watcher.close()

    def _wait(self, timeout: float) -> None:
        waiter = self._waiter = Waiter()
        self._deadline = time.monotonic() + timeout
        if not self._watching:
            self._watching = True
            self._watcher.start(self._on_readable)
        try:
            waiter.get()
        finally:
            self._waiter = None

    def _on_readable(self) -> None:
        if self._waiter is not None:
            self._waiter.switch(None)
        else:
            # The client pipelines: its bytes stay in the kernel until the response is sent.
            self._watching = False
            self._watcher.stop()
