"""Connections to a source, which are used again only after a response that ended cleanly."""

from __future__ import annotations

import http.client
import socket
import ssl
import threading
import time
import weakref
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, cast

from urllib3.exceptions import LocationParseError
from urllib3.util import parse_url
from urllib3.util.wait import wait_for_read

from common.errors import NetworkError
from common.http_connection import FinalResponse

CONNECT_TIMEOUT: Final = 3.0
#: Longest silence of a source, and longest time for the head of a response, seconds.
READ_TIMEOUT: Final = 15.0
#: Idle connections per host.
MAX_IDLE: Final = 32
#: The rest of a body that is read, so that the connection can be used again: bytes, and seconds.
MAX_DRAIN_BYTES: Final = 65_536
MAX_DRAIN_SECONDS: Final = 0.2


DEFAULT_PORTS: Final = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class UrlOrigin:
    """Where a URL leads to; equal for all spellings of one scheme, host and port."""

    scheme: str
    host: str
    port: int

    @property
    def netloc(self) -> str:
        return self.host if self.port == DEFAULT_PORTS[self.scheme] else f"{self.host}:{self.port}"


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
        if url.scheme not in DEFAULT_PORTS or not url.host:
            raise ValueError("The URL is not an HTTP URL")
        if url.auth is not None:
            raise ValueError("The URL contains credentials")
        # A trailing dot is another spelling of the same name, which certificates do not list.
        host = url.host.removesuffix(".")
        port = url.port or DEFAULT_PORTS[url.scheme]
        return cls(UrlOrigin(url.scheme, host, port), url.request_uri)


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
        self._max_read: Callable[[int], int] = lambda limit: limit
        self._on_read: Callable[[int], object] = lambda _: None

    def limit_reads(self, max_read: Callable[[int], int], on_read: Callable[[int], object]) -> None:
        """Call ``on_read`` with the size of each block, which is at most ``max_read(limit)``."""
        self._max_read, self._on_read = max_read, on_read

    @property
    def length(self) -> int | None:
        """The size of the body; None if only its end tells."""
        return None if self._message.chunked else self._left

    def read(self, limit: int) -> bytes:
        """Return at most ``limit`` bytes as they arrive; nothing at the end of the body.

        Raise NetworkError if the connection ends before the body does.
        """
        block = self._read(self._max_read(limit))
        self._on_read(len(block))
        return block

    def _read(self, limit: int) -> bytes:
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
                allowed -= len(self._read(allowed + 1))
        except NetworkError:
            return False
        return self._at_end


class SourceConnection:
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


class ConnectionPool:
    """Idle connections by origin. Thread safe."""

    def __init__(self) -> None:
        self._tls = ssl.create_default_context()
        self._lock = threading.Lock()
        self._idle: dict[UrlOrigin, list[SourceConnection]] = {}
        self._not_reused: set[UrlOrigin] = set()
        weakref.finalize(self, _close_all, self._idle)

    def take(self, origin: UrlOrigin) -> SourceConnection:
        """Return an idle connection, else one that is not connected yet."""
        while True:
            with self._lock:
                idle = self._idle.get(origin)
                connection = idle.pop() if idle else None
            if connection is None:
                return SourceConnection(origin, self._tls)
            if connection.is_idle():
                return connection
            connection.close()

    def give_back(self, origin: UrlOrigin, connection: SourceConnection) -> None:
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


def _close_all(connections: dict[UrlOrigin, list[SourceConnection]]) -> None:
    while connections:
        for connection in connections.popitem()[1]:
            connection.close()
