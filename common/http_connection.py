"""HTTP/1.1 responses from servers that this project does not control, RFC 9110 and RFC 9112.

``http.client``, and with it urllib3, skips the interim response 100 only. Any other one, such as
``103 Early Hints``, is returned as the final response, and the real response is then read by
the next user of the connection. ``FinalResponse`` reads past all of them. It also rejects
responses whose end cannot be determined safely, instead of guessing.
"""

from __future__ import annotations

import http.client
import io
import socket
import time
from contextlib import suppress
from email import errors as email_errors
from http import HTTPStatus
from typing import Any, Final, cast

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection

#: Interim responses before the final one; servers send one or two.
MAX_INTERIM_RESPONSES: Final = 20
#: Bytes of all status lines and header lines of one response.
MAX_HEAD_BYTES: Final = 262_144
_MAX_LINE: Final = 65_536
#: Digits of the largest Content-Length that is accepted.
_MAX_LENGTH_DIGITS: Final = 18
_BODILESS: Final = (HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED)
#: Header lines that the parser of the email package gives up on: it drops those that follow.
_DEFECTS: Final = (
    email_errors.MissingHeaderBodySeparatorDefect,
    email_errors.FirstHeaderLineIsContinuationDefect,
    email_errors.MisplacedEnvelopeHeaderDefect,
    email_errors.HeaderDefect,
)


class InvalidResponse(http.client.HTTPException):
    """The server's response violates HTTP in a way that makes its content unreliable."""


class FinalResponse(http.client.HTTPResponse):
    """The final response to a request, after any number of interim (1xx) responses.

    The socket's timeout limits the whole head of each response, not only the time between two
    reads, so that a server cannot hold a thread by sending its headers byte by byte.
    """

    def __init__(self, sock: socket.socket, *args: Any, **options: Any) -> None:
        super().__init__(sock, *args, **options)
        self.socket = sock
        self._is_head = options.get("method") == "HEAD"
        self._raw = _TimedReader(self.fp.detach(), sock)
        self.fp = self._lines = _LineReader(self._raw)
        #: Whether the server sent bytes that belong to no response; known once this is closed.
        self.has_excess = False

    def begin(self) -> None:
        self._raw.restart_time_limit()
        super().begin()
        self._raw.end_time_limit()
        self._check_header_lines()
        # `http.client` has set the length of a response that has no body.
        if self.status not in _BODILESS and not self._is_head:
            self._check_framing()

    def _read_status(self) -> tuple[str, int, str]:
        # `http.client` calls this for every status line.
        for _ in range(MAX_INTERIM_RESPONSES + 1):
            version, status, reason = super()._read_status()  # type: ignore[misc]
            if status >= HTTPStatus.OK:
                return version, status, reason
            if status == HTTPStatus.SWITCHING_PROTOCOLS:
                raise InvalidResponse("The server switched protocols without being asked to")
            http.client.parse_headers(self.fp)
            self._raw.restart_time_limit()
        raise InvalidResponse("The server sent too many interim responses")

    def _check_header_lines(self) -> None:
        defects = [defect for defect in self.headers.defects if isinstance(defect, _DEFECTS)]
        if defects:
            raise InvalidResponse(f"The response has malformed header lines: {defects[0]!r}")

    def _check_framing(self) -> None:
        """Determine the length of the body (RFC 9112, 6.3), and reject invalid framing."""
        codings = ", ".join(self.headers.get_all("transfer-encoding", []))
        lengths = ", ".join(self.headers.get_all("content-length", []))
        if codings:
            if codings.strip().lower() != "chunked":
                raise InvalidResponse(f"The transfer coding {codings!r} is not supported")
            if lengths or self.version < 11:
                self.will_close = True
        elif lengths:
            values = {value.strip() for value in lengths.split(",")}
            value = values.pop()
            valid = value.isascii() and value.isdecimal()
            # int() rejects thousands of digits.
            value = value.lstrip("0") or "0"
            if values or not valid or len(value) > _MAX_LENGTH_DIGITS:
                raise InvalidResponse(f"The response has the Content-Length {lengths[:100]!r}")
            self.length = int(value)

    def _read_next_chunk_size(self) -> int:
        # int() accepts signs, underscores and blanks: chunk sizes have none of them.
        line = io.BufferedReader.readline(self.fp, _MAX_LINE)
        size = line.partition(b";")[0].rstrip()
        if not line.endswith(b"\n") or not size or size.strip(b"0123456789abcdefABCDEF"):
            self._close_conn()
            raise InvalidResponse("The response has a malformed chunk")
        return int(size, 16)

    def _read_and_discard_trailer(self) -> None:
        # `http.client` reads trailers without a limit.
        self._lines.restart_limit()
        http.client.parse_headers(self.fp)

    def _close_conn(self) -> None:
        if self.fp is not None:
            self.has_excess = self._find_excess()
        super()._close_conn()  # type: ignore[misc]

    def _find_excess(self) -> bool:
        timeout, found = self.socket.gettimeout(), False
        with suppress(OSError, ValueError):
            self.socket.settimeout(0)
            found = bool(self.fp.peek(1))
        try:
            self.socket.settimeout(timeout)
        except OSError:
            # The socket is closed, and the connection must not be used again.
            return True
        return found


