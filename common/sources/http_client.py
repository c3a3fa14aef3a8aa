"""HTTP requests to a source: redirects within an allow-list, credentials for one host only."""

from __future__ import annotations

import http.client
import socket
import ssl
import string
import threading
import time
import weakref
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final, cast
from urllib.parse import quote, urljoin

from urllib3.exceptions import LocationParseError
from urllib3.util import parse_url
from urllib3.util.wait import wait_for_read

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
from common.http_connection import FinalResponse
from common.http_headers import parse_retry_after
from common.object_storage import Cancellation

MAX_REDIRECTS: Final = 5
CONNECT_TIMEOUT: Final = 3.0
#: Longest silence of a source, and longest time for the head of a response, seconds.
READ_TIMEOUT: Final = 15.0
#: Idle connections per host.
MAX_IDLE: Final = 32
#: Longest wait that a source may ask for, seconds.
MAX_RETRY_AFTER: Final = 300.0
#: The rest of a body that is read, so that the connection can be used again: bytes, and seconds.
MAX_DRAIN_BYTES: Final = 65_536
MAX_DRAIN_SECONDS: Final = 0.2

_DEFAULT_PORTS: Final = {"http": 80, "https": 443}
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
#: 203 is a 200 that a proxy transformed (RFC 9110, 15.3.4).
_SUCCESS: Final = frozenset({200, 203, 206})


@dataclass(frozen=True, slots=True)
class UrlOrigin:
    """Where a URL leads to; equal for all spellings of one scheme, host and port."""

    scheme: str
    host: str
    port: int

    @property
    def netloc(self) -> str:
        return self.host if self.port == _DEFAULT_PORTS[self.scheme] else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Url:
    """A URL that can be requested, normalized by RFC 3986, 6.2."""

    origin: UrlOrigin
    #: Path and query.
    target: str

    def __str__(self) -> str:
        return f"{self.origin.scheme}://{self.origin.netloc}{self.target}"

    @classmethod
    def parse(cls, text: str) -> Url:
        """Raise ValueError for anything but an HTTP URL without credentials."""
        try:
            url = parse_url(text)
        except LocationParseError as error:
            raise ValueError("The URL is malformed") from error
        if url.scheme not in _DEFAULT_PORTS or not url.host:
            raise ValueError("The URL is not an HTTP URL")
        if url.auth is not None:
            raise ValueError("The URL contains credentials")
        # A trailing dot is another spelling of the same name, which certificates do not list.
        host = url.host.removesuffix(".")
        port = url.port or _DEFAULT_PORTS[url.scheme]
        return cls(UrlOrigin(url.scheme, host, port), url.request_uri)


class HttpClient:
    """Sends requests to one origin and to the hosts that it may redirect to. Thread safe."""

    def __init__(
        self, *, origin: str, redirect_hosts: frozenset[str], authorization: str | None
    ) -> None:
        """Only ``origin``, scheme://host[:port], receives ``authorization``."""
        self._origin = Url.parse(origin).origin
        self._authorization = authorization
        self._allowed = {self._origin, *_redirect_targets(self._origin, redirect_hosts)}
        self._pool = _ConnectionPool()

    def close(self) -> None:
        """Close the idle connections."""
        self._pool.close()

    @contextmanager
    def get(
        self, url: str, headers: Mapping[str, str] | None = None, *, cancellation: Cancellation
    ) -> Iterator[SourceResponse]:
        """Send a GET, follow redirects, and yield the response with its body unread.

        Raise the error that stands for a status other than 200, 203 and 206, and NetworkError for
        any failure of the connection, also while the body is read inside the context.
        """
        location = Url.parse(url)
        for _ in range(MAX_REDIRECTS + 1):
            with self._exchange(location, headers or {}, cancellation) as response:
                if response.status not in _REDIRECTS:
                    if response.status not in _SUCCESS:
                        raise error_for(response)
                    yield response
                    return
                location = self._redirected(location, response)
        raise NetworkError("The source redirects in a loop")

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
            except (OSError, http.client.HTTPException, UnicodeError) as error:
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


class SourceResponse:
    """A response and its body, which is read once."""

    def __init__(self, message: FinalResponse, url: str) -> None:
        self._message = message
        self.status = message.status
        #: Where the response came from, after redirects.
        self.url = url
        #: By lower-case name; the values of repeated headers are joined, folded lines unfolded.
        self.headers: dict[str, str] = {}
        for name, value in message.headers.items():
            text = " ".join(value.split("\r\n")).strip()
            known = self.headers.get(name.lower())
            self.headers[name.lower()] = text if known is None else f"{known}, {text}"
        #: Bytes of the body that are still to come; None: until the server ends it.
        self._left = None if message.chunked else message.length
        self._at_end = self._left == 0
        self._failed = False

    @property
    def length(self) -> int | None:
        """The size of the body; None if only its end tells."""
        return None if self._message.chunked else self._left

    def read(self, limit: int) -> bytes:
        """Return at most ``limit`` bytes as they arrive; nothing at the end of the body.

        Raise NetworkError if the connection ends before the body does.
        """
        if self._at_end:
            return b""
        try:
            block = self._message.read1(limit if self._left is None else min(limit, self._left))
        except (OSError, http.client.HTTPException) as error:
            self._failed = True
            raise NetworkError("The connection to the source broke") from error
        if self._left is not None:
            self._left -= len(block)
        if not block and self._left:
            self._failed = True
            raise NetworkError("The source sent less than it announced")
        self._at_end = not block or self._left == 0
        return block

    def end(self) -> bool:
        """Read what is left of a short body; return whether the connection can be used again."""
        reusable = False
        if not self._failed and not self._message.will_close:
            reusable = self._drain()
        self._message.close()
        return reusable and not self.has_excess

    @property
    def has_excess(self) -> bool:
        """Whether the server sent more than the response; known once it was ended."""
        return self._message.has_excess

    def _drain(self) -> bool:
        self._message.socket.settimeout(MAX_DRAIN_SECONDS)
        deadline, allowed = time.monotonic() + MAX_DRAIN_SECONDS, MAX_DRAIN_BYTES
        try:
            while not self._at_end and allowed >= (self._left or 0) and time.monotonic() < deadline:
                allowed -= len(self.read(allowed + 1))
        except NetworkError:
            return False
        return self._at_end


