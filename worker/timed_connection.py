"""Connections with one deadline for everything: the DNS lookup, connecting and the exchange."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Final, Self

from urllib3.util.connection import create_connection

from common.time_limit import call_within

#: Addresses that are tried if a name has many.
MAX_ADDRESSES: Final = 4
#: DNS lookups that may hang at the same time.
_LOOKUPS: Final = threading.BoundedSemaphore(32)


class AddressRejected(OSError):
    """The name resolves to an address that is not allowed."""


class TimedConnection:
    """A connection to one server that is shut down when its timeout expires.

    The timeout of a socket starts again with every byte that arrives; this one does not. It starts
    when the ``with`` block begins.
    """

    def __init__(self, timeout: float, *, is_allowed: Callable[[str], bool] | None = None) -> None:
        """``timeout``: seconds. ``is_allowed`` gets a numeric address; None: all are allowed."""
        self._is_allowed = is_allowed
        self._deadline = time.monotonic() + timeout
        self._timer = threading.Timer(timeout, self._expire)
        self._timer.daemon = True
        self._duplicate: socket.socket | None = None
        self.expired = False

    def __enter__(self) -> Self:
        self._timer.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._timer.cancel()
        if self._duplicate is not None:
            self._duplicate.close()

    def connect(self, host: str, port: int, *, timeout: float | None = None) -> socket.socket:
        """Return a socket. Raise ``OSError``, or ``UnicodeError`` for a malformed name.

        ``timeout``: seconds for each address, and of the socket; None: those that remain.
        """
        addresses = _resolve(host, port, self._deadline - time.monotonic())
        # All of them: a name with both public and private addresses is an attempt to get in.
        if self._is_allowed and not all(self._is_allowed(address) for address in addresses):
            raise AddressRejected
        last_error: OSError = OSError("no address")
        for address in addresses[:MAX_ADDRESSES]:
            remaining = self._deadline - time.monotonic()
            if remaining <= 0:
                raise TimeoutError
            limit = remaining if timeout is None else min(timeout, remaining)
            try:
                sock = create_connection((address, port), timeout=limit)
            except OSError as error:
                last_error = error
            else:
                # TLS takes over the file descriptor of the socket; the duplicate stays valid.
                self._duplicate = sock.dup()
                if self.expired:
                    self._expire()
                return sock
        raise last_error

    def _expire(self) -> None:
        self.expired = True
        if self._duplicate is not None:
            with suppress(OSError):
                self._duplicate.shutdown(socket.SHUT_RDWR)


def _resolve(host: str, port: int, timeout: float) -> list[str]:
    """Return the addresses of a name. ``getaddrinfo`` itself has no timeout."""
    found = call_within(
        max(0.0, timeout),
        lambda _: socket.getaddrinfo(host, port, type=socket.SOCK_STREAM),
        _LOOKUPS,
    )
    return list(dict.fromkeys(str(info[4][0]) for info in found))