class _TimedReader(io.RawIOBase):
    """Reads from a socket, within a time limit while one is set."""

    def __init__(self, raw: io.RawIOBase, sock: socket.socket) -> None:
        self._wrapped = raw
        self._socket = sock
        self._timeout = sock.gettimeout()
        self._deadline: float | None = None

    def restart_time_limit(self) -> None:
        """Let all reads from now on together take the socket's timeout."""
        if self._timeout is not None:
            self._deadline = time.monotonic() + self._timeout

    def end_time_limit(self) -> None:
        self._deadline = None
        self._socket.settimeout(self._timeout)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        if self._deadline is not None:
            left = self._deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError("The server took too long to send the head of its response")
            self._socket.settimeout(left)
        return cast("int | None", self._wrapped.readinto(buffer))

    def close(self) -> None:
        if not self.closed:
            self._wrapped.close()
        super().close()


class _LineReader(io.BufferedReader):
    """Reads the lines of a head: bounded, and without bytes that parsers disagree on."""

    _left = MAX_HEAD_BYTES

    def restart_limit(self) -> None:
        self._left = MAX_HEAD_BYTES

    def readline(self, size: int | None = -1) -> bytes:
        line = super().readline(size)
        self._left -= len(line)
        if self._left < 0:
            raise InvalidResponse("The head of the response is too large")
        # RFC 9112, 2.2 and RFC 9110, 5.5: a bare CR or a NUL makes a line invalid.
        if b"\r" in line.removesuffix(b"\n").removesuffix(b"\r") or b"\0" in line:
            raise InvalidResponse("The response has control characters in its head")
        return line


class FinalHTTPConnection(HTTPConnection):
    """urllib3's connection, with ``FinalResponse``."""

    response_class = FinalResponse


class FinalHTTPSConnection(HTTPSConnection):
    """urllib3's TLS connection, with ``FinalResponse``."""

    response_class = FinalResponse


class _HTTPConnectionPool(urllib3.HTTPConnectionPool):
    ConnectionCls = FinalHTTPConnection


class _HTTPSConnectionPool(urllib3.HTTPSConnectionPool):
    ConnectionCls = FinalHTTPSConnection


def pool_manager(**options: Any) -> urllib3.PoolManager:
    """Return urllib3's pool manager, whose connections read past interim responses."""
    manager = urllib3.PoolManager(**options)
    manager.pool_classes_by_scheme = {"http": _HTTPConnectionPool, "https": _HTTPSConnectionPool}
    return manager
