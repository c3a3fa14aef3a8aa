"""Responses that take the connection away from the web server, as ``http.Hijacker`` does in Go.

A live stream would otherwise occupy a greenlet for as long as it is open.
"""

from __future__ import annotations

import _socket
import socket
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Final

from flask import Response

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

#: Gets the socket, and the bytes of the response's head, which it has to write first.
OnHijack = Callable[[_socket.socket, bytes], None]

CHUNK: Final = 65_536


class Hijack:
    """The body of a response that takes the connection.

    The project's gunicorn worker calls ``take_connection``. Under any other WSGI server, the stream
    runs through a pair of sockets and the server copies its bytes to the client: this works, but
    costs a thread or greenlet per stream.
    """

    def __init__(self, on_hijack: OnHijack, abandon: Callable[[], None] | None = None) -> None:
        """``abandon`` is called if ``on_hijack`` fails, or if the client disconnects before it."""
        self._on_hijack: OnHijack | None = on_hijack
        self._abandon = abandon
        self._relay: socket.socket | None = None

    def take_connection(self, connection: socket.socket, head: bytes) -> None:
        """Take ownership of the connection; the server must not use or close it any more."""
        family, kind, protocol = connection.family, connection.type, connection.proto
        # The plain C class: a stream needs none of what gevent adds to a socket. And no duplicate
        # of the file descriptor: if only the original were closed, epoll would keep reporting it.
        self._hand_over(_socket.socket(family, kind, protocol, connection.detach()), head)

    def __iter__(self) -> Iterator[bytes]:
        ours, theirs = socket.socketpair()
        self._relay = ours
        with theirs:
            self.take_connection(theirs, b"")
        while data := ours.recv(CHUNK):
            yield data

    def close(self) -> None:
        """End the response, as WSGI servers do."""
        if self._relay is not None:
            self._relay.close()
        if self._on_hijack is not None:
            self._on_hijack = None
            if self._abandon is not None:
                self._abandon()

    def _hand_over(self, connection: _socket.socket, head: bytes) -> None:
        if self._on_hijack is None:
            return
        try:
            self._on_hijack(connection, head)
        except BaseException:
            connection.close()
            raise
        self._on_hijack = None


class StreamHead(Response):
    """Flask's response to HEAD for a stream, which has no length (RFC 9110, 8.6)."""

    automatically_set_content_length = False


class HijackResponse(Response):
    """Flask's response around a ``Hijack``, which reaches the WSGI server unchanged."""

    # Flask sees an empty body and would announce a length of zero.
    automatically_set_content_length = False

    def __init__(self, body: Hijack, status: int, headers: Mapping[str, str]) -> None:
        super().__init__(status=status, headers=headers)
        self._body = body

    def get_app_iter(self, environ: WSGIEnvironment) -> Hijack:  # noqa: ARG002
        """Return the body even where Flask sends none, as after status 101."""
        return self._body
