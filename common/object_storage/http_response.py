"""Parses HTTP/1.1 responses (RFC 9112)."""

from __future__ import annotations

import socket
from collections.abc import Callable
from io import BufferedReader

from common.errors import NetworkError

MAX_LINE = 65_536
#: Interim (1xx) responses before the final one.
MAX_INTERIM_RESPONSES = 20
MAX_HEADERS = 200
MAX_BODY = 64 * 1024 * 1024


class Response:
    """The status, the headers and the body of a response; the body is a stream."""

    def __init__(
        self,
        reader: BufferedReader[socket.SocketIO],
        method: str,
        release: Callable[[bool], None],
    ) -> None:
        """Read the head. ``close`` calls ``release`` with whether the connection can be reused."""
        self._reader = reader
        self._release = release
        self.status, self.headers = _read_final_head(self._reader)
        self._chunked = self.headers.get("transfer-encoding", "").lower() == "chunked"
        self._keep_alive = self.headers.get("connection", "").lower() != "close"
        #: Remaining bytes of the body or of the current chunk; None: until the connection closes.
        self._remaining: int | None = 0
        if method == "HEAD" or self.status in (204, 304):
            self._chunked = False
        elif self._chunked:
            self._remaining = 0
        elif "content-length" in self.headers:
            self._remaining = _parse_int(self.headers["content-length"], 10)
        else:
            self._remaining, self._keep_alive = None, False
        self._done = not self._chunked and self._remaining == 0

    def readinto(self, view: memoryview) -> int:
        """Read some bytes into ``view`` and return their number; 0 at the end of the body."""
        if self._done or not view:
            return 0
        if self._chunked and self._remaining == 0 and not self._next_chunk():
            return 0
        if self._remaining is not None:
            view = view[: self._remaining]
        count = self._reader.readinto1(view)
        if self._remaining is None:
            self._done = count == 0
            return count
        if count == 0:
            raise NetworkError("The connection to the storage closed in the middle of a response")
        self._remaining -= count
        if self._remaining == 0:
            if self._chunked:
                self._reader.readline(MAX_LINE)
            else:
                self._done = True
        return count

    def read_all(self) -> bytes:
        """Return the whole body, at most 64 MiB: for documents, not for files."""
        body, block = bytearray(), memoryview(bytearray(65_536))
        while count := self.readinto(block):
            body += block[:count]
            if len(body) > MAX_BODY:
                raise NetworkError("The storage's response is too large")
        return bytes(body)

    def close(self) -> None:
        """Release the connection. It is reused only if the whole body was read."""
        self._release(self._done and self._keep_alive)

    def _next_chunk(self) -> bool:
        self._remaining = _parse_int(
            self._reader.readline(MAX_LINE).split(b";")[0].decode("latin-1"), 16
        )
        if self._remaining:
            return True
        while self._reader.readline(MAX_LINE) not in (b"\r\n", b"\n", b""):
            pass
        self._done = True
        return False


class ConnectionClosed(NetworkError):
    """The server closed the connection before it sent a response."""


def _read_final_head(reader: BufferedReader[socket.SocketIO]) -> tuple[int, dict[str, str]]:
    """Read past the interim responses (RFC 9110, 15.2); return the final status and headers."""
    for _ in range(MAX_INTERIM_RESPONSES + 1):
        status, headers = _read_head(reader)
        if status >= 200:
            return status, headers
        if status == 101:
            break
    raise NetworkError("The storage sent interim responses instead of a final one")


def _read_head(reader: BufferedReader[socket.SocketIO]) -> tuple[int, dict[str, str]]:
    line = reader.readline(MAX_LINE)
    if not line:
        raise ConnectionClosed("The storage closed the connection")
    version, _, rest = line.partition(b" ")
    if not version.startswith(b"HTTP/1.") or not rest[:3].isdigit():
        raise NetworkError("The storage does not speak HTTP/1.1")
    lines = []
    while (line := reader.readline(MAX_LINE)) not in (b"\r\n", b"\n"):
        lines.append(line)
        if not line or len(lines) > MAX_HEADERS:
            raise NetworkError("The storage sent an invalid response")
    headers: dict[str, str] = {}
    # Lines end with CRLF and nothing else (RFC 9112, 2.2). Text in UTF-8 contains bytes like 0x85,
    # which str.splitlines() takes for line ends.
    for line in lines:
        name, colon, value = line.rstrip(b"\r\n").decode("latin-1").partition(":")
        if not colon:
            raise NetworkError("The storage sent an invalid response")
        headers[name.lower()] = value.strip(" \t")
    return int(rest[:3]), headers


def _parse_int(text: str, base: int) -> int:
    try:
        return int(text, base)
    except ValueError:
        raise NetworkError("The storage sent an invalid response") from None
