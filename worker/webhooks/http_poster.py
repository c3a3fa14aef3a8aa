"""Posts to a URL whose addresses are resolved once, checked, and then connected to.

Only this module resolves the name, so that the checked address is the one that is connected to
(no DNS rebinding), while the Host header, SNI and the certificate's name stay those of the URL.
Redirects are not followed.
"""

from __future__ import annotations

import http.client
import socket
import ssl
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Any, Final
from urllib.parse import urlsplit

from urllib3.connection import HTTPConnection
from urllib3.exceptions import ConnectTimeoutError, HTTPError, NewConnectionError
from urllib3.util.connection import create_connection

from common.http_connection import FinalHTTPConnection, FinalHTTPSConnection

#: Addresses that are tried if a name has many.
MAX_ADDRESSES: Final = 4


class AddressRejected(HTTPError):
    """The name resolves to an address that is not allowed."""


@dataclass(frozen=True, kw_only=True)
class WebhookResponse:
    """The result of one POST. Exactly one of ``status`` and ``error`` is set."""

    status: int | None = None
    #: The Retry-After header, as it was sent.
    retry_after: str | None = None
    #: None without a response.
    headers: Mapping[str, str] | None = None
    #: One of ``common.job_store.deliveries.POST_ERRORS``.
    error: str | None = None


class WebhookPoster:
    """Posts to URLs that users chose. Thread safe."""

    def __init__(
        self,
        is_allowed: Callable[[str], bool],
        *,
        timeout: float = 15.0,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """``is_allowed`` gets a numeric address. ``timeout``: seconds for all steps together."""
        self._is_allowed = is_allowed
        self._timeout = timeout
        self._tls = tls or ssl.create_default_context()

    def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> WebhookResponse:
        """Send the body. The body of the response is not read."""
        parts = urlsplit(url)
        route = _Route(self._is_allowed, time.monotonic() + self._timeout)
        # Always with a port: without one, http.client takes the end of an IPv6 address for it.
        port = parts.port or (443 if parts.scheme == "https" else 80)
        connection = self._connection(parts.scheme, parts.hostname or "", port, route)
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        # The timeout of a socket starts again with every byte that arrives; this one does not.
        timer = threading.Timer(self._timeout, route.abort)
        timer.daemon = True
        timer.start()
        try:
            connection.request("POST", target, body=body, headers=headers)
            response = connection.getresponse()
            if route.aborted:  # Truncated headers would pass for complete ones.
                return WebhookResponse(error="timeout")
            return WebhookResponse(
                status=response.status,
                retry_after=response.headers.get("retry-after"),
                headers=dict(response.headers.items()),
            )
        except (HTTPError, http.client.HTTPException, OSError, ValueError) as error:
            return WebhookResponse(error="timeout" if route.aborted else _error_code(error))
        finally:
            timer.cancel()
            connection.close()
            route.close()

    def _connection(self, scheme: str, host: str, port: int, route: _Route) -> HTTPConnection:
        if scheme == "https":
            return _Https(host, port, timeout=self._timeout, route=route, ssl_context=self._tls)
        return _Http(host, port, timeout=self._timeout, route=route)


class _Route:
    """A connection to one receiver that can be aborted from another thread."""

    def __init__(self, is_allowed: Callable[[str], bool], deadline: float) -> None:
        self._is_allowed = is_allowed
        self._deadline = deadline
        self._duplicate: socket.socket | None = None
        self.aborted = False

    def connect(self, host: str, port: int) -> socket.socket:
        addresses = _resolve(host, port, self._deadline - time.monotonic())
        # All of them: a name with both public and private addresses is an attempt to get in.
        if not all(self._is_allowed(address) for address in addresses):
            raise AddressRejected
        last_error: OSError = OSError("no address")
        for address in addresses[:MAX_ADDRESSES]:
            remaining = self._deadline - time.monotonic()
            if remaining <= 0:
                raise TimeoutError
            try:
                sock = create_connection((address, port), timeout=remaining)
            except OSError as error:
                last_error = error
            else:
                # TLS takes over the file descriptor of the socket; the duplicate stays valid.
                self._duplicate = sock.dup()
                if self.aborted:
                    self.abort()
                return sock
        raise last_error

    def abort(self) -> None:
        self.aborted = True
        if self._duplicate is not None:
            try:
                self._duplicate.shutdown(socket.SHUT_RDWR)
            except OSError:
                return

    def close(self) -> None:
        if self._duplicate is not None:
            self._duplicate.close()


def _resolve(host: str, port: int, timeout: float) -> list[str]:
    """Return the addresses of a name. ``getaddrinfo`` itself has no timeout."""
    results: SimpleQueue[list[Any] | OSError | UnicodeError] = SimpleQueue()

    def look_up() -> None:
        try:
            results.put(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
        except (OSError, UnicodeError) as error:
            results.put(error)

    threading.Thread(target=look_up, name="webhook-dns", daemon=True).start()
    try:
        found = results.get(timeout=max(0.0, timeout))
    except Empty:
        raise TimeoutError from None
    if not isinstance(found, list):
        raise found
    return list(dict.fromkeys(str(info[4][0]) for info in found))


class _Http(FinalHTTPConnection):
    def __init__(self, host: str, port: int | None, *, route: _Route, timeout: float) -> None:
        super().__init__(host, port, timeout=timeout)
        self._route = route

    def _new_conn(self) -> socket.socket:
        return self._route.connect(self._dns_host, self.port)


class _Https(FinalHTTPSConnection):
    def __init__(self, host: str, port: int | None, *, route: _Route, **options: Any) -> None:
        super().__init__(host, port, **options)
        self._route = route

    def _new_conn(self) -> socket.socket:
        return self._route.connect(self._dns_host, self.port)


def _error_code(error: Exception) -> str:
    match error:
        case AddressRejected():
            return "refused"
        case TimeoutError() | ConnectTimeoutError():
            return "timeout"
        case ssl.SSLError():
            return "tls"
        case NewConnectionError() | OSError():
            return "unreachable"
        case _:
            return "protocol"
