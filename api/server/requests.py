"""HTTP/1.1 (RFC 9112): from bytes to WSGI requests, with gunicorn_h1c (picohttpparser).

The binding frames messages; this module checks what it leaves to its caller: request targets, Host,
transfer codings, and limits. gunicorn's parser in Python takes ten times as long, which was half of
the time of a request.
"""

from __future__ import annotations

import io
import re
import string
import sys
from functools import lru_cache
from ipaddress import IPv6Address
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote_to_bytes

from gunicorn_h1c import H1CProtocol, LimitRequestHeaders, LimitRequestLine

from api.server import responses
from api.server.raw_responses import ENVIRON_KEY

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

#: Bytes of request line and headers together, of one line, and the number of headers. A line fits a
#: token of 8 KB. The same limits apply to trailers and to the lines between chunks.
MAX_HEAD: Final = 32_768
MAX_LINE: Final = 16_384
MAX_HEADERS: Final = 100
#: Bytes over the wire per byte of a body in chunks: one-byte chunks take six.
MAX_CHUNK_OVERHEAD: Final = 8
#: Bytes that the binding gets at a time. It moves the rest of its buffer after each chunk and
#: trailer, so a large buffer full of tiny chunks would take quadratic time.
SLICE: Final = 4_096

#: Methods that reach the application, which responds with 405 where it does not use them. Others
#: would be labels of metrics without a limit.
METHODS: Final = {
    method.encode(): method
    for method in ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "TRACE", "PATCH", "QUERY")
}

#: Of a method, or of an empty line before it (RFC 9112, 2.2).
_FIRST_BYTES: Final = frozenset(
    b"\r!#$%&'*+-.^_`|~" + string.ascii_letters.encode() + b"0123456789"
)
#: Some clients send one after a body; it begins no request (RFC 9112, 2.2).
_EMPTY_LINES: Final = (b"\r\n", b"\n")
_TARGET: Final = re.compile(rb"[!\"$-~]+\Z")
_ABSOLUTE: Final = re.compile(rb"(?i:https?)://([^/?]*)(.*)\Z")
_HOST: Final = re.compile(r"(?:([A-Za-z0-9._-]{1,255})|\[([0-9A-Fa-f:.]{2,45})\])(?::([0-9]*))?\Z")
#: Characters of a host with its port.
_MAX_HOST: Final = 270
#: Bytes of a header name whose WSGI variable is cached.
_MAX_CACHED_NAME: Final = 64


class ProtocolError(Exception):
    """The bytes are not a request that can be served; the connection ends with this ``status``."""

    def __init__(self, status: str) -> None:
        super().__init__(status)
        self.status = status


class _StopParsing(Exception):
    """The rest of the body is not read."""


class Request:
    """A request whose head has arrived."""

    __slots__ = ("body", "body_discarded", "chunked", "environ", "expects_continue", "keep_alive")

    def __init__(self, environ: WSGIEnvironment) -> None:
        self.environ = environ
        self.body = io.BytesIO()
        self.chunked = False
        #: The client waits for "100 Continue" before it sends the body.
        self.expects_continue = False
        self.keep_alive = False
        #: The body is too long, and the rest of it will not be read.
        self.body_discarded = False


