"""One POST to an address that was looked at first: resolved once, judged, then connected to.

The name is resolved here and nowhere else, so that what is judged is what is connected to, while
the Host header, SNI and the certificate's name stay those of the URL. No redirects are followed.
"""

from __future__ import annotations

import http.client
import socket
import ssl
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import ConnectTimeoutError, HTTPError, NewConnectionError
from urllib3.util.connection import create_connection

#: Of a name with many addresses so many are tried.
MOST_ADDRESSES: Final = 4


class AddressRefused(HTTPError):
    """The name stands for an address that is not public."""


@dataclass(frozen=True, kw_only=True)
class WebhookResponse:
    """What came of one POST; exactly one of ``status`` and ``error`` is given."""

    status: int | None = None
    #: The Retry-After header, as it was sent.
    retry_after: str | None = None
    #: One of ``common.job_store.webhook_deliveries.POST_ERRORS``.
    error: str | None = None


class Poster:
    """Posts to URLs that strangers gave."""

    def __init__(
        self,
        accepts: Callable[[str], bool],
        *,
        timeout: float = 15.0,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """``accepts`` judges a numeric address; ``timeout``: seconds for everything together."""
        self._accepts = accepts
        self._timeout = timeout
        self._tls = tls or ssl.create_default_context()

    def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> WebhookResponse:
        """Send the body; the answer's own body is not read."""
        parts = urlsplit(url)
        route = _Route(self._accepts, time.monotonic() + self._timeout)
        connection = self._connection(parts.scheme, parts.hostname or "", parts.port, route)
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        # A socket's timeout starts anew with every byte that trickles in; this one does not.
        clock = threading.Timer(self._timeout, route.cut)
        clock.daemon = True
        clock.start()
        try:
            connection.request("POST", target, body=body, headers=headers)
            response = connection.getresponse()
            if route.late:  # Headers that end in the middle would pass for complete ones.
                return WebhookResponse(error="timeout")
            return WebhookResponse(
                status=response.status, retry_after=response.headers.get("retry-after")
            )
        except (HTTPError, http.client.HTTPException, OSError, ValueError) as error:
            return WebhookResponse(error="timeout" if route.late else _kind(error))
        finally:
            clock.cancel()
            connection.close()
            route.close()

    def _connection(
        self, scheme: str, host: str, port: int | None, route: _Route
    ) -> HTTPConnection:
        if scheme == "https":
            return _Https(host, port, timeout=self._timeout, route=route, ssl_context=self._tls)
        return _Http(host, port, timeout=self._timeout, route=route)


class _Route:
    """The way to one receiver, which can be cut from another thread."""

    def __init__(self, accepts: Callable[[str], bool], deadline: float) -> None:
        self._accepts = accepts
        self._deadline = deadline
        self._twin: socket.socket | None = None
        self.late = False

    def connect(self, host: str, port: int) -> socket.socket:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        addresses = list(dict.fromkeys(str(info[4][0]) for info in found))
        # All or nothing: a name that mixes public and private addresses is up to no good.
        if not all(self._accepts(address) for address in addresses):
            raise AddressRefused
        trouble: OSError = OSError("no address")
        for address in addresses[:MOST_ADDRESSES]:
            left = self._deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError
            try:
                sock = create_connection((address, port), timeout=left)
            except OSError as error:
                trouble = error
            else:
                # TLS takes the socket's descriptor over; the twin stays ours.
                self._twin = sock.dup()
                if self.late:
                    self.cut()
                return sock
        raise trouble

    def cut(self) -> None:
        self.late = True
        if self._twin is not None:
            try:
                self._twin.shutdown(socket.SHUT_RDWR)
            except OSError:
                return

    def close(self) -> None:
        if self._twin is not None:
            self._twin.close()


class _Http(HTTPConnection):
    def __init__(self, host: str, port: int | None, *, route: _Route, timeout: float) -> None:
        super().__init__(host, port, timeout=timeout)
        self._route = route

    def _new_conn(self) -> socket.socket:
        return self._route.connect(self._dns_host, self.port)


class _Https(HTTPSConnection):
    def __init__(self, host: str, port: int | None, *, route: _Route, **options: Any) -> None:
        super().__init__(host, port, **options)
        self._route = route

    def _new_conn(self) -> socket.socket:
        return self._route.connect(self._dns_host, self.port)


def _kind(error: Exception) -> str:
    match error:
        case AddressRefused():
            return "refused"
        case TimeoutError() | ConnectTimeoutError():
            return "timeout"
        case ssl.SSLError():
            return "tls"
        case NewConnectionError() | OSError():
            return "unreachable"
        case _:
            return "protocol"
