"""Answers as HTTP/1.1 frames them, RFC 9112."""

from __future__ import annotations

import socket
from collections.abc import Callable
from io import BufferedReader

from common.errors import NetworkError

MAX_LINE = 65_536
MAX_HEADERS = 200
MAX_BODY = 64 * 1024 * 1024


class Response:
    """Status and headers of an answer, and its body as a stream that is read once."""

    def __init__(
        self,
        reader: BufferedReader[socket.SocketIO],
        method: str,
        release: Callable[[bool], None],
    ) -> None:
        """``release`` is told, at the end, whether the connection can be used again."""
        self._reader = reader
        self._release = release
        self.status, self.headers = _read_head(self._reader)
        while 100 <= self.status < 200:
            self.status, self.headers = _read_head(self._reader)
        self._chunked = self.headers.get("transfer-encoding", "").lower() == "chunked"
        self._keep = self.headers.get("connection", "").lower() != "close"
        #: Bytes that are still to come of the body, or of the current chunk; None: until the end.
        self._left: int | None = 0
        if method == "HEAD" or self.status in (204, 304):
            self._chunked = False
        elif self._chunked:
            self._left = 0
        elif "content-length" in self.headers:
            self._left = _number(self.headers["content-length"], 10)
        else:
            self._left, self._keep = None, False
        self._done = not self._chunked and self._left == 0

    def readinto(self, view: memoryview) -> int:
        """Fill ``view`` as far as one read gives; 0 at the end of the body."""
        if self._done or not view:
            return 0
        if self._chunked and self._left == 0 and not self._next_chunk():
            return 0
        if self._left is not None:
            view = view[: self._left]
        count = self._reader.readinto1(view)
        if self._left is None:
            self._done = count == 0
            return count
        if count == 0:
            raise NetworkError("The connection to the storage ended within an answer")
        self._left -= count
        if self._left == 0:
            if self._chunked:
                self._reader.readline(MAX_LINE)
            else:
                self._done = True
        return count

    def read_all(self) -> bytes:
        """The whole body, which may have 64 MiB; for documents, not for files."""
        body, block = bytearray(), memoryview(bytearray(65_536))
        while count := self.readinto(block):
            body += block[:count]
            if len(body) > MAX_BODY:
                raise NetworkError("The storage's answer is too large")
        return bytes(body)

    def close(self) -> None:
        """Give the connection back; it is closed if the body was not read to its end."""
        self._release(self._done and self._keep)

    def _next_chunk(self) -> bool:
        self._left = _number(self._reader.readline(MAX_LINE).split(b";")[0].decode("latin-1"), 16)
        if self._left:
            return True
        while self._reader.readline(MAX_LINE) not in (b"\r\n", b"\n", b""):
            pass
        self._done = True
        return False


class ClosedEarly(NetworkError):
    """The server closed the connection before it answered."""


def _read_head(reader: BufferedReader[socket.SocketIO]) -> tuple[int, dict[str, str]]:
    line = reader.readline(MAX_LINE)
    if not line:
        raise ClosedEarly("The storage closed the connection")
    version, _, rest = line.partition(b" ")
    if not version.startswith(b"HTTP/1.") or not rest[:3].isdigit():
        raise NetworkError("The storage does not speak HTTP/1.1")
    lines = []
    while (line := reader.readline(MAX_LINE)) not in (b"\r\n", b"\n"):
        lines.append(line)
        if not line or len(lines) > MAX_HEADERS:
            raise NetworkError("The storage's answer cannot be read")
    headers: dict[str, str] = {}
    for text in b"".join(lines).decode("latin-1").splitlines():
        name, colon, value = text.partition(":")
        if not colon:
            raise NetworkError("The storage's answer cannot be read")
        headers[name.lower()] = value.strip()
    return int(rest[:3]), headers


def _number(text: str, base: int) -> int:
    try:
        return int(text, base)
    except ValueError:
        raise NetworkError("The storage's answer cannot be read") from None