class RequestParser:
    """Turns a connection's bytes into requests, one at a time.

    Feed it until ``complete``, respond to ``request``, then ``start_next``. The caller does not
    read on meanwhile, so a client that pipelines cannot fill the memory.
    """

    def __init__(self, base: WSGIEnvironment, *, max_body: int) -> None:
        """``base``: the variables that all requests of the connection share.

        ``max_body`` in bytes: of a longer body the application sees the length but no byte, so that
        it can reject the request with its own error.
        """
        self._base = base
        self._max_body = max_body
        self._protocol = self._new_protocol()
        self._bytes_received = 0
        #: The request whose head is complete.
        self._request: Request | None = None
        #: Whether part of a request has arrived.
        self.in_request = False
        self.complete = False

    @property
    def is_head(self) -> bool:
        """Whether the method is HEAD, if it is known already."""
        return bool(self._request is not None and self._protocol.method == b"HEAD")

    @property
    def request(self) -> Request:
        """The complete request."""
        if self._request is None:
            raise RuntimeError("no request is complete")
        return self._request

    def take_expectation(self) -> bool:
        """Return, once per request, whether the client waits for "100 Continue"."""
        request = self._request
        if request is None or self.complete or not request.expects_continue:
            return False
        request.expects_continue = False
        # A client that sends its body does not wait (RFC 9110, 10.1.1).
        return not request.body.tell()

    def feed(self, data: bytes) -> None:
        """Parse the next bytes. Raises ``ProtocolError``."""
        if not self.in_request:
            if data in _EMPTY_LINES:
                return
            self.in_request = True
            if data[0] not in _FIRST_BYTES:
                # TLS, for example: the end of a line may never come.
                raise ProtocolError(responses.BAD_REQUEST)
        try:
            if len(data) <= SLICE:
                self._feed_slice(data)
                return
            for start in range(0, len(data), SLICE):
                if self.complete:
                    self._protocol.feed(data[start:])
                    return
                self._feed_slice(data[start : start + SLICE])
        except _StopParsing:
            self._discard_body()
        except LimitRequestLine:
            raise ProtocolError(responses.URI_TOO_LONG) from None
        except LimitRequestHeaders:
            raise ProtocolError(responses.HEAD_TOO_LARGE) from None
        except ValueError:
            # The binding has two classes named ParseError and exports one of them.
            raise ProtocolError(responses.BAD_REQUEST) from None

    def start_next(self) -> None:
        """Begin with the next request, of which bytes may be here already. Raise as ``feed``."""
        rest = self._protocol.remaining()
        if self._bytes_received > SLICE or len(rest) > SLICE:
            # The buffer has grown, and would stay as large for as long as the connection is open.
            self._protocol = self._new_protocol()
        else:
            self._protocol.reset()
        self._bytes_received = 0
        self._request = None
        self.in_request = self.complete = False
        if rest:
            self.feed(rest)

    def close(self) -> None:
        """Release the memory now: the parser and its callbacks are a reference cycle."""
        self._protocol = None

    def _new_protocol(self) -> Any:
        return H1CProtocol(
            on_headers_complete=self._on_headers_complete,
            on_body=self._on_body,
            limit_request_line=MAX_LINE,
            limit_request_fields=MAX_HEADERS,
            limit_request_field_size=MAX_LINE,
            permit_unconventional_http_method=True,
            limit_remaining=0,
        )

    def _feed_slice(self, data: bytes) -> None:
        self._bytes_received += len(data)
        self._protocol.feed(data)
        if self._protocol.is_complete:
            self._complete()
        elif self._request is None:
            if self._bytes_received > MAX_HEAD:
                raise ProtocolError(responses.HEAD_TOO_LARGE)
        elif self._bytes_received > MAX_HEAD + MAX_CHUNK_OVERHEAD * self._max_body:
            raise ProtocolError(responses.CONTENT_TOO_LARGE)

    def _on_headers_complete(self) -> bool:
        """Return whether the body is skipped. The binding calls this."""
        protocol = self._protocol
        request = self._request = Request(self._base.copy())
        environ = request.environ
        for name, value in protocol.headers:
            key = _keys.get(name) or _key(name)
            if key is not None:
                text = value.decode("latin-1")
                # Only lists may be sent as several fields (RFC 9110, 5.3); the binding rejects
                # a second Host, Content-Type or Content-Length.
                environ[key] = f"{environ[key]},{text}" if key in environ else text
        is_http10 = protocol.http_version == (1, 0)
        environ["SERVER_PROTOCOL"] = "HTTP/1.0" if is_http10 else "HTTP/1.1"
        _set_target(environ, protocol.method, protocol.path)
        request.keep_alive = protocol.should_keep_alive and not _asks_to_close(environ)
        request.chunked = _is_chunked(environ, is_http10=is_http10)
        if "HTTP_UPGRADE" in environ:
            _select_upgrade(environ, is_http10=is_http10)
        if "HTTP_EXPECT" in environ:
            expected = environ["HTTP_EXPECT"].lower() == "100-continue"
            request.expects_continue = expected and not is_http10
        length = protocol.content_length
        if length is not None:
            # Without its leading zeros, of which there may be thousands (RFC 9110, 8.6).
            environ["CONTENT_LENGTH"] = str(length)
        request.body_discarded = (length or 0) > self._max_body
        return request.body_discarded

    def _on_body(self, data: bytes) -> None:
        """Store a part of the body. The binding calls this."""
        body = self.request.body
        body.write(data)
        if body.tell() > self._max_body:
            raise _StopParsing

    def _discard_body(self) -> None:
        self.request.body_discarded = True
        self._complete()

    def _complete(self) -> None:
        request = self.request
        environ, body = request.environ, request.body
        if request.chunked:
            environ["CONTENT_LENGTH"] = str(body.tell())
        if request.body_discarded:
            body = io.BytesIO()
            request.keep_alive = False
        body.seek(0)
        environ["wsgi.input"] = body
        self.complete = True


