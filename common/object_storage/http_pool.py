"""An HTTP/1.1 connection pool for one server, with only the parts of HTTP that S3 needs.

Archives of many small files consist of little else than requests, so their cost matters. CPU time
of a GET of 100 KB: boto3 1.2 ms, urllib3 0.36 ms, http.client 0.25 ms, this pool 0.12 ms; of a
HEAD: urllib3 0.32 ms, this pool 0.07 ms. It has no redirects, cookies, compression or
HTTP/2. Messages are framed by RFC 9112.
"""

from __future__ import annotations

import base64
import select
import socket
import ssl
from collections import deque
from collections.abc import Generator, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from functools import partial
from typing import Protocol
from urllib.parse import SplitResult, unquote, urlsplit

from common.errors import NetworkError, StorageError
from common.object_storage.cancellation import Cancellation
from common.object_storage.http_response import ConnectionClosed, Response, SocketReader
from common.object_storage.sigv4 import host_header

CONNECT_TIMEOUT = 3.0

Buffer = bytes | bytearray | memoryview


class StreamedBody(Protocol):
    """A body that is produced while it is sent, again for each attempt."""

    def __len__(self) -> int: ...

    def __iter__(self) -> Generator[Buffer]: ...


Body = Buffer | StreamedBody


class S3Connection:
    """One TCP or TLS connection. Only ``interrupt`` may be called from another thread."""

    def __init__(
        self, host: str, port: int, tls: ssl.SSLContext | None, proxy: SplitResult | None = None
    ) -> None:
        """Connect to the host, or to ``proxy``, through which TLS is tunneled."""
        address = (proxy.hostname or "", proxy.port or 80) if proxy else (host, port)
        try:
            sock = socket.create_connection(address, CONNECT_TIMEOUT)
        except OSError as error:
            raise NetworkError("The storage could not be reached") from error
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if proxy and tls:
                _open_tunnel(sock, f"{host}:{port}", proxy)
            self.socket = tls.wrap_socket(sock, server_hostname=host) if tls else sock
        except OSError as error:
            sock.close()
            raise NetworkError(f"The storage could not be reached: {error}") from error
        self.reader = SocketReader(self.socket)
        self.used = False
        self._timeout = self.socket.gettimeout()
        self._input = select.poll()
        self._input.register(self.socket, select.POLLIN)

    def set_timeout(self, seconds: float) -> None:
        """Limit the wait for each read or write."""
        # Every call takes a system call, for which the interpreter is released.
        if seconds != self._timeout:
            self._timeout = seconds
            self.socket.settimeout(seconds)

    def is_reusable(self) -> bool:
        """Return whether the server neither closed nor sent anything behind its last response."""
        if not self.reader.is_empty:
            return False
        if not isinstance(self.socket, ssl.SSLSocket):
            return not self._input.poll(0)
        return not self.socket.pending() and (not self._input.poll(0) or self._has_no_content())

    def _has_no_content(self) -> bool:
        """Return whether only messages of TLS itself have arrived, such as session tickets."""
        self.set_timeout(0)
        try:
            self.reader.receive()
        except (BlockingIOError, ssl.SSLWantReadError):
            return True
        except OSError:
            return False
        return False

    def interrupt(self) -> None:
        """Make a read or write in another thread fail immediately."""
        try:
            self.socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            return

    def close(self) -> None:
        self.socket.close()


