"""HTTP/1.1 (RFC 9112) between bytes and WSGI, by httptools, which is Node's parser llhttp.

Parsing here costs a tenth of what gunicorn's own parser takes, and that was half of every request.
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

from api.server.raw_responses import TAKEN

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

    from api.server.raw_responses import RawResponse

#: Bytes of request line and headers, as long as they are not complete; and number of headers.
MAX_HEAD: Final = 32_768
MAX_HEADERS: Final = 100
#: Bytes of a body that are read. Of a longer one the application sees the length and no byte, so
#: that it can refuse it in its own words.
MAX_BODY: Final = 1_048_576

BAD_REQUEST: Final = "400 Bad Request"
HEAD_TOO_LARGE: Final = "431 Request Header Fields Too Large"
FAILED: Final = "500 Internal Server Error"

#: Statuses whose answers have no body (RFC 9110, 6.4.1).
BODILESS: Final = ("1", "204", "304")


class ProtocolError(Exception):
    """The bytes are no request that may be served; the connection ends with this ``status``."""

    def __init__(self, status: str) -> None:
        super().__init__(status)
        self.status = status


class _Enough(Exception):
    """The rest of the body is not read."""


class Request:
    """One request as it comes in."""

    __slots__ = (
        "begun",
        "body",
        "cut_off",
        "environ",
        "expects",
        "fed",
        "headed",
        "keep_alive",
        "target",
        "upgrade",
    )

    def __init__(self, base: WSGIEnvironment) -> None:
        self.begun = False
        #: Bytes that came in since it began, and whether its head is complete.
        self.fed = 0
        self.headed = False
        self.target = b""
        self.environ = base.copy()
        self.body = bytearray()
        #: The client waits for "100 Continue" before it sends the body.
        self.expects = False
        self.keep_alive = False
        #: Bytes of it are still to come, which nobody reads.
        self.cut_off = False
        self.upgrade = False


class RequestParser:
    """Turns a connection's bytes into requests, pipelined ones too."""

    def __init__(self, base: WSGIEnvironment) -> None:
        """``base``: the variables that are the same for all requests of the connection."""
        self._base = base
        self._most = len(base) + MAX_HEADERS
        self._parser = HttpRequestParser(self)
        self._request = Request(base)
        self.ready: deque[Request] = deque()

    @property
    def begun(self) -> bool:
        """Whether a request has come in part."""
        return self._request.begun

    @property
    def waits(self) -> bool:
        """Whether the client wants to be told to go on with its body."""
        expects, self._request.expects = self._request.expects, False
        return expects

    def feed(self, data: bytes) -> None:
        """Take what has come in; raises ``Refused``."""
        self._request.fed += len(data)
        try:
            self._parser.feed_data(data)
        except HttpParserUpgrade:
            # What follows is no HTTP any more, or nothing that is served here.
            self.ready[-1].upgrade = True
        except HttpParserCallbackError as error:
            if not isinstance(error.__context__, _Enough):
                raise error.__context__ or error from None
        except HttpParserError:
            raise ProtocolError(BAD_REQUEST) from None
        if self._request.fed > MAX_HEAD and not self._request.headed:
            raise ProtocolError(HEAD_TOO_LARGE)

    # What follows is called by the parser.

    def on_message_begin(self) -> None:
        self._request.begun = True

    def on_url(self, url: bytes) -> None:
        self._request.target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        environ = self._request.environ
        if len(environ) > self._most:
            raise ProtocolError(HEAD_TOO_LARGE)
        key = _key(name)
        if key is None:
            return
        text = value.decode("latin-1")
        if key in environ:
            # Only lists may come in several fields (RFC 9110, 5.3), and no list is among these.
            if key in ("HTTP_HOST", "CONTENT_TYPE", "CONTENT_LENGTH"):
                raise ProtocolError(BAD_REQUEST)
            text = f"{environ[key]},{text}"
        environ[key] = text

    def on_headers_complete(self) -> None:
        self._request.headed = True
        environ = self._request.environ
        version = self._parser.get_http_version()
        if version == "1.1" and "HTTP_HOST" not in environ:
            raise ProtocolError(BAD_REQUEST)
        self._request.expects = environ.get("HTTP_EXPECT", "").lower() == "100-continue"
        environ["SERVER_PROTOCOL"] = f"HTTP/{version}"
        if int(environ.get("CONTENT_LENGTH", 0)) > MAX_BODY:
            self._cut_off()

    def on_body(self, data: bytes) -> None:
        body = self._request.body
        body += data
        if len(body) > MAX_BODY:
            self._cut_off()

    def on_message_complete(self) -> None:
        self._request.keep_alive = self._parser.should_keep_alive()
        self._complete()

    def _cut_off(self) -> None:
        request = self._request
        request.cut_off = True
        self._complete()
        request.environ["wsgi.input"] = io.BytesIO()
        raise _Enough

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
    """The WSGI variables (PEP 3333) that all requests of a connection share."""
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
        TAKEN: True,
    }
    return base


def prepared(answer: RawResponse, connection: str) -> bytes:
    """A prepared answer as bytes; ``connection``: a header line with its end, or nothing."""
    head = f"HTTP/1.1 {answer.status}\r\nDate: {_date()}\r\n{answer.lines}{connection}\r\n"
    return head.encode("latin-1") + answer.body


def head(status: str, headers: Iterable[tuple[str, str]], more: str) -> bytes:
    """Status line and headers; ``more``: header lines, each with its end. Raises ``ValueError`` for
    CR or LF in any of the others, which would let content become headers."""
    lines = [f"HTTP/1.1 {status}", f"Date: {_date()}"]
    lines += [f"{name}: {value}" for name, value in headers]
    text = "\r\n".join(lines)
    if text.count("\n") != len(lines) - 1 or text.count("\r") != len(lines) - 1:
        raise ValueError("a header holds a line end")
    return f"{text}\r\n{more}\r\n".encode("latin-1")


def refusal(status: str) -> bytes:
    """The whole answer to what is no request, as a problem (RFC 9457)."""
    request_id = str(uuid.uuid4())
    code, _, title = status.partition(" ")
    body = orjson.dumps(
        {
            "type": "/docs/problems#MALFORMED_REQUEST",
            "title": title,
            "status": int(code),
            "detail": "The bytes are no HTTP request that is served here.",
            # What was asked for is not known.
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
    """The WSGI variable of a header; None for a name that could pass for another one."""
    key = _keys.get(name)
    if key is None and b"_" not in name:
        key = name.decode("latin-1").upper().replace("-", "_")
        if key not in ("CONTENT_TYPE", "CONTENT_LENGTH"):
            key = f"HTTP_{key}"
        if len(_keys) < 1000:
            _keys[name] = key
    return key


#: Names of headers met so far, as they were written.
_keys: dict[bytes, str] = {}


def _origin_form(target: bytes) -> bytes:
    """Path and query of a request target, which may also be absolute (RFC 9112, 3.2)."""
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
