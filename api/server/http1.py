"""HTTP/1.1 (RFC 9112): from bytes to WSGI requests and back, with httptools (Node's llhttp).

gunicorn's own parser takes ten times as long, which was half of the time of a request.
"""

from __future__ import annotations

import io
import sys
import time
import uuid
from collections import deque
from collections.abc import Iterable
from email.utils import formatdate
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote_to_bytes

import orjson
from httptools import HttpParserCallbackError, HttpParserError, HttpParserUpgrade, HttpRequestParser

from api.server.raw_responses import ENVIRON_KEY

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

    from api.server.raw_responses import RawResponse

#: Bytes of request line and headers together, and the number of headers.
MAX_HEAD: Final = 32_768
MAX_HEADERS: Final = 100
#: Bytes. Of a longer body the application sees the length but no byte, so that it can reject the
#: request with its own error.
MAX_BODY: Final = 1_048_576

BAD_REQUEST: Final = "400 Bad Request"
HEAD_TOO_LARGE: Final = "431 Request Header Fields Too Large"
INTERNAL_SERVER_ERROR: Final = "500 Internal Server Error"

#: Statuses whose responses have no body (RFC 9110, 6.4.1).
BODILESS: Final = ("1", "204", "304")


#: The detail of the problem.
MALFORMED_REQUEST: Final = "The request is not valid HTTP, or not supported by this server."


class ProtocolError(Exception):
    """The bytes are not a request that can be served; the connection ends with this ``status``."""

    def __init__(self, status: str) -> None:
        super().__init__(status)
        self.status = status


class _StopParsing(Exception):
    """The rest of the body is not read."""


class Request:
    """A request while it is being received."""

    __slots__ = (
        "body",
        "body_discarded",
        "bytes_received",
        "environ",
        "expects_continue",
        "head_complete",
        "keep_alive",
        "started",
        "target",
        "upgrade",
    )

    def __init__(self, base: WSGIEnvironment) -> None:
        self.started = False
        self.bytes_received = 0
        self.head_complete = False
        self.target = b""
        self.environ = base.copy()
        self.body = bytearray()
        #: The client waits for "100 Continue" before it sends the body.
        self.expects_continue = False
        self.keep_alive = False
        #: The body is too long, and the rest of it will not be read.
        self.body_discarded = False
        self.upgrade = False


