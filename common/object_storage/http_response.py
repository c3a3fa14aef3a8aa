"""Parses HTTP/1.1 responses (RFC 9112)."""

from __future__ import annotations

import re
import socket
from collections.abc import Callable
from contextlib import suppress
from functools import lru_cache

from common.errors import NetworkError

#: Bytes of a head, or of a line between chunks.
MAX_HEAD = 131_072
MAX_LINE = 65_536
#: Bytes that are received at once where lines are read; a head is shorter.
BLOCK_SIZE = 16_384
#: Interim (1xx) responses before the final one.
MAX_INTERIM_RESPONSES = 20
MAX_HEADERS = 200
MAX_BODY = 64 * 1024 * 1024

#: Lines end with CRLF, or with LF alone (RFC 9112, 2.2).
_LINE_END = re.compile(rb"\n")
_EMPTY_LINE = re.compile(rb"\n\r?\n")
_STATUS = re.compile(r"[0-9]{3}(?![0-9])")


class ConnectionClosed(NetworkError):
    """The server closed the connection before it sent a response."""


class SocketReader:
    """Reads lines from a socket, and content without another copy."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        #: Bytes that were received, and how many of them were read.
        self._received, self._position = b"", 0

    @property
    def is_empty(self) -> bool:
        """Whether everything that was received was read."""
        return self._position == len(self._received)

    def read_head(self) -> bytes:
        """Return the lines up to an empty one, which is left out.

        Raises ``ConnectionClosed`` if the stream ends before them, and ``NetworkError`` if it ends
        in the middle or if they are too long.
        """
        return self._read_up_to(_EMPTY_LINE, MAX_HEAD)

    def readline(self) -> bytes:
        """Return the next line without its end. Raises as ``read_head``."""
        return self._read_up_to(_LINE_END, MAX_LINE)

    def _read_up_to(self, end: re.Pattern[bytes], limit: int) -> bytes:
        while (found := end.search(self._received, self._position)) is None:
            unread = len(self._received) - self._position
            if unread > limit:
                raise NetworkError("The storage sent an invalid response")
            if not self.receive():
                kind = NetworkError if unread else ConnectionClosed
                raise kind("The storage closed the connection")
        content = self._received[self._position : found.start()].removesuffix(b"\r")
        self._position = found.end()
        return content

    def readinto(self, view: memoryview) -> int:
        """Read some bytes into ``view`` and return their number; 0 at the end of the stream."""
        if self.is_empty:
            return self._socket.recv_into(view)
        block = self._received[self._position : self._position + len(view)]
        view[: len(block)] = block
        self._position += len(block)
        return len(block)

    def receive(self) -> bool:
        """Wait for more bytes; return False at the end of the stream."""
        block = self._socket.recv(BLOCK_SIZE)
        self._received, self._position = self._received[self._position :] + block, 0
        return bool(block)


class Response:
    """The status, the headers and the body of a response; the body is a stream."""

    def __init__(self, reader: SocketReader, method: str, release: Callable[[bool], None]) -> None:
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
        count = self._reader.readinto(view)
        if self._remaining is None:
            self._done = count == 0
            return count
        if count == 0:
            raise NetworkError("The connection to the storage closed in the middle of a response")
        self._remaining -= count
        if self._remaining == 0:
            if self._chunked:
                self._reader.readline()
            else:
                self._done = True
        return count

    def read_all(self) -> bytes:
        """Return the whole body, at most 64 MiB: for documents, not for files."""
        if self._done:
            return b""
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
        size = self._reader.readline().partition(b";")[0]
        self._remaining = _parse_int(size.decode("latin-1"), 16)
        if self._remaining:
            return True
        # The content is complete, even without the last line.
        with suppress(ConnectionClosed):
            while self._reader.readline():
                pass
        self._done = True
        return False


def _read_final_head(reader: SocketReader) -> tuple[int, dict[str, str]]:
    """Read past the interim responses (RFC 9110, 15.2); return the final status and headers."""
    for _ in range(MAX_INTERIM_RESPONSES + 1):
        status, headers = _read_head(reader)
        if status >= 200:
            return status, headers
        if status == 101:
            break
    raise NetworkError("The storage sent interim responses instead of a final one")


def _read_head(reader: SocketReader) -> tuple[int, dict[str, str]]:
    # Text in UTF-8 contains bytes like 0x85, which str.splitlines() takes for line ends.
    status_line, *lines = reader.read_head().decode("latin-1").split("\n")
    version, _, rest = status_line.partition(" ")
    if not version.startswith("HTTP/1.") or not _STATUS.match(rest):
        raise NetworkError("The object storage did not respond with HTTP/1.1")
    if len(lines) > MAX_HEADERS:
        raise NetworkError("The storage sent an invalid response")
    return int(rest[:3]), dict(map(_parse_header, lines))


# Cached: most lines are the same in all responses of a server.
@lru_cache(maxsize=256)
def _parse_header(line: str) -> tuple[str, str]:
    name, colon, value = line.partition(":")
    if not colon:
        raise NetworkError("The storage sent an invalid response")
    return name.lower(), value.strip(" \t\r")


def _parse_int(text: str, base: int) -> int:
    try:
        return int(text, base)
    except ValueError:
        raise NetworkError("The storage sent an invalid response") from None
