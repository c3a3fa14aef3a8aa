"""Posts to a URL whose addresses are resolved once, checked, and then connected to.

The name is resolved only here, so that the checked address is the one that is connected to (no DNS
rebinding), while the Host header, SNI and the certificate's name stay those of the URL.
Redirects are not followed.
"""

from __future__ import annotations

import http.client
import socket
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

from urllib3.connection import HTTPConnection
from urllib3.exceptions import ConnectTimeoutError, HTTPError, NewConnectionError

from common.http_connection import FinalHTTPConnection, FinalHTTPSConnection
from worker.timed_connection import AddressRejected, TimedConnection

#: Seconds for one post.
TIMEOUT: Final = 15.0


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
        timeout: float = TIMEOUT,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """``is_allowed`` gets a numeric address. ``timeout``: seconds for all steps together."""
        self._is_allowed = is_allowed
        self._timeout = timeout
        self._tls = tls or ssl.create_default_context()

    def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> WebhookResponse:
        """Send the body. The body of the response is not read."""
        parts = urlsplit(url)
        # Always with a port: without one, http.client takes the end of an IPv6 address for it.
        port = parts.port or (443 if parts.scheme == "https" else 80)
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        with TimedConnection(self._timeout, is_allowed=self._is_allowed) as timed:
            connection = self._connection(parts.scheme, parts.hostname or "", port, timed)
            try:
                connection.request("POST", target, body=body, headers=headers)
                response = connection.getresponse()
                if timed.expired:  # Truncated headers would pass for complete ones.
                    return WebhookResponse(error="timeout")
                return WebhookResponse(
                    status=response.status,
                    retry_after=response.headers.get("retry-after"),
                    headers=dict(response.headers.items()),
                )
            except (HTTPError, http.client.HTTPException, OSError, ValueError) as error:
                return WebhookResponse(error="timeout" if timed.expired else _error_code(error))
            finally:
                connection.close()

    def _connection(
        self, scheme: str, host: str, port: int, timed: TimedConnection
    ) -> HTTPConnection:
        if scheme == "https":
            return _Https(host, port, timeout=self._timeout, timed=timed, ssl_context=self._tls)
        return _Http(host, port, timeout=self._timeout, timed=timed)


class _Http(FinalHTTPConnection):
    def __init__(
        self, host: str, port: int | None, *, timed: TimedConnection, timeout: float
    ) -> None:
        super().__init__(host, port, timeout=timeout)
        self._timed = timed

    def _new_conn(self) -> socket.socket:
        return self._timed.connect(self._dns_host, self.port)


class _Https(FinalHTTPSConnection):
    def __init__(
        self, host: str, port: int | None, *, timed: TimedConnection, **options: Any
    ) -> None:
        super().__init__(host, port, **options)
        self._timed = timed

    def _new_conn(self) -> socket.socket:
        return self._timed.connect(self._dns_host, self.port)


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
