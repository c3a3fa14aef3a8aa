"""HTTP/1.1 (RFC 9112): from WSGI responses to bytes."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterable
from email.utils import formatdate
from typing import TYPE_CHECKING, Any, Final, Protocol

import orjson

from common.errors import LonghaulError

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

    from api.server.raw_responses import RawResponse

#: Seconds that a client may take to read a response.
TIMEOUT: Final = 60.0

BAD_REQUEST: Final = "400 Bad Request"
REQUEST_TIMEOUT: Final = "408 Request Timeout"
CONTENT_TOO_LARGE: Final = "413 Content Too Large"
URI_TOO_LONG: Final = "414 URI Too Long"
HEAD_TOO_LARGE: Final = "431 Request Header Fields Too Large"
INTERNAL_SERVER_ERROR: Final = "500 Internal Server Error"
NOT_IMPLEMENTED: Final = "501 Not Implemented"

#: The interim response to a client that waits before it sends the body.
CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"

#: Statuses whose responses have no body (RFC 9110, 6.4.1).
BODILESS: Final = ("1", "204", "304")

#: Code and detail of the problem for a status, and for the other statuses.
_PROBLEMS: Final = {
    REQUEST_TIMEOUT: ("REQUEST_TIMEOUT", "The request did not arrive in time."),
    CONTENT_TOO_LARGE: ("BODY_TOO_LARGE", "The request body is too large."),
    URI_TOO_LONG: ("URI_TOO_LONG", "The URL is too long."),
    HEAD_TOO_LARGE: ("REQUEST_HEADER_FIELDS_TOO_LARGE", "A request header is too large."),
    INTERNAL_SERVER_ERROR: (LonghaulError.code, "An unexpected error occurred on the server."),
}
_MALFORMED_REQUEST: Final = (
    "MALFORMED_REQUEST",
    "The request is not valid HTTP, or not supported by this server.",
)


class ResponseSink(Protocol):
    """The client's connection: a ``ClientConnection``."""

    def send(self, data: bytes, timeout: float) -> float:
        """Send all of the data and return for how many seconds the client did not read."""


class ResponseWriter:
    """Writes the application's response to the client."""

    def __init__(
        self, connection: ResponseSink, environ: WSGIEnvironment, *, keep_alive: bool
    ) -> None:
        self._connection = connection
        #: Seconds that the client may still take to read the response.
        self._time_left = TIMEOUT
        self._environ = environ
        self.keep_alive = keep_alive
        self._status = ""
        self._headers: list[tuple[str, str]] = []

    def start_response(
        self,
        status: str,
        headers: list[tuple[str, str]],
        exc_info: Any = None,  # noqa: ARG002
    ) -> None:
        """Store status and headers (PEP 3333, without its deprecated ``write``)."""
        self._status = status
        self._headers = headers

    @property
    def is_head(self) -> bool:
        return bool(self._environ["REQUEST_METHOD"] == "HEAD")

    @property
    def _is_http10(self) -> bool:
        """Whether the client cannot read chunks and closes by default (RFC 9112, 9.3)."""
        return bool(self._environ["SERVER_PROTOCOL"] == "HTTP/1.0")

    def head_of_hijack(self) -> bytes:
        upgraded = self._status.startswith("101")
        more_lines = "" if upgraded else "Connection: close\r\n"
        return head(self._status, self._headers, more_lines)

    def send_raw(self, response: RawResponse) -> None:
        self._send(encode_raw(response, self._connection_line()))

    def send(self, body: Iterable[bytes]) -> None:
        """Send head and body: by length where it is known, else in chunks."""
        has_body = not (self.is_head or self._status.startswith(BODILESS))
        if not has_body:
            self._send(self._head())
        elif any(name.lower() == "content-length" for name, _ in self._headers):
            # Part by part: clients that do not read would otherwise fill the memory with files.
            parts = iter(body)
            self._send(self._head() + next(parts, b""))
            for part in parts:
                self._send(part)
        elif self._is_http10:
            self.keep_alive = False
            self._send(self._head())
            for part in body:
                self._send(part)
        else:
            self._send(self._head("Transfer-Encoding: chunked\r\n"))
            for part in filter(None, body):
                self._send(b"%x\r\n%b\r\n" % (len(part), part))
            self._send(b"0\r\n\r\n")

    def _send(self, data: bytes) -> None:
        self._time_left -= self._connection.send(data, self._time_left)

    def _head(self, more_lines: str = "") -> bytes:
        return head(self._status, self._headers, more_lines + self._connection_line())

    def _connection_line(self) -> str:
        if not self.keep_alive:
            return "Connection: close\r\n"
        return "Connection: keep-alive\r\n" if self._is_http10 else ""


def encode_raw(response: RawResponse, connection_line: str) -> bytes:
    """Return the response as bytes; ``connection_line``: a header line with its CR LF, or empty."""
    head = (
        f"HTTP/1.1 {response.status}\r\nDate: {_date()}\r\n"
        f"{response.header_lines}{connection_line}\r\n"
    )
    return head.encode("latin-1") + response.body


def head(status: str, headers: Iterable[tuple[str, str]], more_lines: str) -> bytes:
    """Return status line and headers; ``more_lines``: header lines, each with its CR LF.

    Raises ``ValueError`` for CR or LF in a header, which would let content forge headers.
    """
    lines = [f"HTTP/1.1 {status}", f"Date: {_date()}"]
    lines += [f"{name}: {value}" for name, value in headers]
    text = "\r\n".join(lines)
    if text.count("\n") != len(lines) - 1 or text.count("\r") != len(lines) - 1:
        raise ValueError("a header contains a line end")
    return f"{text}\r\n{more_lines}\r\n".encode("latin-1")


def error_response(status: str, *, is_head: bool = False) -> bytes:
    """Return the whole response to a request that never reached the application (RFC 9457).

    ``is_head``: to HEAD, whose response has no body (RFC 9110, 9.3.2).
    """
    request_id = str(uuid.uuid4())
    number, _, title = status.partition(" ")
    code, detail = _PROBLEMS.get(status, _MALFORMED_REQUEST)
    body = orjson.dumps(
        {
            "type": f"/docs/problems#{code}",
            "title": title,
            "status": int(number),
            "detail": detail,
            # The path is unknown.
            "instance": "/",
            "code": code,
            "retryable": False,
            "requestId": request_id,
        }
    )
    headers = {
        "Content-Type": "application/problem+json",
        "Content-Length": str(len(body)),
        "X-Request-ID": request_id,
        "X-Content-Type-Options": "nosniff",
        "Cache-Control": "no-store",
        "Connection": "close",
    }
    return head(status, headers.items(), "") + (b"" if is_head else body)


_clock = [0.0, ""]


def _date() -> str:
    now = int(time.time())
    if now != _clock[0]:
        _clock[:] = [now, formatdate(now, usegmt=True)]
    return str(_clock[1])