def _set_target(environ: WSGIEnvironment, method: bytes, target: bytes) -> None:
    """Set method, path, query and Host (RFC 9112, 3.2)."""
    host = environ.get("HTTP_HOST")
    if host is not None:
        environ["HTTP_HOST"] = _normalized_host(host)
    elif environ["SERVER_PROTOCOL"] == "HTTP/1.1":
        raise ProtocolError(responses.BAD_REQUEST)
    try:
        environ["REQUEST_METHOD"] = METHODS[method]
    except KeyError:
        raise ProtocolError(responses.NOT_IMPLEMENTED) from None
    if not _TARGET.match(target):
        raise ProtocolError(responses.BAD_REQUEST)
    if not target.startswith(b"/"):
        if target == b"*" and method == b"OPTIONS":
            # About the server as a whole (RFC 9110, 9.3.7); the root stands for it.
            target = b"/"
        elif absolute := _ABSOLUTE.match(target):
            # It takes precedence over Host (RFC 9112, 3.2.2).
            environ["HTTP_HOST"] = _normalized_host(absolute[1].decode("latin-1"))
            target = absolute[2] if absolute[2].startswith(b"/") else b"/" + absolute[2]
        else:
            raise ProtocolError(responses.BAD_REQUEST)
    path, _, query = target.partition(b"?")
    environ["PATH_INFO"] = (unquote_to_bytes(path) if b"%" in path else path).decode("latin-1")
    environ["QUERY_STRING"] = query.decode("latin-1")


def _normalized_host(host: str) -> str:
    """Return ``host`` as it is used in URLs. Raise ``ProtocolError`` if it is invalid."""
    if len(host) > _MAX_HOST:
        raise ProtocolError(responses.BAD_REQUEST)
    normalized = _parse_host(host)
    if normalized is None:
        raise ProtocolError(responses.BAD_REQUEST)
    return normalized


@lru_cache(maxsize=1024)
def _parse_host(host: str) -> str | None:
    """Return host and port without an empty port or leading zeros; None if it is invalid.

    Stricter than RFC 3986: a host is a DNS name, where underscores are accepted, or an address.
    """
    match = _HOST.match(host)
    if match is None:
        return None
    name, address, port = match.groups()
    if address is not None:
        try:
            IPv6Address(address)
        except ValueError:
            return None
        name = f"[{address}]"
    if not port:
        return str(name)
    number = int(port)
    return f"{name}:{number}" if 0 < number < 65_536 else None


def _asks_to_close(environ: WSGIEnvironment) -> bool:
    """Return whether one of several options is "close", which then wins (RFC 9112, 9.3 and 9.6).

    The binding looks at the last field alone.
    """
    options = environ.get("HTTP_CONNECTION", "")
    return "," in options and "close" in (each.strip() for each in options.lower().split(","))


def _is_chunked(environ: WSGIEnvironment, *, is_http10: bool) -> bool:
    """Return whether the body is in chunks. Raise ``ProtocolError`` for other transfer codings.

    A server that does not understand a coding responds with 501 (RFC 9112, 6.1). Without chunked as
    the last one, or in HTTP/1.0, the length of the body is unknown (RFC 9112, 6.1 and 6.3).
    """
    coding = environ.pop("HTTP_TRANSFER_ENCODING", None)
    if coding is None:
        return False
    codings = [each.strip() for each in coding.lower().split(",")]
    if is_http10 or codings[-1] != "chunked" or codings.count("chunked") > 1:
        raise ProtocolError(responses.BAD_REQUEST)
    if codings != ["chunked"]:
        raise ProtocolError(responses.NOT_IMPLEMENTED)
    return True


def _select_upgrade(environ: WSGIEnvironment, *, is_http10: bool) -> None:
    """Leave only an upgrade that the API offers; a server may ignore any (RFC 9110, 7.8)."""
    offered = {each.strip().lower() for each in environ.pop("HTTP_UPGRADE").split(",")}
    if "websocket" in offered and not is_http10 and environ["REQUEST_METHOD"] == "GET":
        environ["HTTP_UPGRADE"] = "websocket"


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


def _key(name: bytes) -> str | None:
    """Return the WSGI variable of a header; None for a name that could be mistaken for another."""
    if b"_" in name:
        return None
    key = name.decode("latin-1").upper().replace("-", "_")
    if key not in ("CONTENT_TYPE", "CONTENT_LENGTH"):
        key = f"HTTP_{key}"
    if len(_keys) < 1000 and len(name) <= _MAX_CACHED_NAME:
        _keys[name] = key
    return key


#: WSGI variables by the header names seen so far, as they were written.
_keys: dict[bytes, str] = {}
