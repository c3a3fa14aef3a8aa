"""HTTP requests to a source: redirects within an allow-list, credentials for one host only."""

from __future__ import annotations

import http.client
import string
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Final
from urllib.parse import quote, urljoin

from common.errors import (
    DownloadError,
    FileChanged,
    FileNotFound,
    InvalidFileId,
    NetworkError,
    SourceForbidden,
    SourceRateLimited,
    TemporaryUnavailable,
)
from common.http_headers import parse_retry_after
from common.object_storage import Cancellation
from common.sources.host_limits import NO_LIMITS, HostLimiter, HostLimits, OnWait
from common.sources.http_connections import (
    DEFAULT_PORTS,
    ConnectionPool,
    SourceResponse,
    Url,
    UrlOrigin,
)

MAX_REDIRECTS: Final = 5
#: Longest wait that a source may ask for, seconds.
MAX_RETRY_AFTER: Final = 300.0
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
#: 203 is a 200 that a proxy transformed (RFC 9110, 15.3.4).
_SUCCESS: Final = frozenset({200, 203, 206})


class ConnectionFailed(NetworkError):
    """The connection to a source failed, before the response or while its body was read."""


class HttpClient:
    """Sends requests to one origin and to the hosts that it may redirect to. Thread safe."""

    def __init__(
        self,
        *,
        origin: str,
        redirect_hosts: frozenset[str],
        authorization: str | None,
        limits: HostLimits = NO_LIMITS,
    ) -> None:
        """Only ``origin``, scheme://host[:port], receives ``authorization``."""
        self._limiter = HostLimiter(limits)
        self._origin = Url.parse(origin).origin
        self._authorization = authorization
        self._allowed = {self._origin, *_redirect_targets(self._origin, redirect_hosts)}
        self._pool = ConnectionPool()

    def close(self) -> None:
        """Close the idle connections."""
        self._pool.close()

    @contextmanager
    def get(
        self,
        url: str,
        headers: Mapping[str, str] | None = None,
        *,
        cancellation: Cancellation,
        on_wait: OnWait = lambda: None,
    ) -> Iterator[SourceResponse]:
        """Send a GET, follow redirects, and yield the response with its body unread.

        ``on_wait`` is called repeatedly while a limit for the host delays the request or the body.

        Raise the error that stands for a status other than 200, 203 and 206, ConnectionFailed if
        the connection fails, also while the body is read inside the context, and NetworkError for
        an invalid response.
        """
        location = Url.parse(url)
        for _ in range(MAX_REDIRECTS + 1):
            with (
                self._limiter.request(location.origin.host, cancellation, on_wait),
                self._exchange(location, headers or {}, cancellation) as response,
            ):
                response.limit_reads(
                    self._limiter.max_read,
                    partial(
                        self._limiter.count_bytes,
                        location.origin.host,
                        cancellation=cancellation,
                        on_wait=on_wait,
                    ),
                )
                if response.status not in _REDIRECTS:
                    if response.status not in _SUCCESS:
                        raise error_for(response)
                    yield response
                    return
                location = self._redirected(location, response)
        raise NetworkError(f"The source redirected more than {MAX_REDIRECTS} times")

    @contextmanager
    def _exchange(
        self, url: Url, headers: Mapping[str, str], cancellation: Cancellation
    ) -> Iterator[SourceResponse]:
        sent = {"accept-encoding": "identity", "user-agent": "Longhaul", **headers}
        if self._authorization and url.origin == self._origin:
            sent["authorization"] = self._authorization
        while True:
            connection = self._pool.take(url.origin)
            reused = connection.used
            response: SourceResponse | None = None
            try:
                connection.connect()
                with cancellation.interrupting(connection):
                    try:
                        response = SourceResponse(connection.send(url.target, sent), str(url))
                    except (http.client.RemoteDisconnected, ConnectionError):
                        if reused:
                            # The server closed the connection while it was idle.
                            continue
                        raise
                    yield response
                return
            except OSError as error:
                raise ConnectionFailed("The connection to the source failed") from error
            except (http.client.HTTPException, UnicodeError) as error:
                raise NetworkError("The connection to the source failed") from error
            finally:
                if response is not None and response.end():
                    self._pool.give_back(url.origin, connection)
                else:
                    connection.close()
                    if response is not None and response.has_excess:
                        self._pool.stop_reuse(url.origin)

    def _redirected(self, url: Url, response: SourceResponse) -> Url:
        target = response.headers.get("location")
        if not target:
            raise NetworkError("The source redirects without saying where to")
        try:
            # Header values are read as Latin-1: these are the bytes that the server sent.
            target = quote(target.encode("latin-1"), safe=string.punctuation)
            location = Url.parse(urljoin(str(url), target))
        except ValueError:
            location = None
        if location is None or location.origin not in self._allowed:
            raise SourceForbidden("The source redirects to a host that is not allowed")
        return location


def error_for(response: SourceResponse) -> DownloadError:
    """Return the error that a status other than success stands for; its message has the status."""
    wait = parse_retry_after(response.headers.get("retry-after"), time.time())
    error = _error_for(response.status, None if wait is None else min(wait, MAX_RETRY_AFTER))
    error.http_status = response.status
    error.args = (f"{error.message.removesuffix('.')} (HTTP {response.status})",)
    return error


def _error_for(status: int, retry_after: float | None) -> DownloadError:
    match status:
        case 400 | 422:
            return InvalidFileId("The source rejected the file ID")
        case 404 | 410:
            return FileNotFound()
        case 401 | 403 | 451:
            return SourceForbidden()
        case 409 | 412 | 416:
            return FileChanged()
        case 429:
            return SourceRateLimited(retry_after=retry_after)
        # 202: the source prepares the file, as archives on tape are.
        case 202 | 408 | 425 | 500 | 502 | 503 | 504:
            return TemporaryUnavailable(retry_after=retry_after)
        case _:
            return NetworkError("The source responded with an unexpected status")


def _redirect_targets(origin: UrlOrigin, hosts: frozenset[str]) -> Iterator[UrlOrigin]:
    """Yield where redirects may lead to besides ``origin``: never from HTTPS to HTTP."""
    schemes = ("https",) if origin.scheme == "https" else ("http", "https")
    for scheme in schemes:
        for host in hosts:
            try:
                yield Url.parse(f"{scheme}://{host}").origin
            except ValueError:
                raise ValueError(f"{host!r} in SOURCE_REDIRECT_HOSTS is not a host") from None
    if origin.port == DEFAULT_PORTS["http"]:
        yield UrlOrigin("https", origin.host, DEFAULT_PORTS["https"])