class HttpPool:
    """Connections to one base URL. Thread safe."""

    def __init__(
        self,
        base_url: str,
        *,
        read_timeout: float = 20.0,
        max_idle: int = 64,
        proxy: str | None = None,
        ca_bundle: str | None = None,
    ) -> None:
        """``ca_bundle``: file with the certificate authorities; None: those of the system."""
        parts = urlsplit(base_url)
        is_https = parts.scheme == "https"
        self._tls = _tls_context(ca_bundle) if is_https else None
        self._proxy = urlsplit(proxy) if proxy else None
        self._host = parts.hostname or ""
        self._port = parts.port or (443 if self._tls else 80)
        self._read_timeout = read_timeout
        self._idle: deque[S3Connection] = deque(maxlen=max_idle)
        self.host = host_header(base_url)

    def close(self) -> None:
        """Close the idle connections."""
        while self._idle:
            self._idle.pop().close()

    @contextmanager
    def request(
        self,
        method: str,
        target: str,
        headers: Mapping[str, str],
        body: Body = b"",
        *,
        cancellation: Cancellation,
        timeout: float | None = None,
    ) -> Iterator[Response]:
        """Send one request and yield its response.

        ``timeout`` limits the wait for each read or write, in seconds. Raises NetworkError when the
        connection fails, and Cancelled when ``cancellation`` is set. A request is sent again if
        it went to a pooled connection that the server had closed.
        """
        if self._proxy and not self._tls:
            # The absolute form and the credentials are for the proxy (RFC 9112, 3.2.2).
            target = f"http://{self.host}{target}"
            headers = {**headers, **_proxy_authorization(self._proxy)}
        lines = [f"{method} {target} HTTP/1.1", *[f"{n}: {v}" for n, v in headers.items()]]
        if body or method in ("PUT", "POST"):
            lines.append(f"content-length: {len(body)}")
        head = "\r\n".join((*lines, "\r\n")).encode("latin-1")
        while True:
            connection = self._connect()
            reused, connection.used = connection.used, True
            completed = False
            try:
                with cancellation.interrupting(connection):
                    connection.set_timeout(timeout or self._read_timeout)
                    try:
                        response = self._exchange(connection, method, head, body)
                    except (ConnectionClosed, BrokenPipeError, ConnectionResetError):
                        if reused:
                            continue
                        raise
                    yield response
                    completed = True
            except OSError as error:
                raise NetworkError("The connection to the storage broke") from error
            finally:
                if completed:
                    response.close()
                else:
                    connection.close()
            return

    def _exchange(self, connection: S3Connection, method: str, head: bytes, body: Body) -> Response:
        """Send a request and read the head of its response.

        A server may reject a request before it has read the body, and close the connection. Its
        response says why (RFC 9112, 9.5), except for 408, which says that the connection was idle.
        """
        try:
            _send(connection.socket, head, body)
        except (BrokenPipeError, ConnectionResetError):
            with suppress(OSError, NetworkError):
                early = Response(connection.reader, method, lambda _: connection.close())
                if early.status >= 400 and early.status != 408:
                    return early
            raise
        return Response(connection.reader, method, partial(self._release, connection))

    def _connect(self) -> S3Connection:
        while True:
            try:
                connection = self._idle.pop()
            except IndexError:
                return S3Connection(self._host, self._port, self._tls, self._proxy)
            # Such bytes, a 408 for example, would be taken for the response to the next request.
            if connection.is_reusable():
                return connection
            connection.close()

    def _release(self, connection: S3Connection, reusable: bool) -> None:
        if reusable and len(self._idle) < (self._idle.maxlen or 0):
            self._idle.append(connection)
        else:
            connection.close()


def _tls_context(ca_bundle: str | None) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=ca_bundle)
    except OSError as error:
        raise StorageError(
            f"The certificate authorities in {ca_bundle} cannot be read: {error}"
        ) from error


def _send(sock: socket.socket, head: bytes, body: Body) -> None:
    if not isinstance(body, Buffer):
        sock.sendall(head)
        # Closed immediately, so that a failure also ends what the body is read from.
        with closing(iter(body)) as blocks:
            for block in blocks:
                sock.sendall(block)
    elif len(body) <= 16_384:
        sock.sendall(head + bytes(body))
    else:
        sock.sendall(head)
        sock.sendall(body)


def _open_tunnel(sock: socket.socket, target: str, proxy: SplitResult) -> None:
    """Ask the proxy for a tunnel to ``target`` (RFC 9110, 9.3.6)."""
    headers = {"host": target, **_proxy_authorization(proxy)}
    lines = [f"CONNECT {target} HTTP/1.1", *(f"{n}: {v}" for n, v in headers.items())]
    sock.sendall("\r\n".join((*lines, "\r\n")).encode("latin-1"))
    response = b""
    while not response.endswith(b"\r\n\r\n"):
        # Byte by byte: what follows the head belongs to TLS.
        if not (byte := sock.recv(1)) or len(response) > 16_384:
            raise OSError("The proxy closed the connection")
        response += byte
    status = response.split(b" ", 2)[1:2]
    if not status or not status[0].startswith(b"2"):
        line = response.split(b"\r\n", 1)[0].decode("latin-1")
        raise OSError(f"The proxy rejected the connection: {line}")


def _proxy_authorization(proxy: SplitResult) -> dict[str, str]:
    if not proxy.username:
        return {}
    user = f"{unquote(proxy.username)}:{unquote(proxy.password or '')}"
    return {"proxy-authorization": f"Basic {base64.b64encode(user.encode()).decode()}"}
