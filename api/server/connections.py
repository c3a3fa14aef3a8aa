"""A client's connection as its greenlet sees it: wait for bytes, read them, and not for ever.

gevent's own sockets first try to read, fail, and then wait, with a watcher and a timer that are
started and stopped each time: two system calls too many for every request. Here one watcher listens
for as long as the connection lives, and deadlines are looked at once a second for all together.
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
    """The reading side of a socket, for one greenlet at a time."""

    def __init__(self, client: socket.socket, loop: Any) -> None:
        """``loop`` is gevent's."""
        self.socket = client
        #: Between two requests.
        self.idle = False
        self._watcher = loop.io(client.fileno(), READ)
        self._listening = False
        self._waiter: Any = None
        self._deadline = 0.0

    def receive(self, within: float) -> bytes:
        """What comes next, empty at the end; the deadline of ``within`` seconds is a rough one.

        Raises ``OSError``, and ``TimeoutError`` among these.
        """
        while True:
            self._wait(within)
            try:
                # Not gevent's: that would wait by itself.
                return bytes(self.socket._sock.recv(CHUNK))  # type: ignore[attr-defined]
            except BlockingIOError:
                continue

    def expire(self, now: float) -> None:
        """End the wait if its time is over, by the monotonic clock; to be called by the loop."""
        if self._waiter is not None and now > self._deadline:
            self._waiter.throw(TimeoutError())

    def release(self) -> None:
        """Listen no longer; has to come before the socket is closed or given away."""
        self._watcher.stop()
        self._watcher.close()

    def _wait(self, within: float) -> None:
        waiter = self._waiter = Waiter()
        self._deadline = time.monotonic() + within
        if not self._listening:
            self._listening = True
            self._watcher.start(self._readable)
        try:
            waiter.get()
        finally:
            self._waiter = None

    def _readable(self) -> None:
        if self._waiter is not None:
            self._waiter.switch(None)
        else:
            # A request is being answered: what comes meanwhile waits in the kernel.
            self._listening = False
            self._watcher.stop()