class _Connection:
    """One connection, used for one request at a time."""

    def __init__(self, origin: UrlOrigin, tls: ssl.SSLContext) -> None:
        host = origin.host.strip("[]")
        if origin.scheme == "https":
            self._http: http.client.HTTPConnection = http.client.HTTPSConnection(
                host, origin.port, timeout=CONNECT_TIMEOUT, context=tls
            )
        else:
            self._http = http.client.HTTPConnection(host, origin.port, timeout=CONNECT_TIMEOUT)
        self._http.response_class = FinalResponse
        self._socket: socket.socket | None = None
        self.used = False

    def connect(self) -> None:
        if self._socket is None:
            self._http.connect()
            # `http.client` forgets it as soon as a response is the last one.
            self._socket = self._http.sock

    def send(self, target: str, headers: Mapping[str, str]) -> FinalResponse:
        """Send a GET and return the final response to it."""
        self.used = True
        self._http.sock.settimeout(READ_TIMEOUT)
        self._http.request("GET", target, headers=dict(headers))
        return cast("FinalResponse", self._http.getresponse())

    def is_idle(self) -> bool:
        """Return whether the server neither closed the connection nor sent anything unasked."""
        return self._socket is not None and not wait_for_read(self._socket, timeout=0)

    def interrupt(self) -> None:
        if self._socket is not None:
            try:
                self._socket.shutdown(socket.SHUT_RDWR)
            except OSError:
                return

    def close(self) -> None:
        self._http.close()


class _ConnectionPool:
    """Idle connections by origin. Thread safe."""

    def __init__(self) -> None:
        self._tls = ssl.create_default_context()
        self._lock = threading.Lock()
        self._idle: dict[UrlOrigin, list[_Connection]] = {}
        self._not_reused: set[UrlOrigin] = set()
        weakref.finalize(self, _close_all, self._idle)

    def take(self, origin: UrlOrigin) -> _Connection:
        """Return an idle connection, else one that is not connected yet."""
        while True:
            with self._lock:
                idle = self._idle.get(origin)
                connection = idle.pop() if idle else None
            if connection is None:
                return _Connection(origin, self._tls)
            if connection.is_idle():
                return connection
            connection.close()

    def give_back(self, origin: UrlOrigin, connection: _Connection) -> None:
        """Keep a connection whose last response ended."""
        with self._lock:
            idle = self._idle.setdefault(origin, [])
            if len(idle) < MAX_IDLE and origin not in self._not_reused:
                idle.append(connection)
                return
        connection.close()

    def stop_reuse(self, origin: UrlOrigin) -> None:
        """Use a new connection for each request to a server that sends more than responses.

        If such bytes arrive late, they look like the response to the next request.
        """
        with self._lock:
            self._not_reused.add(origin)
            idle = self._idle.pop(origin, [])
        for connection in idle:
            connection.close()

    def close(self) -> None:
        with self._lock:
            _close_all(self._idle)


def _close_all(connections: dict[UrlOrigin, list[_Connection]]) -> None:
    while connections:
        for connection in connections.popitem()[1]:
            connection.close()


def error_for(response: SourceResponse) -> DownloadError:
    """Return the error that a status other than success stands for."""
    wait = parse_retry_after(response.headers.get("retry-after"), time.time())
    retry_after = None if wait is None else min(wait, MAX_RETRY_AFTER)
    match response.status:
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
            return NetworkError(f"The source responded with the status {response.status}")


def _redirect_targets(origin: UrlOrigin, hosts: frozenset[str]) -> Iterator[UrlOrigin]:
    """Yield where redirects may lead to besides ``origin``: never from HTTPS to HTTP."""
    schemes = ("https",) if origin.scheme == "https" else ("http", "https")
    for scheme in schemes:
        for host in hosts:
            try:
                yield Url.parse(f"{scheme}://{host}").origin
            except ValueError:
                raise ValueError(f"{host!r} in SOURCE_REDIRECT_HOSTS is not a host") from None
    if origin.port == _DEFAULT_PORTS["http"]:
        yield UrlOrigin("https", origin.host, _DEFAULT_PORTS["https"])
