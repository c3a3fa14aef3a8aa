"""An answer whose connection leaves the web server and lives on in the crowd."""

from __future__ import annotations

import _socket
import socket
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Final

from flask import Response

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

#: Gets the socket and the bytes of the answer's head, which it has to write first.
Start = Callable[[_socket.socket, bytes], None]

CHUNK: Final = 65_536


class Hijack:
    """The body of such an answer.

    Our own worker calls ``take``. Under any other WSGI server the stream runs through a pair of
    sockets and the server copies it out: right, but with a thread or greenlet of the server each.
    """

    def __init__(self, start: Start, abandon: Callable[[], None]) -> None:
        """``abandon`` is called instead of ``start`` when nobody wants the stream any more."""
        self._start: Start | None = start
        self._abandon = abandon
        self._relay: socket.socket | None = None

    def take(self, connection: socket.socket, head: bytes) -> None:
        """Give away the connection: it is no longer the caller's, who need not close it."""
        family, kind, protocol = connection.family, connection.type, connection.proto
        # The plain C class: a stream must not carry the event loop's part of a patched socket. And
        # no copy of the file descriptor: closing only the original would leave it in the kernel's
        # list of what the loop listens to.
        self._begin(_socket.socket(family, kind, protocol, connection.detach()), head)

    def __iter__(self) -> Iterator[bytes]:
        ours, theirs = socket.socketpair()
        self._relay = ours
        with theirs:
            self.take(theirs, b"")
        while data := ours.recv(CHUNK):
            yield data

    def close(self) -> None:
        """WSGI's end of the answer."""
        if self._relay is not None:
            self._relay.close()
        if self._start is not None:
            self._start = None
            self._abandon()

    def _begin(self, connection: _socket.socket, head: bytes) -> None:
        start, self._start = self._start, None
        if start is not None:
            start(connection, head)


class HijackResponse(Response):
    """Flask's response around a ``Handover``, which reaches the WSGI server as it is."""

    # Flask sees an empty body, and would promise the client nothing but that.
    automatically_set_content_length = False

    def __init__(self, body: Hijack, status: int, headers: Mapping[str, str]) -> None:
        super().__init__(status=status, headers=headers)
        self._body = body

    def get_app_iter(self, environ: WSGIEnvironment) -> Hijack:  # noqa: ARG002
        """The body also where Flask expects none, as after 101."""
        return self._body