class RequestParser:
    """Turns a connection's bytes into requests, pipelined ones too."""

    def __init__(self, base: WSGIEnvironment) -> None:
        """``base``: the variables that all requests of the connection share."""
        self._base = base
        self._max_variables = len(base) + MAX_HEADERS
        self._parser = HttpRequestParser(self)
        self._request = Request(base)
        self.ready: deque[Request] = deque()

    @property
    def in_request(self) -> bool:
        """Whether part of a request has arrived."""
        return self._request.started

    def take_expectation(self) -> bool:
        """Return, once per request, whether the client waits for "100 Continue"."""
        expects, self._request.expects_continue = self._request.expects_continue, False
        return expects

    def feed(self, data: bytes) -> None:
        """Parse the next bytes; complete requests are then ``ready``. Raises ``ProtocolError``."""
        self._request.bytes_received += len(data)
        try:
            self._parser.feed_data(data)
        except HttpParserUpgrade:
            # What follows is not HTTP any more, or a protocol that is not served here.
            self.ready[-1].upgrade = True
        except HttpParserCallbackError as error:
            if not isinstance(error.__context__, _StopParsing):
                raise error.__context__ or error from None
        except HttpParserError:
            raise ProtocolError(BAD_REQUEST) from None
        if self._request.bytes_received > MAX_HEAD and not self._request.head_complete:
            raise ProtocolError(HEAD_TOO_LARGE)

    # The parser calls the methods from here on.

    def on_message_begin(self) -> None:
        self._request.started = True

    def on_url(self, url: bytes) -> None:
        self._request.target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        environ = self._request.environ
        if len(environ) > self._max_variables:
            raise ProtocolError(HEAD_TOO_LARGE)
        key = _key(name)
        if key is None:
            return
        text = value.decode("latin-1")
        if key in environ:
            # Only lists may be sent as several fields (RFC 9110, 5.3); none of these is a list.
            if key in ("HTTP_HOST", "CONTENT_TYPE", "CONTENT_LENGTH"):
                raise ProtocolError(BAD_REQUEST)
            text = f"{environ[key]},{text}"
        environ[key] = text

    def on_headers_complete(self) -> None:
        self._request.head_complete = True
        environ = self._request.environ
        version = self._parser.get_http_version()
        if version == "1.1" and "HTTP_HOST" not in environ:
            raise ProtocolError(BAD_REQUEST)
        self._request.expects_continue = environ.get("HTTP_EXPECT", "").lower() == "100-continue"
        environ["SERVER_PROTOCOL"] = f"HTTP/{version}"
        if int(environ.get("CONTENT_LENGTH", 0)) > MAX_BODY:
            self._discard_body()

    def on_body(self, data: bytes) -> None:
        body = self._request.body
        body += data
        if len(body) > MAX_BODY:
            self._discard_body()

    def on_message_complete(self) -> None:
        self._request.keep_alive = self._parser.should_keep_alive()
        self._complete()

    def _discard_body(self) -> None:
        request = self._request
        request.body_discarded = True
        self._complete()
        request.environ["wsgi.input"] = io.BytesIO()
        raise _StopParsing

    def _complete(self) -> None:
        request, parser = self._request, self._parser
        path, _, query = _origin_form(request.target).partition(b"?")
        environ = request.environ
        if environ.pop("HTTP_TRANSFER_ENCODING", None) is not None:
            environ["CONTENT_LENGTH"] = str(len(request.body))
        environ["REQUEST_METHOD"] = parser.get_method().decode("latin-1")
        environ["PATH_INFO"] = (unquote_to_bytes(path) if b"%" in path else path).decode("latin-1")
        environ["QUERY_STRING"] = query.decode("latin-1")
        environ["wsgi.input"] = io.BytesIO(request.body)
        self.ready.append(request)
        self._request = Request(self._base)


def base_environ(client: tuple[str, int], server: tuple[str, int]) -> WSGIEnvironment:
    """Return the WSGI variables (PEP 3333) that all requests of a connection share."""
    base: dict[str, Any] = {
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
        "wsgi.input_terminated": True,
        "SCRIPT_NAME": "",
        "SERVER_NAME": server[0],
        "SERVER_PORT": str(server[1]),
        "REMOTE_ADDR": client[0],
        "REMOTE_PORT": str(client[1]),
        ENVIRON_KEY: True,
    }
    return base


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


def error_response(status: str) -> bytes:
    """Return the whole response to a malformed request, as a problem (RFC 9457)."""
    request_id = str(uuid.uuid4())
    code, _, title = status.partition(" ")
    body = orjson.dumps(
        {
            "type": "/docs/problems#MALFORMED_REQUEST",
            "title": title,
            "status": int(code),
            "detail": MALFORMED_REQUEST,
            # The path is unknown.
            "instance": "/",
            "code": "MALFORMED_REQUEST",
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
    return head(status, headers.items(), "") + body


def _key(name: bytes) -> str | None:
    """Return the WSGI variable of a header; None for a name that could be mistaken for another."""
    key = _keys.get(name)
    if key is None and b"_" not in name:
        key = name.decode("latin-1").upper().replace("-", "_")
        if key not in ("CONTENT_TYPE", "CONTENT_LENGTH"):
            key = f"HTTP_{key}"
        if len(_keys) < 1000:
            _keys[name] = key
    return key


#: WSGI variables by the header names seen so far, as they were written.
_keys: dict[bytes, str] = {}


def _origin_form(target: bytes) -> bytes:
    """Return path and query of a request target, which may be absolute (RFC 9112, 3.2)."""
    if target.startswith(b"/"):
        return target
    for scheme in (b"http://", b"https://"):
        if target.startswith(scheme):
            return b"/" + target[len(scheme) :].partition(b"/")[2]
    if target == b"*":
        return target
    raise ProtocolError(BAD_REQUEST)


_clock = [0.0, ""]


def _date() -> str:
    now = int(time.time())
    if now != _clock[0]:
        _clock[:] = [now, formatdate(now, usegmt=True)]
    return str(_clock[1])
